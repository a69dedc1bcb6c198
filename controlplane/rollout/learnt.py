"""What each workload has learnt to talk to, kept for its next start.

Kept per (namespace, workload owner) as object references with a port, never as addresses. One file
each, JSON lines. An entry is appended before the bytes that it leads to are sent, so that a killed
control plane forgets nothing; appends are not synced to disk (a machine that loses power may lose
the newest), compaction is. A file that cannot be written costs the memory of a destination, never
the traffic: the error is reported and the entry is written at the next compaction.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from controlplane.durable import OS_FS, Fs, StateError, append, make_directory, write_durably

KEEP_SECONDS = 7 * 24 * 3600.0
"""An entry leaves when no stream has held it for so long."""

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")


class Owner(NamedTuple):
    """A workload: (namespace, owner's name)."""

    namespace: str
    name: str


class Reference(NamedTuple):
    """A destination: (namespace, Service, port)."""

    namespace: str
    service: str
    port: int


@dataclass(slots=True)
class _Set:
    seen: dict[Reference, float]
    dirty: bool = False


class Learnt:
    """The learnt sets under ``directory`` (STATE/learnt). ``now`` is Unix time in seconds."""

    def __init__(
        self,
        directory: Path,
        now: Callable[[], float],
        report: Callable[[StateError], None],
        fs: Fs = OS_FS,
    ) -> None:
        self._directory = directory
        self._fs = fs
        self._now = now
        self._report = report
        self._sets: dict[Owner, _Set] = {}

    def load(self) -> None:
        """Read every set; a line that does not parse is dropped (a torn append at a crash)."""
        if not self._directory.is_dir():
            return
        oldest = self._now() - KEEP_SECONDS
        for path in sorted(self._directory.glob("*/*.jsonl")):
            owner = Owner(path.parent.name, path.name.removesuffix(".jsonl"))
            seen = {ref: at for ref, at in _parse(path.read_text(errors="replace")) if at >= oldest}
            self._sets[owner] = _Set(seen, dirty=True)

    def of(self, owner: Owner) -> tuple[Reference, ...]:
        """The set of a workload, sorted."""
        found = self._sets.get(owner)
        return tuple(sorted(found.seen)) if found else ()

    def learn(self, owner: Owner, reference: Reference) -> None:
        """Remember a destination; written before this returns unless the disk refuses."""
        if not _NAME.match(owner.name) or not _NAME.match(owner.namespace):
            return
        entry = self._sets.setdefault(owner, _Set({}))
        new = reference not in entry.seen
        entry.seen[reference] = self._now()
        entry.dirty = True
        if new:
            try:
                path = self._path(owner)
                make_directory(path.parent)
                # A torn line of an earlier failure must not swallow this one: start a new line.
                append(path, b"\n" + _line(reference, entry.seen[reference]), fs=self._fs)
            except StateError as error:
                self._report(error)

    def held(self, owner: Owner, references: Iterable[Reference]) -> None:
        """Say that a live stream holds these now; keeps them from ageing."""
        entry = self._sets.get(owner)
        if entry is not None:
            now = self._now()
            for reference in references:
                if reference in entry.seen:
                    entry.seen[reference] = now
                    entry.dirty = True

    def compact(self) -> None:
        """Write every changed set anew, without what has aged out. Call at most every 5 s."""
        oldest = self._now() - KEEP_SECONDS
        for owner, entry in self._sets.items():
            if not entry.dirty:
                continue
            entry.seen = {ref: at for ref, at in entry.seen.items() if at >= oldest}
            text = b"".join(_line(ref, at) for ref, at in sorted(entry.seen.items()))
            try:
                make_directory(self._path(owner).parent)
                write_durably(self._path(owner), text, fs=self._fs)
                entry.dirty = False
            except StateError as error:
                self._report(error)

    def _path(self, owner: Owner) -> Path:
        return self._directory / owner.namespace / f"{owner.name}.jsonl"


def _line(reference: Reference, seen: float) -> bytes:
    record = {
        "service": f"{reference.namespace}/{reference.service}",
        "port": reference.port,
        "seen": round(seen),
    }
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _parse(text: str) -> Iterable[tuple[Reference, float]]:
    for line in text.splitlines():
        try:
            record = json.loads(line)
            namespace, _, service = record["service"].partition("/")
            yield Reference(namespace, service, int(record["port"])), float(record["seen"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
