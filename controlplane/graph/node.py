"""Nodes and leaves of the graph: a memoised query result, and a cell of the world that was read.

Most have one reader, so readers are None, a single node, or a set: a quarter less memory than sets
alone. Edges are kept in both directions; a node's ``deps`` are in the order of its reads.
"""

from collections.abc import Hashable, Iterator
from typing import Any, Final, Generic, TypeAlias

from controlplane.graph.failure import Failure
from controlplane.graph.query import AnyQuery, T, described
from controlplane.world.tables import Cell, Source

CLEAN: Final = 0
"""Value and failure are those of the present revision, and so are all deps'."""
CHECK: Final = 1
"""Something below changed; to be verified."""
NEW: Final = 2
"""To be run, without verifying."""
RUNNING: Final = 3


class Absent:
    """The type of `ABSENT`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()
"""Stands where there is no value: never evaluated, or failed."""


class Leaf:
    """A cell that some node has read, present or absent."""

    __slots__ = ("changed_at", "key", "readers", "source")

    state: Final = CLEAN

    def __init__(self, source: Source, key: Hashable) -> None:
        self.source = source
        self.key = key
        self.readers: Node[Any] | set[Node[Any]] | None = None
        self.changed_at = 0
        """Last change since it was first read; 0 is not since then."""

    @property
    def cell(self) -> Cell:
        """The cell that it stands for."""
        return Cell(self.source, self.key)

    def __repr__(self) -> str:
        return f"<{self.cell}>"


class Node(Generic[T]):
    """A query with its arguments, and what it gave. Read-only outside of the engine.

    ``value`` is ABSENT while ``failure`` is set. ``changed_at`` is the revision at which the
    outcome last changed, ``verified_at`` the one at which it was last known to hold.
    """

    __slots__ = (
        "_text",
        "args",
        "changed_at",
        "deps",
        "failure",
        "query",
        "readers",
        "state",
        "streams",
        "value",
        "verified_at",
    )

    value: T

    def __init__(self, query: AnyQuery, args: tuple[Hashable, ...]) -> None:
        self.query = query
        self.args = args
        self.value = ABSENT  # type: ignore[assignment]  # see ``failure``
        self.failure: Failure | None = None
        self.deps: tuple[Leaf | Node[Any], ...] = ()
        self.readers: Node[Any] | set[Node[Any]] | None = None
        self.streams: dict[Hashable, None] | None = None
        """A set of them; half the size of one."""
        self.state: int = NEW
        self.changed_at = -1
        self.verified_at = -1
        self._text: str | None = None
        """Kept once it was asked for: virtual hosts are put in order by it."""

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        if self._text is None:
            self._text = described(self.query, self.args)
        return self._text


AnyNode: TypeAlias = Node[Any]
Vertex: TypeAlias = Leaf | AnyNode


def readers(vertex: Vertex) -> Iterator[AnyNode]:
    """The nodes that have read ``vertex``, in no order."""
    held = vertex.readers
    if held is None:
        return
    if isinstance(held, set):
        yield from held
    else:
        yield held


def add_reader(vertex: Vertex, node: AnyNode) -> None:
    """Record that ``node``, which had not, has read ``vertex``."""
    held = vertex.readers
    if held is None:
        vertex.readers = node
    elif isinstance(held, set):
        held.add(node)
    else:
        vertex.readers = {held, node}


def drop_reader(vertex: Vertex, node: AnyNode) -> None:
    """Forget that ``node`` has read ``vertex``."""
    held = vertex.readers
    if isinstance(held, set):
        held.discard(node)
        if len(held) == 1:
            (vertex.readers,) = held
        elif not held:
            vertex.readers = None
    elif held is node:
        vertex.readers = None


def same(old: AnyNode, value: Any, failure: Failure | None) -> bool:
    """Whether an outcome is the one that ``old`` holds."""
    if failure is None:
        return old.failure is None and equal(old.value, value)
    return old.failure is not None and old.failure.repeats(failure)


def equal(old: Any, new: Any) -> bool:
    """Values that need no push. A value whose ``==`` raises counts as changed."""
    if old is new:
        return True
    try:
        return type(old) is type(new) and bool(old == new)
    except Exception:  # noqa: BLE001  # a query's value may be of any type
        return False
