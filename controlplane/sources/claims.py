"""Which file an object comes from when several claim it. Pure.

The first file by path wins, so that every replica and every restart agrees; the user's tree comes
before what meshctl created; in one file the first document wins. Each loser is a problem.
"""

from collections.abc import Iterable
from typing import NamedTuple

from controlplane.api.problem import ObjectRef, Problem, Reason, Source
from controlplane.world.intake import Taken

TREE, CREATED = 0, 1
"""Ranks of files: the user's tree, and the objects that meshctl created."""


class FileId(NamedTuple):
    """A file as it is ordered and named in problems."""

    rank: int
    path: str


class Entry(NamedTuple):
    """A valid object of a document, its row, and the line where it begins."""

    ref: ObjectRef
    taken: Taken
    line: int
    text: str = ""
    """The document's text, from which the object can be read again."""
    start: int = 0
    """The 0-based line where the document begins."""


class _Place(NamedTuple):
    file: FileId
    line: int
    order: int

    @property
    def source(self) -> Source:
        return Source(self.file.path, self.line)


class Claims:
    """Claims of files on objects, kept up to date file by file."""

    def __init__(self) -> None:
        self._files: dict[FileId, tuple[Entry, ...]] = {}
        self._claims: dict[ObjectRef, dict[_Place, Entry]] = {}
        self._contested: set[ObjectRef] = set()

    def entries(self, file: FileId) -> tuple[Entry, ...]:
        """What a file claims now."""
        return self._files.get(file, ())

    def replace(self, file: FileId, entries: Iterable[Entry]) -> set[ObjectRef]:
        """Make ``entries`` all that ``file`` claims; the objects whose winner may have changed."""
        touched: set[ObjectRef] = set()
        for order, entry in enumerate(self._files.pop(file, ())):
            self._claims[entry.ref].pop(_Place(file, entry.line, order))
            touched.add(entry.ref)
        fresh = tuple(entries)
        for order, entry in enumerate(fresh):
            self._claims.setdefault(entry.ref, {})[_Place(file, entry.line, order)] = entry
            touched.add(entry.ref)
        if fresh:
            self._files[file] = fresh
        for ref in touched:
            self._settle(ref)
        return touched

    def _settle(self, ref: ObjectRef) -> None:
        count = len(self._claims[ref])
        if count == 0:
            del self._claims[ref]
        if count > 1:
            self._contested.add(ref)
        else:
            self._contested.discard(ref)

    def winner(self, ref: ObjectRef) -> Entry | None:
        """The entry that takes effect."""
        claims = self._claims.get(ref)
        return claims[min(claims)] if claims else None

    def source(self, ref: ObjectRef) -> tuple[FileId, Source] | None:
        """Where the entry that takes effect stands."""
        claims = self._claims.get(ref)
        if not claims:
            return None
        place = min(claims)
        return place.file, place.source

    def rows(self) -> list[Taken]:
        """The rows of all winners, in the order of their objects."""
        return [claims[min(claims)].taken for _, claims in sorted(self._claims.items())]

    def problems(self) -> list[Problem]:
        """One for each claim that lost."""
        found = []
        for ref in sorted(self._contested):
            first, *others = sorted(self._claims[ref])
            found += [_lost(ref, first, other) for other in others]
        return found


def _lost(ref: ObjectRef, first: _Place, other: _Place) -> Problem:
    if other.file.rank == CREATED and first.file.rank == TREE:
        message = f"was created with meshctl and also stands in {first.source}, which is used"
        remedy = f"Remove it from {first.file.path}, or delete what meshctl created"
        return Problem(ref, Reason.CONFLICTED, message, remedy, source=other.source)
    message = f"stands in {other.source} and in {first.source}; the latter is used"
    remedy = "Remove one of the two, or give it another name"
    return Problem(ref, Reason.DUPLICATE, message, remedy, source=other.source)
