"""The files source: a directory of manifests, and beside it the objects that meshctl created.

Changes that come close together become one transaction. A change to a manifest is read by itself;
whatever else moves (a directory, a symbolic link such as a ConfigMap volume's ``..data``) has the
tree compared with what is known, and so does every ``rescan``, for what no notification tells.
Files that are replaced by rename are never seen half written.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from watchfiles import Change, awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity, Source
from controlplane.durable import OS_FS, Fs, StateError, read_state, write_durably
from controlplane.sources.addresses import Addresses, restore
from controlplane.sources.claims import CREATED, TREE, FileId
from controlplane.sources.files_kept import KeptFiles
from controlplane.sources.files_scan import Content, Stamp, is_manifest, read, scan
from controlplane.sources.files_state import FilesState, FileState, interpret
from controlplane.sources.lines import FieldLines
from controlplane.world.transaction import Transaction

TICK = timedelta(seconds=1)
"""How often the roots are looked at: a root that was replaced must be watched anew."""

Watch = Callable[..., AsyncIterator[set[tuple[Change, str]]]]
"""Yields changes below the paths given, as `watchfiles.awatch` does with its options; raises
OSError when the system refuses to watch them."""


class Sink(Protocol):
    """Where a source delivers."""

    def apply(self, transaction: Transaction, problems: tuple[Problem, ...]) -> None:
        """Apply one transaction, perhaps empty; ``problems`` are all that the source now has."""


class FilesSource:
    """Watches ``directory``, and ``objects`` where there is one, and delivers to a sink.

    ``addresses`` is the file that keeps the addresses of Services, ``last_good`` the directory that
    keeps what stays in effect of bad files. ``debounce`` is the longest time from a single change
    to its reading, the watcher's step included; half of it without a change ends a burst, and so
    does ``ceiling`` in any case.
    """

    name = "files"

    def __init__(
        self,
        directory: Path,
        objects: Path | None = None,
        addresses: Path | None = None,
        *,
        last_good: Path | None = None,
        cluster: str = "default",
        debounce: timedelta = timedelta(milliseconds=20),
        ceiling: timedelta = timedelta(milliseconds=200),
        rescan: timedelta = timedelta(seconds=10),
        fs: Fs = OS_FS,
        watch: Watch = awatch,
    ) -> None:
        self.synced = asyncio.Event()
        """Set when everything that stood there at the start has been applied."""
        roots = [(TREE, directory)] + ([(CREATED, objects)] if objects else [])
        self._roots = {rank: os.path.abspath(root) for rank, root in roots}
        self._addresses_file = addresses
        self._debounce, self._ceiling, self._rescan, self._fs = debounce, ceiling, rescan, fs
        self._awatch = watch
        self._kept = KeptFiles(
            last_good, self._roots, self._publish, retry=rescan.total_seconds(), fs=fs
        )
        self._restored: dict[FileId, FileState] | None = None
        self._own: dict[str, Problem] = {}
        self._stamps: dict[FileId, Stamp | None] = {}
        self._state = FilesState(cluster, self._restored_addresses())
        self._lines = FieldLines(self._state.claims)
        self._saved = self._state.addresses
        self._state_problems: tuple[Problem, ...] = ()
        self._last: tuple[Problem, ...] | None = None
        self._sink: Sink | None = None
        self._lock = asyncio.Lock()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem that was last delivered."""
        return self._last or ()

    def find(self, ref: ObjectRef) -> Source | None:
        """Where the user's tree holds an object, which meshctl must then not create."""
        found = self._state.claims.source(ref)
        return found[1] if found and found[0].rank == TREE else None

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        """``problems`` with the file, and the line of the field, where the user's tree holds the
        object and they do not say it."""
        return self._lines.placed(problems, lambda file: file.rank == TREE)

    async def run(self, sink: Sink) -> None:
        """Deliver all there is, then every change, until cancelled."""
        self._sink = sink
        async with asyncio.TaskGroup() as group:
            group.create_task(self._kept.run(), name="last good files")
            await self.refresh()
            self.synced.set()
            await self._follow()

    async def _follow(self) -> None:
        while True:
            try:
                await self._watch()
            except (OSError, WatchfilesRustInternalError) as error:
                self._own["watch"] = _cannot_watch(self._roots[TREE], error)
                await asyncio.sleep(TICK.total_seconds())
                await self.refresh()

    async def refresh(self) -> None:
        """Compare both directories with what is known and deliver the difference, now."""
        await self._deliver(None)

    async def _watch(self) -> None:
        """Watch until a root is replaced. Raises OSError when the system cannot watch."""
        roots = {root: _identity(root) for root in self._roots.values()}
        present = [root for root, identity in roots.items() if identity]
        if not present:
            await asyncio.sleep(TICK.total_seconds())
            await self.refresh()
            return
        now = asyncio.get_running_loop().time
        due = now()  # look once more when the watcher is there: nobody watched until now
        async for changes in self._awatch(
            *present,
            watch_filter=None,
            step=max(1, int(self._debounce.total_seconds() * 500)),
            debounce=int(self._ceiling.total_seconds() * 1000),
            rust_timeout=int(TICK.total_seconds() * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        ):
            self._own.pop("watch", None)
            if any(_identity(root) != identity for root, identity in roots.items()):
                await self.refresh()
                return
            files = self._files_of(path for _, path in changes)
            if files is None or now() >= due:
                due = now() + self._rescan.total_seconds()
                await self.refresh()
            elif files:
                await self._deliver(files)

    def _files_of(self, paths: Iterable[str]) -> set[FileId] | None:
        """The manifests among changed paths; None when the whole tree must be compared."""
        files: set[FileId] = set()
        for path in paths:
            for rank, root in self._roots.items():
                if path == root:
                    return None
                if not path.startswith(root + os.sep):
                    continue
                relative = path[len(root) + 1 :]
                parts = relative.split(os.sep)
                if any(part.startswith("..") for part in parts):
                    return None
                if any(part.startswith(".") for part in parts):
                    continue
                if self._is_directory(rank, path, relative):
                    return None
                if is_manifest(parts[-1]):
                    files.add(self._id(rank, relative))
        return files

    def _is_directory(self, rank: int, path: str, relative: str) -> bool:
        prefix = self._id(rank, relative).path + "/"
        return os.path.isdir(path) or any(
            file.rank == rank and file.path.startswith(prefix) for file in self._stamps
        )

    def _id(self, rank: int, relative: str) -> FileId:
        """The tree's files are named relative to it, created ones in full."""
        return FileId(rank, relative if rank == TREE else f"{self._roots[rank]}/{relative}")

    def _path(self, file: FileId) -> str:
        return f"{self._roots[TREE]}/{file.path}" if file.rank == TREE else file.path

    async def _deliver(self, files: set[FileId] | None) -> None:
        async with self._lock:
            changes, stamps = await asyncio.to_thread(self._read, files)
            transaction, problems = self._state.update(changes)
            for file, seen in stamps.items():
                if changes.get(file) is None:
                    self._stamps.pop(file, None)
                else:
                    self._stamps[file] = seen
                if self._restored:
                    self._restored.pop(file, None)
            await self._save_addresses()
            self._state_problems = problems
            self._publish(transaction)
            self._kept.update(changes)

    def _publish(self, transaction: Transaction = ()) -> None:
        problems = (*self._own.values(), *self._kept.problems, *self._state_problems)
        if self._sink is not None and (transaction or problems != self._last):
            self._last = problems
            self._sink.apply(transaction, problems)

    def _read(
        self, files: set[FileId] | None
    ) -> tuple[dict[FileId, FileState | None], dict[FileId, Stamp | None]]:
        """Read and interpret ``files``, or whatever differs from what is known. In a thread: the
        event loop waits for the result, so nothing else touches the state meanwhile."""
        if self._restored is None:
            self._restored = self._kept.load(self._state.cluster)
        contents: dict[FileId, Content] = {}
        for file in self._differing(self._restored) if files is None else files:
            contents[file] = read(self._path(file), file.path)
        changes = {
            file: interpret(
                content,
                file,
                self._state.file(file) or self._restored.get(file),
                self._state.cluster,
            )
            for file, content in sorted(contents.items())
        }
        return changes, {file: content.stamp for file, content in contents.items()}

    def _differing(self, restored: Iterable[FileId]) -> set[FileId]:
        """Files that came, went or changed, and those that went while nobody looked. A root that is
        gone keeps all that it held."""
        known = dict.fromkeys(restored) | self._stamps
        found: dict[FileId, Stamp | None] = {}
        for rank, root in self._roots.items():
            try:
                stamps = scan(root)
            except OSError as error:
                self._own[root] = _no_root(root, error)
                stamps = {}
                found.update({f: seen for f, seen in known.items() if f.rank == rank})
            else:
                self._own.pop(root, None)
            found.update({self._id(rank, path): seen for path, seen in stamps.items()})
        nothing = object()
        fresh = {f for f, seen in found.items() if known.get(f, nothing) != seen}
        return fresh | (known.keys() - found.keys())

    def _restored_addresses(self) -> Addresses:
        if self._addresses_file is None:
            return Addresses()
        try:
            data = read_state(self._addresses_file)
            return restore(data) if data is not None else Addresses()
        except (StateError, ValueError) as error:
            self._own["addresses"] = _addresses_problem(self._addresses_file, str(error))
            return Addresses()

    async def _save_addresses(self) -> None:
        """Before an address is used it is kept; when that fails it is used all the same."""
        addresses = self._state.addresses
        if self._addresses_file is None or addresses is self._saved:
            return
        try:
            await asyncio.to_thread(
                write_durably, self._addresses_file, addresses.dump(), fs=self._fs
            )
        except StateError as error:
            self._own["addresses"] = _addresses_problem(self._addresses_file, str(error))
        else:
            self._saved = addresses
            self._own.pop("addresses", None)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _no_root(root: str, error: OSError) -> Problem:
    reason = (error.strerror or str(error)).lower()
    return Problem(
        ObjectRef("Directory", "", root),
        Reason.UNPARSABLE,
        f"cannot be read: {reason} (what was read from it stays in effect)",
        "Restore it; an empty directory deletes the objects",
    )


def _cannot_watch(root: str, error: Exception) -> Problem:
    return Problem(
        ObjectRef("Directory", "", root),
        Reason.INTERNAL,
        f"cannot be watched: {str(error).lower()}; it is read once a second instead",
        "Raise fs.inotify.max_user_watches and max_user_instances",
        severity=Severity.WARNING,
    )


def _addresses_problem(path: Path, text: str) -> Problem:
    return Problem(
        ObjectRef("File", "", str(path)),
        Reason.INTERNAL,
        f"the addresses of Services cannot be kept: {text}",
        "Until then a restart may give other addresses to Services whose hashes collide",
        severity=Severity.WARNING,
    )
