"""Queries: pure functions whose results are memoised and whose reads are recorded.

    @query
    def port(q: Reader, service: Key, name: str) -> int | None: ...

A query reads the world through its `Reader` and calls other queries by passing it on. Arguments are
positional and hashable; make them of str and NamedTuples, and of one type per position, because
1, True and 1.0 are one key. Results are compared by ``==``: return bytes, tuples and frozen
dataclasses, never what can be mutated, and nothing that depends on the clock, chance, the order
of a set, or the environment. A reader is good only while its query runs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, cast

from controlplane.world.tables import B, Index, K, R, Table

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Reader(ABC):
    """What a query may see. Reading nothing is recorded like reading something."""

    __slots__ = ()

    @abstractmethod
    def get(self, table: Table[K, R], key: K) -> R | None:
        """The row of that key, or None."""

    @abstractmethod
    def find(self, index: Index[B, R], bucket: B) -> tuple[R, ...]:
        """The rows of a bucket, sorted by key; empty when there are none."""

    @abstractmethod
    def pull(self, query: "AnyQuery", args: tuple[Hashable, ...]) -> Any:
        """The value of another query; calling the query does this. Raises Failed."""


class Query(Protocol[P, T_co]):
    """What `query` returns: called with a reader it gives the memoised value."""

    __name__: str
    __module__: str

    @property
    def function(self) -> Callable[..., T_co]:
        """The undecorated function, which computes at each call."""

    def __call__(self, q: Reader, /, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


AnyQuery: TypeAlias = Query[..., Any]


def query(function: Callable[Concatenate[Reader, P], T]) -> Query[P, T]:
    """Make a pure function a memoised query. Keyword arguments are a TypeError at run time."""

    def call(q: Reader, /, *args: Hashable) -> Any:
        return q.pull(memoised, args)

    call.__name__ = function.__name__
    call.__qualname__ = function.__qualname__
    call.__module__ = function.__module__
    call.__doc__ = function.__doc__
    call.function = function  # type: ignore[attr-defined]  # functions take attributes
    memoised = cast("Query[P, T]", call)
    return memoised


def described(called: AnyQuery, args: tuple[Hashable, ...]) -> str:
    """``name(arg, arg)``, with tuples of text written ``a/b/c``."""
    return f"{called.__name__}({', '.join(map(_argument, args))})"


def _argument(value: Hashable) -> str:
    if isinstance(value, tuple):
        return "/".join(_argument(part) for part in value if part != "")
    return str(value)
