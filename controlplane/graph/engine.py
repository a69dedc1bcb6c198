"""The engine: mark along reverse edges on change, verify in the order of reads on pull.

A transaction marks what transitively read a changed cell, and computes nothing. A pull looks at a
marked node's reads in the order they were read, brings each up to date, and runs the node only if
one of them changed since it was last verified. Invariant: a clean node has only clean deps, so
marking stops at the first node that is not clean, and no query ever sees two revisions.

Owns nodes, leaves and edges. Clients do not meet it: they use `Graph`.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import takewhile
from typing import Any

from controlplane.graph.calls import Calls
from controlplane.graph.failure import Cycle, Failure, ReaderClosed, TooDeep
from controlplane.graph.metrics import Counters
from controlplane.graph.node import (
    ABSENT,
    CHECK,
    CLEAN,
    NEW,
    RUNNING,
    AnyNode,
    Leaf,
    Node,
    Vertex,
    add_reader,
    drop_reader,
    readers,
    same,
)
from controlplane.graph.query import AnyQuery, Reader
from controlplane.world.store import World
from controlplane.world.tables import B, Cell, Index, K, R, Source, Table


class Engine:
    """The memo over a world, and its upkeep. ``pending`` are subscribed nodes whose value was not
    reported since they were marked, oldest first."""

    __slots__ = (
        "_clock",
        "_cut",
        "_loose",
        "_nested",
        "calls",
        "counters",
        "cyclic",
        "idle",
        "leaves",
        "memo",
        "pending",
        "world",
    )

    def __init__(
        self, world: World, clock: Callable[[], float] | None = None, audit: bool = False
    ) -> None:
        self.world = world
        self.calls = Calls(audit)
        self.counters = Counters()
        self.memo: dict[AnyQuery, dict[tuple[Hashable, ...], AnyNode]] = {}
        self.leaves: defaultdict[Source, dict[Any, Leaf]] = defaultdict(dict)
        self.pending: dict[AnyNode, None] = {}
        self.idle: dict[AnyNode, int] = {}
        """Nodes without readers and streams, and since which revision, oldest first."""
        self.cyclic: set[AnyNode] = set()
        self._cut: set[AnyNode] = set()
        """Failed by depth, so without reads; tried again at each revision."""
        self._loose: dict[Leaf, None] = {}
        """Leaves that lost their last reader."""
        self._clock = clock
        self._nested = 0.0

    # --- reading -------------------------------------------------------------------------------

    def node(self, query: AnyQuery, args: tuple[Hashable, ...]) -> AnyNode:
        """The node of a query, made on first sight."""
        nodes = self.memo.get(query)
        if nodes is None:
            nodes = self.memo[query] = {}
        node = nodes.get(args)
        if node is None:
            node = nodes[args] = Node(query, args)
        return node

    def update(self, node: AnyNode) -> None:
        """Bring a node that is not clean, and all it reads, to the present revision."""
        if node.state == CHECK and node not in self.cyclic and self._verify(node):
            return
        if node.state != CLEAN:
            self._run(node)

    def _verify(self, node: AnyNode) -> bool:
        """Whether no read of ``node`` changed; then it is clean, without having run."""
        since = node.verified_at
        calls = self.calls
        calls.verifying += 1
        try:
            if calls.too_deep():
                return False
            for dep in node.deps:
                if dep.state != CLEAN:
                    if dep.state == RUNNING:  # it will be read again: let the run find the cycle
                        return False
                    self.update(dep)  # type: ignore[arg-type]  # leaves are always clean
                if dep.changed_at > since:
                    return False
        finally:
            calls.verifying -= 1
        self.counters.verified += 1
        node.state = CLEAN
        node.verified_at = self.world.revision
        return True

    def _run(self, node: AnyNode) -> None:
        node.state = RUNNING
        reader = _Recorder(self)
        try:
            value, failure = self._timed(node, reader)
        except BaseException:
            node.state = NEW
            self._orphaned(reader.reads)
            raise
        finally:
            reader.__class__ = _Closed
        reads = tuple(reader.reads)
        if reads != node.deps:
            self._rewire(node, reads, reader.reads)
        self._keep(node, value, failure)

    def _timed(self, node: AnyNode, reader: Reader) -> tuple[Any, Failure | None]:
        clock = self._clock
        if clock is None:
            return self.calls.call(node, reader)
        outer, self._nested = self._nested, 0.0
        start = clock()
        outcome = self.calls.call(node, reader)
        whole = clock() - start
        self.counters.took(node.query, whole - self._nested)
        self._nested = outer + whole
        return outcome

    def _keep(self, node: AnyNode, value: Any, failure: Failure | None) -> None:
        revision = self.world.revision
        self.counters.runs += 1
        if node.changed_at >= 0 and same(node, value, failure):
            self.counters.cutoffs += 1
        else:
            node.value = ABSENT if failure is not None else value
            node.failure = failure
            node.changed_at = revision
            self._classify(node, failure)
        node.verified_at = revision
        node.state = CLEAN

    def _classify(self, node: AnyNode, failure: Failure | None) -> None:
        own = None if failure is None or failure.node is not node else failure.error
        for members, kind in ((self.cyclic, Cycle), (self._cut, TooDeep)):
            if isinstance(own, kind):
                members.add(node)
            elif members:
                members.discard(node)

    # --- edges ---------------------------------------------------------------------------------

    def leaf(self, source: Source, key: Hashable) -> Leaf:
        """The leaf of a cell that has none yet."""
        leaf = self.leaves[source][key] = Leaf(source, key)
        return leaf

    def _rewire(
        self, node: AnyNode, reads: tuple[Vertex, ...], present: dict[Vertex, None]
    ) -> None:
        old = node.deps
        node.deps = reads
        former = set(old)
        for dep in reads:
            if dep not in former:
                if dep.readers is None and isinstance(dep, Node):
                    self.idle.pop(dep, None)
                add_reader(dep, node)
        for dep in old:
            if dep not in present:
                drop_reader(dep, node)
                if dep.readers is None:
                    self._orphaned((dep,))

    def _orphaned(self, vertices: Iterable[Vertex]) -> None:
        """Leave what nobody reads to `collect`. A query that still runs may have read it."""
        for vertex in vertices:
            if vertex.readers is not None:
                continue
            if isinstance(vertex, Leaf):
                self._loose[vertex] = None
            else:
                self.rest(vertex)

    def rest(self, node: AnyNode) -> None:
        """Note that ``node`` is idle from now on, if it has neither reader nor stream."""
        if node.readers is None and node.streams is None:
            self.idle.pop(node, None)
            self.idle[node] = self.world.revision

    # --- change --------------------------------------------------------------------------------

    def mark(self, cells: Sequence[Cell], revision: int) -> None:
        """Mark all that transitively read one of ``cells``, which changed at ``revision``."""
        for cell in cells:
            leaf = self.leaves[cell.source].get(cell.key)
            if leaf is not None:
                leaf.changed_at = revision
                self.mark_readers(leaf)
        for node in self._cut:
            self.mark_readers(node)
            node.state = NEW
            if node.streams is not None:
                self.pending[node] = None

    def mark_readers(self, vertex: Vertex) -> None:
        """Mark the transitive readers of ``vertex`` and make the subscribed ones pending."""
        stack = list(readers(vertex))
        pending = self.pending
        while stack:
            node = stack.pop()
            if node.state != CLEAN:
                continue
            node.state = CHECK
            if node.streams is not None:
                pending[node] = None
            held = node.readers
            if held is None:
                continue
            if isinstance(held, set):
                stack.extend(held)
            else:
                stack.append(held)

    def collect(self, keep: int) -> int:
        """Free nodes idle for ``keep`` revisions with what they alone held; returns how many.

        Members of a cycle hold each other and stay (`cyclic` counts them).
        """
        while self._loose:
            leaf, _ = self._loose.popitem()
            if leaf.readers is None:
                self.leaves[leaf.source].pop(leaf.key, None)
        limit = self.world.revision - keep
        stack = [node for node, _ in takewhile(lambda item: item[1] <= limit, self.idle.items())]
        for node in stack:
            del self.idle[node]
        freed = 0
        while stack:
            node = stack.pop()
            freed += 1
            deps = self._forget(node)
            for dep in deps:
                drop_reader(dep, node)
                if dep.readers is not None:
                    continue
                if isinstance(dep, Leaf):
                    del self.leaves[dep.source][dep.key]
                elif dep.streams is None:
                    stack.append(dep)
        return freed

    def _forget(self, node: AnyNode) -> tuple[Vertex, ...]:
        nodes = self.memo[node.query]
        del nodes[node.args]
        if not nodes:
            del self.memo[node.query]
        self.cyclic.discard(node)
        self._cut.discard(node)
        deps = node.deps
        node.deps = ()
        node.state = NEW
        node.failure = None  # it may name this node: freed by count, without the garbage collector
        return deps


class _Recorder(Reader):
    """Reads for one run, and notes each read before its value is looked at."""

    __slots__ = ("_engine", "reads")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.reads: dict[Vertex, None] = {}

    def get(self, table: Table[K, R], key: K) -> R | None:
        engine = self._engine
        leaf = engine.leaves[table].get(key) or engine.leaf(table, key)
        self.reads[leaf] = None
        return engine.world.get(table, key)

    def find(self, index: Index[B, R], bucket: B) -> tuple[R, ...]:
        engine = self._engine
        leaf = engine.leaves[index].get(bucket) or engine.leaf(index, bucket)
        self.reads[leaf] = None
        return engine.world.find(index, bucket)

    def pull(self, query: AnyQuery, args: tuple[Hashable, ...]) -> Any:
        engine = self._engine
        node = engine.node(query, args)
        self.reads[node] = None
        if node.state != CLEAN:
            if node.state == RUNNING:
                raise engine.calls.close(node)
            engine.update(node)
        if node.failure is not None:
            raise engine.calls.failed(node)
        return node.value


class _Closed(_Recorder):
    """What a reader becomes when its run is over; costs the running ones nothing."""

    __slots__ = ()

    def get(self, table: Table[K, R], key: K) -> R | None:
        raise ReaderClosed(f"{table.name} was read after the query had returned")

    def find(self, index: Index[B, R], bucket: B) -> tuple[R, ...]:
        raise ReaderClosed(f"{index.name} was read after the query had returned")

    def pull(self, query: AnyQuery, args: tuple[Hashable, ...]) -> Any:
        raise ReaderClosed(f"{query.__name__} was read after the calling query had returned")
