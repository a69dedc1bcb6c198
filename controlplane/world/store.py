"""The world: all rows and the buckets of all indexes, at one revision.

Owned by the graph, which is the only caller of `apply`; everybody else reads. An index is built
when it is first searched and kept up from then on. Not thread safe: one owner on the loop.
"""

from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from controlplane.world.tables import AnyIndex, AnyTable, Cell, Index, K, R, Table
from controlplane.world.transaction import Inverse, RowChange, Transaction, inverse, net

LARGE = 8
"""Rows above which a bucket keeps the tuple it was last read as."""


class Bucket:
    """Rows of one bucket in the order of their keys: an edit moves pointers, a read never sorts."""

    __slots__ = ("keys", "rows", "view")

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.rows: list[Any] = []
        self.view: tuple[Any, ...] | None = None

    def put(self, key: Any, row: Any) -> None:
        """Insert or replace the row of ``key``."""
        self.view = None
        at = bisect_left(self.keys, key)
        if at < len(self.keys) and self.keys[at] == key:
            self.rows[at] = row
        else:
            self.keys.insert(at, key)
            self.rows.insert(at, row)

    def remove(self, key: Any) -> None:
        """Remove the row of ``key``, which is there."""
        self.view = None
        at = bisect_left(self.keys, key)
        del self.keys[at], self.rows[at]

    def read(self) -> tuple[Any, ...]:
        """The rows, sorted by key."""
        if self.view is not None:
            return self.view
        view = tuple(self.rows)
        if len(view) > LARGE:
            self.view = view
        return view


class Applied(NamedTuple):
    """What a transaction did: ``revision`` after it, how to undo it, and every changed cell."""

    revision: int
    inverse: Inverse
    cells: tuple[Cell, ...]


class _Move(NamedTuple):
    by: AnyIndex
    change: RowChange
    left: frozenset[Hashable]
    entered: frozenset[Hashable]


class World:
    """Tables of frozen rows with their indexes. ``revision`` counts transactions with effect."""

    __slots__ = ("_buckets", "_rows", "revision")

    def __init__(self) -> None:
        self.revision = 0
        self._rows: dict[AnyTable, dict[Any, Any]] = {}
        self._buckets: dict[AnyIndex, dict[Any, Bucket]] = {}

    def get(self, table: Table[K, R], key: K) -> R | None:
        """The row of that key, or None."""
        rows = self._rows.get(table)
        return None if rows is None else rows.get(key)

    def find(self, index: Index[Any, R], bucket: Any) -> tuple[R, ...]:
        """The rows of a bucket, sorted by key; empty when there are none."""
        found = self.buckets(index).get(bucket)
        return () if found is None else found.read()

    def rows(self, table: Table[K, R]) -> Mapping[K, R]:
        """All rows of a table, as a read-only live view."""
        return MappingProxyType(cast(dict[K, R], self._rows.get(table, {})))

    def buckets(self, index: AnyIndex) -> Mapping[Any, Bucket]:
        """All buckets of an index that hold a row; builds the index when it is new."""
        buckets = self._buckets.get(index)
        if buckets is None:
            buckets = self._buckets[index] = {}
            for key, row in self._rows.get(index.table, {}).items():
                for bucket in frozenset(index.buckets(row)):
                    buckets.setdefault(bucket, Bucket()).put(key, row)
        return buckets

    def apply(self, transaction: Transaction) -> Applied:
        """Make the net difference of ``transaction`` the next revision.

        Without a difference the revision stays. What an index's function or `net` raises is raised
        before anything is written.
        """
        changes = net(self, transaction)
        if not changes:
            return Applied(self.revision, (), ())
        moves = self._moves(changes)
        for change in changes:
            rows = self._rows.setdefault(change.table, {})
            if change.new is None:
                del rows[change.key]
            else:
                rows[change.key] = change.new
        cells = {Cell(change.table, change.key): None for change in changes}
        for move in moves:
            self._move(move)
            cells.update((Cell(move.by, bucket), None) for bucket in move.left | move.entered)
        self.revision += 1
        return Applied(self.revision, inverse(changes), tuple(cells))

    def _moves(self, changes: Sequence[RowChange]) -> list[_Move]:
        return [
            _Move(index, change, *moved(index, change))
            for change in changes
            for index in change.table.indexes
            if index in self._buckets
        ]

    def _move(self, move: _Move) -> None:
        buckets = self._buckets[move.by]
        for name in move.left - move.entered:
            bucket = buckets[name]
            bucket.remove(move.change.key)
            if not bucket.keys:
                del buckets[name]
        for name in move.entered:
            bucket = buckets.get(name) or buckets.setdefault(name, Bucket())
            bucket.put(move.change.key, move.change.new)


def moved(index: AnyIndex, change: RowChange) -> tuple[frozenset[Hashable], frozenset[Hashable]]:
    """The buckets that hold a row before and after its change; each of them is a changed cell."""
    old, new = change.old, change.new
    return (
        frozenset() if old is None else frozenset(index.buckets(old)),
        frozenset() if new is None else frozenset(index.buckets(new)),
    )
