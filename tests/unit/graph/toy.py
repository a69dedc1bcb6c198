"""A toy world in which the data says what a query reads, so that any shape of graph can arise.

A program is a row; `node(key)` interprets the program of that key. Keys and values are few, so that
collisions, deletions, dangling references and equal results are common. `Naive` is the same
interpreter without any memo: the oracle.
"""

from collections.abc import Callable
from typing import NamedTuple

from controlplane.graph import Failed, Reader, query
from controlplane.world.store import World
from controlplane.world.tables import Index, Table


class Step(NamedTuple):
    """One instruction: see `interpret`."""

    op: str
    arg: str = ""


Program = tuple[Step, ...]

PROGRAMS: Table[str, Program] = Table("Program")
DATA: Table[str, int] = Table("Datum")
BY_VALUE = Index("data by value", DATA, lambda row: (f"m{row % 2}", "all") if row else ("all",))

RUNS: list[str] = []
"""Keys of the nodes whose query function ran, in order; tests clear it."""


class Gone(Exception):
    """What the oracle raises for a read that failed."""


def interpret(
    program: Program | None,
    get: Callable[[str], int | None],
    find: Callable[[str], tuple[int, ...]],
    call: Callable[[str], int],
    failed: type[Exception],
) -> int:
    """``data`` and ``bucket`` read cells, ``call`` reads a node, ``try`` does and catches, ``stop``
    ends early and ``boom`` raises when the sum so far is odd."""
    total = 0
    for op, arg in program or ():
        if op == "data":
            total += get(arg) or 0
        elif op == "bucket":
            total += sum(find(arg)) + len(find(arg))
        elif op == "call":
            total += call(arg)
        elif op == "try":
            try:
                total += call(arg)
            except failed:
                total += 1
        elif op == "stop" and total % 2:
            break
        elif op == "boom" and total % 2:
            raise ValueError(f"odd: {total}")
    return total % 3


@query
def node(q: Reader, key: str) -> int:
    RUNS.append(key)
    return interpret(
        q.get(PROGRAMS, key),
        lambda name: q.get(DATA, name),
        lambda bucket: q.find(BY_VALUE, bucket),
        lambda other: node(q, other),
        Failed,
    )


class _Closed(Exception):
    """A loop was found; begin again, knowing its members."""


class Naive:
    """Evaluates without memo. ``loops`` are nodes found to read themselves: they fail.

    What a member of a loop reads is followed too, for it may lead to a larger one. At the first
    loop all reads before it were complete, so its members do read each other, whatever comes.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.loops: set[str] = set()
        self._stack: list[str] = []

    def outcome(self, key: str) -> int | None:
        """The value, or None for a failure."""
        while True:
            self._stack.clear()
            try:
                return self._call(key)
            except Gone:
                return None
            except _Closed:
                continue

    def _call(self, key: str) -> int:
        if key in self._stack:
            members = set(self._stack[self._stack.index(key) :])
            if members <= self.loops:
                raise Gone(key)
            self.loops |= members
            raise _Closed
        self._stack.append(key)
        try:
            value = interpret(
                self.world.get(PROGRAMS, key),
                lambda name: self.world.get(DATA, name),
                self._bucket,
                self._call,
                Gone,
            )
        except ValueError as error:
            raise Gone(key) from error
        finally:
            self._stack.pop()
        if key in self.loops:
            raise Gone(key)
        return value

    def _bucket(self, bucket: str) -> tuple[int, ...]:
        rows = sorted(self.world.rows(DATA).items())
        return tuple(row for _, row in rows if bucket in BY_VALUE.buckets(row))
