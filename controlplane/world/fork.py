"""A fork: the world as it would be after a transaction, while the live world stays as it is.

It holds changed rows and merged buckets only, so it costs what the change costs. It is valid for
one live revision; whoever reads it checks that (`graph.Overlay` does).
"""

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any

from controlplane.world.store import World, moved
from controlplane.world.tables import AnyIndex, AnyTable, Cell, Index, K, R, Table
from controlplane.world.transaction import RowChange, Transaction, net


class Fork:
    """Reads like a `World`. ``cells`` are all cells in which it differs from the live one."""

    __slots__ = ("_merged", "_rows", "_touched", "_world", "cells", "revision")

    def __init__(self, world: World, transaction: Transaction) -> None:
        self._world = world
        self.revision = world.revision
        self._rows: dict[AnyTable, dict[Hashable, RowChange]] = {}
        self._touched: dict[Cell, list[tuple[RowChange, bool]]] = {}
        self._merged: dict[Cell, tuple[Any, ...]] = {}
        for change in net(world, transaction):
            self._rows.setdefault(change.table, {})[change.key] = change
            for index in change.table.indexes:
                self._touch(index, change)
        self.cells: frozenset[Cell] = frozenset(self._touched) | {
            Cell(table, key) for table, rows in self._rows.items() for key in rows
        }

    def _touch(self, index: AnyIndex, change: RowChange) -> None:
        left, entered = moved(index, change)
        for bucket in left | entered:
            touched = self._touched.setdefault(Cell(index, bucket), [])
            touched.append((change, bucket in entered))

    def get(self, table: Table[K, R], key: K) -> R | None:
        """The row of that key, or None."""
        change = self._rows.get(table, {}).get(key)
        if change is None:
            return self._world.get(table, key)
        row: R | None = change.new
        return row

    def find(self, index: Index[Any, R], bucket: Any) -> tuple[R, ...]:
        """The rows of a bucket, sorted by key; empty when there are none."""
        cell = Cell(index, bucket)
        touched = self._touched.get(cell)
        if touched is None:
            return self._world.find(index, bucket)
        merged = self._merged.get(cell)
        if merged is None:
            live = self._world.buckets(index).get(bucket)
            rows = {} if live is None else dict(zip(live.keys, live.rows, strict=True))
            for change, present in touched:
                if present:
                    rows[change.key] = change.new
                else:
                    del rows[change.key]
            merged = self._merged[cell] = tuple(rows[key] for key in sorted(rows))
        return merged

    def rows(self, table: Table[K, R]) -> Mapping[K, R]:
        """All rows of a table, read-only."""
        live = self._world.rows(table)
        changed = self._rows.get(table)
        if changed is None:
            return live
        gone = {key for key, change in changed.items() if change.new is None}
        rows: dict[Any, R] = {key: row for key, row in live.items() if key not in gone}
        rows.update((key, change.new) for key, change in changed.items() if change.new is not None)
        return MappingProxyType(rows)
