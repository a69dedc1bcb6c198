"""Handles of tables and indexes: they carry the types, a `World` holds the rows.

A table maps keys to frozen rows. An index puts each row of its table into any number of buckets,
as a pure function of the row. What a query reads is a cell: a row by key, present or absent, or a
bucket of an index, empty or not. Handles are compared by identity and declared once, at import.
"""

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
B = TypeVar("B", bound=Hashable)


class Table(Generic[K, R]):
    """A kind of row. Keys of one table are ordered among themselves (`find` sorts by key)."""

    __slots__ = ("indexes", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.indexes: list[Index[Any, R]] = []

    def __repr__(self) -> str:
        return f"Table({self.name!r})"


class Index(Generic[B, R]):
    """Buckets of a table's rows. ``buckets`` is pure, total and cheap; repeats count once."""

    __slots__ = ("buckets", "name", "table")

    def __init__(
        self, name: str, table: Table[Any, R], buckets: Callable[[R], Iterable[B]]
    ) -> None:
        self.name = name
        self.table = table
        self.buckets = buckets
        table.indexes.append(self)

    def __repr__(self) -> str:
        return f"Index({self.name!r})"


AnyTable: TypeAlias = Table[Any, Any]
AnyIndex: TypeAlias = Index[Any, Any]
Source: TypeAlias = AnyTable | AnyIndex


class Cell(NamedTuple):
    """The unit of reading and of change: (table, key) or (index, bucket)."""

    source: Source
    key: Hashable

    def __str__(self) -> str:
        key = self.key
        parts = key if isinstance(key, tuple) else (key,)
        return f"{self.source.name} {'/'.join(str(part) for part in parts if part != '')}"
