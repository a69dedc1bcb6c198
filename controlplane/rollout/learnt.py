"""What each workload has learnt to talk to, kept for its next start.

Kept per (namespace, workload owner) as object references with a port, never as addresses. One file
each, JSON lines. An entry is appended before the bytes that it leads to are sent, so that a killed
control plane forgets nothing; appends are not synced to disk (a machine that loses power may lose
the newest), compaction is. Beside them stand the names that a pod's sidecar asked for and no longer
needs: it stays subscribed to them for ever, and after a restart nothing else tells them from names
on which a request still hangs. So do the destinations that were evicted from a pod's sidecar: its
workload goes on knowing them, for its other pods and those to come. A file that cannot be written
costs memory of the past, never the traffic: the error is reported, and the next compaction tries
again.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from controlplane.durable import OS_FS, Fs, StateError, append, make_directory, write_durably
from controlplane.rollout.learnt_lines import (
    Asked,
    Done,
    Evicted,
    Owner,
    Reference,
    line,
    lines,
    newest,
    parse,
)

KEEP_SECONDS = 7 * 24 * 3600.0
"""An entry leaves when no stream has held it for so long."""
REFRESH_SECONDS = 3600.0
"""How old the note that a stream holds an entry may become."""

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")


@dataclass(slots=True)
class _Set:
    seen: dict[Reference, float] = field(default_factory=dict)
    done: dict[Done, float] = field(default_factory=dict)
    evicted: dict[Evicted, float] = field(default_factory=dict)
    dirty: bool = False

    def text(self) -> bytes:
        """Its file."""
        return b"".join(lines(self.seen, self.done, self.evicted))


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
        self._writing: Owner | None = None
        self._late: list[bytes] = []
        """Lines appended to the file that is being replaced."""

    def load(self) -> None:
        """Read every set; a line that does not parse is dropped (a torn append at a crash)."""
        if not self._directory.is_dir():
            return
        for path in sorted(self._directory.glob("*/*.jsonl")):
            owner = Owner(path.parent.name, path.name.removesuffix(".jsonl"))
            found = _Set()
            text = path.read_bytes()
            for entry, at in parse(text.decode(errors="replace")):
                if isinstance(entry, Reference):
                    found.seen[entry] = at
                elif isinstance(entry, Done):
                    found.done[entry] = at
                elif isinstance(entry, Evicted):
                    found.evicted[entry] = at
                else:
                    found.evicted.pop(Evicted(*entry), None)
            self._sets[owner] = found
            self._prune(found)
            # What is written already as it would be is not written again while a fleet starts.
            found.dirty = found.dirty or text != found.text()

    def of(self, owner: Owner) -> tuple[Reference, ...]:
        """The set of a workload, sorted."""
        found = self._sets.get(owner)
        return tuple(sorted(found.seen)) if found else ()

    def done(self, owner: Owner, pod: str) -> frozenset[str]:
        """Names that a pod's sidecar asked for, was answered and no longer needs."""
        found = self._sets.get(owner)
        return (
            frozenset(each.name for each in found.done if each.pod == pod) if found else frozenset()
        )

    def evicted(self, owner: Owner, pod: str) -> frozenset[str]:
        """Destinations that were evicted from a pod's sidecar and not asked for since."""
        found = self._sets.get(owner)
        marks = found.evicted if found else ()
        return frozenset(each.destination for each in marks if each.pod == pod)

    def learn(self, owner: Owner, reference: Reference) -> None:
        """Remember a destination; written before this returns unless the disk refuses."""
        found = self._of(owner)
        if found is None:
            return
        new = reference not in found.seen
        found.seen[reference] = self._now()
        if new:
            self._append(owner, [line(reference, self._now())])

    def finish(self, owner: Owner, pod: str, names: Iterable[str]) -> None:
        """Remember that names are done with; written before their removal is sent."""
        found = self._of(owner)
        if found is None:
            return
        now = self._now()
        fresh = [Done(pod, name) for name in names]
        found.done.update(dict.fromkeys(fresh, now))
        self._prune(found)
        self._append(owner, [line(each, now) for each in fresh])

    def evict(self, owner: Owner, pod: str, destinations: Iterable[str]) -> None:
        """Remember that destinations leave a pod's sidecar; written before their removal is sent.
        They stay in the workload's set."""
        found = self._of(owner)
        if found is None:
            return
        now = self._now()
        marks = [Evicted(pod, each) for each in destinations]
        found.evicted.update(dict.fromkeys(marks, now))
        self._append(owner, [line(each, now) for each in marks])

    def asked(self, owner: Owner, pod: str, destinations: Iterable[str]) -> None:
        """A pod's sidecar asks for these; if they were evicted, they are no longer."""
        found = self._sets.get(owner)
        if found is None or not found.evicted:
            return
        marks = [mark for each in destinations if (mark := Evicted(pod, each)) in found.evicted]
        for mark in marks:
            del found.evicted[mark]
        if marks:
            now = self._now()
            self._append(owner, [line(Asked(*each), now) for each in marks])

    def held(self, owner: Owner, references: Iterable[Reference]) -> None:
        """Say that a live stream holds these now; keeps them from ageing."""
        found = self._sets.get(owner)
        if found is not None:
            now = self._now()
            for reference in references:
                if now - found.seen.get(reference, now) > REFRESH_SECONDS:
                    found.seen[reference] = now
                    found.dirty = True

    async def compact(self) -> None:
        """Write every changed set anew, without what has aged out. Call at most every 5 s; the
        disk is waited for in a thread."""
        for owner, found in tuple(self._sets.items()):
            if not found.dirty:
                continue
            self._prune(found)
            found.dirty = False
            text = found.text()
            self._writing = owner
            try:
                await asyncio.to_thread(self._replace, self._path(owner), text)
            except StateError as error:
                found.dirty = True
                self._report(error)
            finally:
                self._writing = None
            if late := self._late:
                self._late = []
                self._append(owner, late)

    def _replace(self, path: Path, text: bytes) -> None:
        make_directory(path.parent)
        write_durably(path, text, fs=self._fs)

    def _of(self, owner: Owner) -> _Set | None:
        """The set to change; ``None`` for an owner whose name is no file name."""
        if not _NAME.match(owner.name) or not _NAME.match(owner.namespace):
            return None
        return self._sets.setdefault(owner, _Set())

    def _append(self, owner: Owner, texts: Iterable[bytes]) -> None:
        # A torn line of an earlier failure must not swallow this one: start a new line.
        text = b"\n" + b"".join(texts)
        if owner == self._writing:
            self._late.append(text)
        path = self._path(owner)
        try:
            make_directory(path.parent)
            append(path, text, fs=self._fs)
        except StateError as error:
            self._sets[owner].dirty = True
            self._report(error)

    def _prune(self, found: _Set) -> None:
        oldest = self._now() - KEEP_SECONDS
        for reference in [each for each, at in found.seen.items() if at < oldest]:
            del found.seen[reference]
            found.dirty = True
        for mark in [each for each, at in found.evicted.items() if at < oldest]:
            del found.evicted[mark]
            found.dirty = True
        keep = newest(each for each, at in found.done.items() if at >= oldest)
        if len(keep) < len(found.done):
            found.done = {each: at for each, at in found.done.items() if each in keep}
            found.dirty = True

    def _path(self, owner: Owner) -> Path:
        return self._directory / owner.namespace / f"{owner.name}.jsonl"
