"""Keeps the last good text of bad files on disk, so that a restart does not lose their objects.

Written when a file, or an object in it, turns bad; removed when it is mended or deleted. All of it
happens in a thread after the world has what it needs, so a slow or full disk delays no change: the
failure is a problem that names the file, and is tried again every ``retry`` seconds.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity, Source
from controlplane.durable import (
    OS_FS,
    Fs,
    StateError,
    make_directory,
    read_state,
    remove_durably,
    state_error,
    write_durably,
)
from controlplane.sources.claims import Entry, FileId
from controlplane.sources.files_state import FileState
from controlplane.sources.last_good import dump, record_name, restore

UNKNOWN = b""
"""The digest of a record whose content is not known."""


class _Job(NamedTuple):
    file: FileId
    kept: tuple[Entry, ...]


class _Outcome(NamedTuple):
    job: _Job
    digest: bytes | None
    """Of what now stands on the disk; None: nothing does."""
    problem: Problem | None = None


class KeptFiles:
    """The records of one source under ``directory``; without one, nothing is kept.

    `load` and the writing run in threads; everything else belongs to the event loop.
    """

    def __init__(
        self,
        directory: Path | None,
        roots: Mapping[int, str],
        changed: Callable[[], None],
        *,
        retry: float = 10.0,
        fs: Fs = OS_FS,
    ) -> None:
        """``roots`` by rank; ``changed`` is called when `problems` has changed."""
        self._directory, self._roots, self._fs = directory, roots, fs
        self._changed, self._retry = changed, retry
        self._on_disk: dict[str, bytes] = {}
        self._due: dict[FileId, _Job] = {}
        self._unread: dict[str, Problem] = {}
        self._failed: dict[FileId, Problem] = {}
        self._wake = asyncio.Event()
        self._disk = threading.Lock()  # a cancelled writer's thread goes on for a while

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Records that could not be read, and those that cannot be written."""
        return (*self._unread.values(), *self._failed.values())

    def load(self, cluster: str) -> dict[FileId, FileState]:
        """What stayed in effect of each file when the process before this one ended. Blocking."""
        found: dict[FileId, FileState] = {}
        for path, data in self._records():
            self._on_disk[path.name] = _digest(data)
            try:
                record = restore(data, cluster)
            except ValueError as error:
                self._unread[path.name] = _unreadable(path, str(error))
                continue
            mine = self._roots.get(record.file.rank) == record.root
            if mine and path.name == record_name(record.root, record.file):
                found[record.file] = FileState(record.entries, kept=record.entries)
        return found

    def _records(self) -> Iterable[tuple[Path, bytes]]:
        if self._directory is None:
            return
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return
        except OSError as error:
            text = str(state_error(self._directory, "read", error))
            self._unread[""] = _unreadable(self._directory, text)
            return
        records = [name for name in names if name.endswith(".json") and not name.startswith(".")]
        for path in (self._directory / name for name in sorted(records)):
            try:
                data = read_state(path)
            except StateError as error:
                self._unread[path.name] = _unreadable(path, str(error))
                self._on_disk[path.name] = UNKNOWN
            else:
                if data is not None:
                    yield path, data

    def update(self, changes: Mapping[FileId, FileState | None]) -> None:
        """Take note of what files have become; the disk follows."""
        if self._directory is None:
            return
        for file, state in changes.items():
            kept = state.kept if state else ()
            name = self._name(file) if self._on_disk else ""
            if not kept and state and state.problems and name in self._unread:
                continue  # what cannot be read now is still the last good version
            if kept or name in self._on_disk or file in self._due:
                self._due[file] = _Job(file, kept)
                self._wake.set()

    async def run(self) -> None:
        """Write until cancelled, and then once more what is left."""
        try:
            while True:
                await self._rest()
                self._wake.clear()
                await self._write_due()
        finally:
            await self._write_due()

    async def _rest(self) -> None:
        """Until there is something to do, or to try again."""
        try:
            async with asyncio.timeout(self._retry if self._due else None):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _write_due(self) -> None:
        before, jobs = self.problems, tuple(self._due.values())
        if not jobs:
            return
        for outcome in await asyncio.to_thread(self._write, jobs):
            self._take(outcome)
        if self.problems != before:
            self._changed()

    def _take(self, outcome: _Outcome) -> None:
        job, name = outcome.job, self._name(outcome.job.file)
        if outcome.digest is None:
            self._on_disk.pop(name, None)
        else:
            self._on_disk[name] = outcome.digest
        self._failed.pop(job.file, None)
        if outcome.problem is not None:
            self._failed[job.file] = outcome.problem
            return
        self._unread.pop(name, None)
        if self._due.get(job.file) is job:
            del self._due[job.file]

    def _write(self, jobs: Iterable[_Job]) -> list[_Outcome]:
        """In a thread; nothing is changed but the disk."""
        outcomes = []
        with self._disk:
            for job in jobs:
                try:
                    outcomes.append(_Outcome(job, self._write_one(job)))
                except StateError as error:
                    # What stands there now is not known to be right: it is written again.
                    outcomes.append(_Outcome(job, UNKNOWN, _not_kept(job, str(error))))
        return outcomes

    def _write_one(self, job: _Job) -> bytes | None:
        assert self._directory is not None
        path = self._directory / self._name(job.file)
        if not job.kept:
            remove_durably(path, fs=self._fs)
            return None
        data = dump(self._roots[job.file.rank], job.file, job.kept)
        digest = _digest(data)
        if self._on_disk.get(path.name) != digest:
            make_directory(self._directory)
            write_durably(path, data, fs=self._fs)
        return digest

    def _name(self, file: FileId) -> str:
        return record_name(self._roots[file.rank], file)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _unreadable(path: Path, text: str) -> Problem:
    return Problem(
        ObjectRef("File", "", str(path)),
        Reason.INTERNAL,
        f"the last good version of a bad file cannot be read: {text}",
        "Mend the manifests that have problems, then delete this file",
        severity=Severity.WARNING,
    )


def _not_kept(job: _Job, text: str) -> Problem:
    if job.kept:
        message = f"its last good version cannot be kept: {text}"
        remedy = "Until then mend the file before the control plane is restarted"
    else:
        message = f"its former last good version cannot be removed: {text}"
        remedy = "It comes back if the file is bad when the control plane is restarted"
    return Problem(
        ObjectRef("File", "", job.file.path),
        Reason.INTERNAL,
        message,
        remedy,
        severity=Severity.WARNING,
        source=Source(job.file.path, 1),
    )
