"""What the files say, kept up to date file by file, and the transactions that follow. Pure.

A file that does not parse keeps the objects it had, and so does an invalid object its last valid
version, as an API server would have kept the stored one; `FileState.kept` says which, so that they
can be kept over a restart as well. Services get their addresses here.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity, Source
from controlplane.sources.addresses import (
    DEFAULT_RANGE,
    Addresses,
    Network,
    needs_address,
    parse_range,
)
from controlplane.sources.claims import Claims, Entry, FileId
from controlplane.sources.files_scan import Content
from controlplane.sources.manifests import Document, read_text
from controlplane.world.intake import Taken
from controlplane.world.rows import Service
from controlplane.world.schema import ROOT_NAMESPACE
from controlplane.world.transaction import Delete, Edit, Put, Transaction

SETTINGS = ObjectRef("MeshConfig", ROOT_NAMESPACE, "default")


@dataclass(frozen=True, slots=True)
class FileState:
    """What one file contributes: its objects, some perhaps of an earlier version, and problems."""

    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()
    kept: tuple[Entry, ...] = ()
    """Those of the entries that the file's present text does not yield."""
    documents: Mapping[bytes, Document] = field(default_factory=dict)
    """By digest of their text: these are not parsed again."""
    digest: bytes = b""
    """Of the whole text that was read; empty when there was none to read."""


def interpret(
    content: Content, file: FileId, old: FileState | None, cluster: str
) -> FileState | None:
    """The new state of a file; None when it is gone."""
    if content.gone:
        return None
    old = old or FileState()
    if content.problem is not None:
        refusal = _kept(content.problem, old.entries)
        return replace(old, problems=(refusal,), kept=old.entries, digest=b"")
    text = content.text or ""
    if not text and old.entries:
        return replace(old, problems=(_emptied(file),), kept=old.entries, digest=b"")
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if digest == old.digest:
        return old  # one write can be noticed twice: what came of it the first time counts
    documents, by_digest = read_text(text, file.path, cluster, old.documents)
    problems = tuple(problem for document in documents for problem in document.problems)
    if not all(document.parsed for document in documents) and old.entries:
        problems = tuple(
            _kept(p, old.entries) if p.reason is Reason.UNPARSABLE else p for p in problems
        )
        return FileState(old.entries, problems, old.entries, by_digest, digest)
    entries = [entry for document in documents for entry in document.entries]
    refused = {ref for document in documents for ref in document.refused}
    refused -= {entry.ref for entry in entries}
    # Of an object that stood there twice the first was in effect.
    stale = {entry.ref: entry for entry in reversed(old.entries) if entry.ref in refused}
    problems = tuple(
        _kept(p, old.entries) if p.object in stale and p.severity is Severity.ERROR else p
        for p in problems
    )
    kept = tuple(sorted(stale.values(), key=lambda entry: entry.line))
    return FileState((*entries, *kept), problems, kept, by_digest, digest)


def _kept(problem: Problem, entries: tuple[Entry, ...]) -> Problem:
    if not entries:
        return problem
    what = "the file's last good objects" if problem.object.kind == "File" else "its last version"
    verb = "stay" if problem.object.kind == "File" else "stays"
    return replace(problem, message=f"{problem.message} ({what} {verb} in effect)")


def _emptied(file: FileId) -> Problem:
    return Problem(
        ObjectRef("File", "", file.path),
        Reason.UNPARSABLE,
        "is empty; its last good objects stay in effect",
        "Delete the file to delete its objects",
        severity=Severity.WARNING,
        source=Source(file.path, 1),
    )


class Step(NamedTuple):
    """The outcome of an update: what to apply, and every problem that there now is."""

    transaction: Transaction
    problems: tuple[Problem, ...]


class FilesState:
    """The objects of all files, by the rules of `Claims`, with addresses assigned."""

    def __init__(self, cluster: str, addresses: Addresses) -> None:
        self.cluster = cluster
        self.addresses = addresses
        self.claims = Claims()
        self._files: dict[FileId, FileState] = {}
        self._services: dict[ObjectRef, Service] = {}
        self._emitted: dict[ObjectRef, Taken] = {}
        self._troubled: dict[FileId, tuple[Problem, ...]] = {}
        self._homeless: list[ObjectRef] = []

    def file(self, file: FileId) -> FileState | None:
        """The present state of a file."""
        return self._files.get(file)

    def update(self, changes: Mapping[FileId, FileState | None]) -> Step:
        """Take new states of some files."""
        touched: set[ObjectRef] = set()
        for file, state in changes.items():
            self._files.pop(file, None)
            self._troubled.pop(file, None)
            if state is not None:
                self._files[file] = state
                if state.problems:
                    self._troubled[file] = state.problems
            touched |= self.claims.replace(file, state.entries if state else ())
        touched |= self._assign(touched)
        return Step(tuple(self._edits(touched)), self._problems())

    def _assign(self, touched: set[ObjectRef]) -> set[ObjectRef]:
        """Give addresses; the Services whose address has changed."""
        moved = SETTINGS in touched
        for ref in touched:
            if ref.kind == "Service":
                winner = self.claims.winner(ref)
                old = self._services.pop(ref, None)
                if winner is not None:
                    self._services[ref] = winner.taken.row
                moved |= _claim(old) != _claim(self._services.get(ref))
        if not moved:
            return set()
        before = self.addresses
        network = self._network() or before.network
        self.addresses = before.assign(self._services.values(), network)
        self._homeless = [
            ref
            for ref, row in self._services.items()
            if needs_address(row) and self.addresses.of(row.key) is None
        ]
        if self.addresses is before:
            return set()
        return {
            ref
            for ref, row in self._services.items()
            if before.of(row.key) != self.addresses.of(row.key)
        }

    def _network(self) -> Network | None:
        """The range that MeshConfig asks for; None when it makes no sense."""
        winner = self.claims.winner(SETTINGS)
        if winner is None:
            return DEFAULT_RANGE
        spec: Any = winner.taken.row.spec
        return parse_range(spec.service_range)

    def _edits(self, touched: Iterable[ObjectRef]) -> Iterable[Edit]:
        for ref in sorted(touched):
            old, new = self._emitted.get(ref), self._effective(ref)
            if new is None:
                if old is not None:
                    del self._emitted[ref]
                    yield Delete(old.table, old.key)
            elif old is None or old.row != new.row:
                self._emitted[ref] = new
                yield Put(new.table, new.key, new.row)

    def _effective(self, ref: ObjectRef) -> Taken | None:
        winner = self.claims.winner(ref)
        if winner is None:
            return None
        taken = winner.taken
        if ref.kind == "Service" and needs_address(taken.row):
            address = self.addresses.of(taken.key)
            if address is not None:
                return taken._replace(row=replace(taken.row, cluster_ips=(address,)))
        return taken

    def _problems(self) -> tuple[Problem, ...]:
        found = [problem for problems in self._troubled.values() for problem in problems]
        found += self.claims.problems()
        if self._network() is None:
            found.append(self._bad_range())
        found += [self._no_address(ref) for ref in self._homeless]
        return tuple(sorted(found, key=_order))

    def _bad_range(self) -> Problem:
        return Problem(
            SETTINGS,
            Reason.INVALID,
            f"is no range of addresses; {self.addresses.network} stays in use",
            "Write one with at least four addresses, such as 240.0.0.0/16",
            "spec.serviceRange",
            source=self._source(SETTINGS),
        )

    def _no_address(self, ref: ObjectRef) -> Problem:
        return Problem(
            ref,
            Reason.UNSUPPORTED_VALUE,
            f"gets no address: every one of {self.addresses.network} is taken",
            "Set a larger serviceRange in MeshConfig, or spec.clusterIP",
            "spec.clusterIP",
            source=self._source(ref),
        )

    def _source(self, ref: ObjectRef) -> Source | None:
        found = self.claims.source(ref)
        return found[1] if found else None


def _claim(service: Service | None) -> tuple[bool, tuple[str, ...]]:
    """What of a Service matters to the assignment of addresses."""
    return (needs_address(service), service.cluster_ips) if service else (False, ())


def _order(problem: Problem) -> tuple[Source, ObjectRef, str, str]:
    return problem.source or Source("", 0), problem.object, problem.field, problem.message
