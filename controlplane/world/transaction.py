"""Transactions: edits that enter the world together, or not at all.

Edits are taken in order; what counts is the net difference, so a put of an equal row is no change
and a row that is deleted and put again is one change. `net` computes it without writing anything,
for the world itself and for a fork of it.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias

from controlplane.world.tables import AnyTable, Index, K, R, Table


@dataclass(frozen=True, slots=True)
class Put(Generic[K, R]):
    """Insert a row, or replace the row of that key."""

    table: Table[K, R]
    key: K
    row: R


@dataclass(frozen=True, slots=True)
class Delete(Generic[K]):
    """Remove a row; no error when there is none."""

    table: Table[K, Any]
    key: K


@dataclass(frozen=True, slots=True)
class Replace(Generic[K, R]):
    """Make ``rows`` the whole content of the table, or of the keys for which ``where`` holds.

    This is what a list from an API server or a directory says: a row that is not in it has
    vanished, and is deleted. A row of ``rows`` outside ``where`` is a ValueError.
    """

    table: Table[K, R]
    rows: Mapping[K, R]
    where: Callable[[K], bool] | None = None


Edit: TypeAlias = Put[Any, Any] | Delete[Any] | Replace[Any, Any]
Transaction: TypeAlias = Sequence[Edit]
Inverse: TypeAlias = tuple[Put[Any, Any] | Delete[Any], ...]
"""Takes back exactly one net difference. Applying it gives the former world."""


class RowChange(NamedTuple):
    """A net difference of one row; None stands for absence, and ``old`` never equals ``new``."""

    table: AnyTable
    key: Hashable
    old: Any
    new: Any


class Rows(Protocol):
    """What reads need of a world: live or forked."""

    def get(self, table: Table[K, R], key: K) -> R | None:
        """The row of that key, or None."""

    def find(self, index: Index[Any, R], bucket: Any) -> tuple[R, ...]:
        """The rows of a bucket, sorted by key; empty when there are none."""

    def rows(self, table: Table[K, R]) -> Mapping[K, R]:
        """All rows of a table, read-only."""


def net(world: Rows, transaction: Transaction) -> list[RowChange]:
    """The net differences that a transaction makes to ``world``; writes nothing.

    Raises ValueError for a `Replace` whose rows leave its own ``where``, TypeError for a row None.
    """
    staged: dict[AnyTable, dict[Hashable, Any]] = {}
    for edit in transaction:
        rows = staged.setdefault(edit.table, {})
        if isinstance(edit, Put):
            _stage(rows, edit.table, edit.key, edit.row)
        elif isinstance(edit, Delete):
            rows[edit.key] = None
        else:
            _stage_replacement(world, rows, edit)
    changes = []
    for table, rows in staged.items():
        before = world.rows(table)
        for key, new in rows.items():
            old = before.get(key)
            if old is not new and old != new:
                changes.append(RowChange(table, key, old, new))
    return changes


def _stage(rows: dict[Hashable, Any], table: AnyTable, key: Hashable, row: Any) -> None:
    if row is None:
        raise TypeError(f"a row of {table.name} is None; use Delete to remove {key!r}")
    rows[key] = row


def _stage_replacement(world: Rows, rows: dict[Hashable, Any], edit: Replace[Any, Any]) -> None:
    where = edit.where
    for key in [*world.rows(edit.table), *rows]:
        if where is None or where(key):
            rows[key] = None
    for key, row in edit.rows.items():
        if where is not None and not where(key):
            raise ValueError(f"{edit.table.name} {key!r} is outside of what is being replaced")
        _stage(rows, edit.table, key, row)


def inverse(changes: Sequence[RowChange]) -> Inverse:
    """The edits that undo ``changes``."""
    return tuple(
        Delete(change.table, change.key)
        if change.old is None
        else Put(change.table, change.key, change.old)
        for change in changes
    )
