"""The graph as its clients see it: transactions in, changed values of subscribed queries out.

One owner on the event loop; nothing here waits, and nothing is thread safe. The graph's value is
the wish: what a stream was sent, canary holds and last good live with the stream. For speed the
owner turns the garbage collector off for the first load and settle, then calls ``gc.freeze()``.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from controlplane.graph import explain
from controlplane.graph.engine import Engine
from controlplane.graph.failure import Failed, Failure
from controlplane.graph.metrics import Metrics, query_name
from controlplane.graph.node import ABSENT, CLEAN, AnyNode, Node, equal
from controlplane.graph.query import P, Query, T
from controlplane.world.log import Log
from controlplane.world.store import World
from controlplane.world.tables import AnyTable, Cell
from controlplane.world.transaction import Inverse, Transaction

N = TypeVar("N", bound=AnyNode)
RECHECK_TRIES = 1_000
"""Roots that `Graph.recheck` looks at before it gives up."""


class Change(NamedTuple):
    """A subscribed node's value went from ``old`` (ABSENT: nothing yet) to ``new``.

    ``streams`` is the live set of subscribers: read it before the next subscription.
    """

    node: AnyNode
    old: Any
    new: Any
    streams: AbstractSet[Hashable]


class Graph:
    """Memoised queries over a world. ``clock`` (seconds, monotonic) measures the longest runs and
    bounds slices; ``audit`` is for tests and refuses impure queries; ``log`` bounds replay."""

    def __init__(
        self,
        world: World | None = None,
        *,
        log: Log | None = None,
        clock: Callable[[], float] | None = None,
        audit: bool = False,
    ) -> None:
        self.world = World() if world is None else world
        self.log = Log(revision=self.world.revision) if log is None else log
        self.engine = Engine(self.world, clock, audit)
        self._clock = clock
        self._roots: dict[AnyNode, Any] = {}
        """Subscribed nodes with the value last reported."""
        self._joined: dict[AnyNode, set[Hashable]] = {}
        """Streams that joined while there was no settled value to take."""
        self._failed: dict[AnyNode, Failure] = {}

    # --- the world ------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """How many transactions with effect there were."""
        return self.world.revision

    def apply(self, transaction: Transaction) -> Inverse:
        """Change the world; mark what read the changed cells; compute nothing.

        Returns the transaction that undoes it. Raises RuntimeError inside a query.
        """
        self._refuse_inside("apply")
        applied = self.world.apply(transaction)
        if applied.cells:
            self.log.record(applied.revision, applied.inverse)
            self.engine.mark(applied.cells, applied.revision)
        return applied.inverse

    def changed_since(self, revision: int) -> frozenset[Cell]:
        """The rows, as (table, key), that transactions after ``revision`` touched.

        Raises Forgotten when the log does not reach back that far.
        """
        return frozenset(self.log.versions(revision))

    # --- subscriptions --------------------------------------------------------------------------

    def subscribe(
        self, stream: Hashable, query: Query[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> Node[T]:
        """Keep a query's value up to date for ``stream``; computes nothing.

        If the node `is_pending` afterwards, or has failed, a `Change` will tell the stream;
        otherwise ``node.value`` is what it starts with. Subscribing twice is once.
        """
        engine = self.engine
        if engine.calls or kwargs:
            self._refuse_inside("subscribe")
            _positional(query, kwargs)
        node: Node[T] = engine.node(query, args)
        self.join(stream, node)
        return node

    def join(self, stream: Hashable, node: AnyNode) -> None:
        """`subscribe` to a node that another stream subscribed to at this revision."""
        engine = self.engine
        if node.streams is None:
            node.streams = {stream: None}
            self._roots[node] = ABSENT
            engine.idle.pop(node, None)
            engine.pending[node] = None
        elif stream not in node.streams:
            node.streams[stream] = None
            if node in engine.pending or node.failure is not None:
                self._joined.setdefault(node, set()).add(stream)

    def unsubscribe(self, stream: Hashable, node: AnyNode) -> None:
        """Undo `subscribe`. Raises KeyError if the stream holds no subscription to it."""
        self._refuse_inside("unsubscribe")
        if node.streams is None:
            raise KeyError(stream)
        del node.streams[stream]
        if (joined := self._joined.get(node)) is not None:
            joined.discard(stream)
        if not node.streams:
            node.streams = None
            for held in (self._roots, self._joined, self._failed, self.engine.pending):
                held.pop(node, None)
            self.engine.rest(node)

    def streams(self, node: AnyNode) -> AbstractSet[Hashable]:
        """The live set of a node's subscribers."""
        return node.streams.keys() if node.streams is not None else frozenset()

    @property
    def roots(self) -> AbstractSet[AnyNode]:
        """The subscribed nodes, live."""
        return self._roots.keys()

    # --- settling -------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many subscribed nodes wait for `settle`."""
        return len(self.engine.pending)

    def is_pending(self, node: AnyNode) -> bool:
        """Marked and not verified, or verified and not yet reported by `settle`."""
        return node.state != CLEAN or node in self.engine.pending

    @property
    def failed(self) -> Mapping[AnyNode, Failure]:
        """Settled roots without a value, and why. Whoever sent them a value before, keeps it."""
        return MappingProxyType(self._failed)

    def settle(
        self,
        budget: float | None = None,
        clock: Callable[[], float] | None = None,
        *,
        max_nodes: int | None = None,
        only: Iterable[AnyNode] | None = None,
    ) -> list[Change]:
        """Bring pending nodes up to date, last in first out, and report values that changed.

        Stops after ``budget`` seconds of ``clock`` (default: the graph's) or ``max_nodes``, and
        does at least one node. ``only`` takes these nodes alone, for a stream that must not wait
        for the pass. Changes come in no order that a client may rely on.
        """
        self._refuse_inside("settle")
        clock = clock or self._clock
        if budget is not None and clock is None:
            raise ValueError("a budget in seconds needs a clock")
        deadline = None if budget is None or clock is None else clock() + budget
        pending = self.engine.pending
        chosen = None if only is None else [node for node in only if node in pending]
        changes: list[Change] = []
        done = 0
        while pending if chosen is None else chosen:
            node = pending.popitem()[0] if chosen is None else chosen.pop()
            pending.pop(node, None)
            if (change := self._settle(node)) is not None:
                changes.append(change)
            done += 1
            if done == max_nodes or (deadline is not None and clock and clock() >= deadline):
                break
        return changes

    def _settle(self, node: AnyNode) -> Change | None:
        if node.streams is None:  # ``only`` named it twice, or it was dropped
            return None
        try:
            if node.state != CLEAN:
                self.engine.update(node)
        except BaseException:
            self.engine.pending[node] = None
            raise
        if node.failure is not None:
            self._failed[node] = node.failure
            return None
        if self._failed:
            self._failed.pop(node, None)
        old, new = self._roots[node], node.value
        joined = self._joined.pop(node, None) if self._joined else None
        if not equal(old, new):
            self._roots[node] = new
            return Change(node, old, new, node.streams.keys())
        return Change(node, ABSENT, new, joined) if joined else None

    # --- reading --------------------------------------------------------------------------------

    def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A query's value at the present revision, memoised. Raises Failed."""
        self._refuse_inside("read")
        _positional(query, kwargs)
        node: Node[T] = self.engine.node(query, args)
        try:
            if node.state != CLEAN:
                self.engine.update(node)
        finally:
            self.engine.rest(node)
        if node.failure is not None:
            raise Failed(node.failure)
        return node.value

    def node(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> Node[T] | None:
        """The node of a query if there is one; computes nothing."""
        _positional(query, kwargs)
        return self.engine.memo.get(query, {}).get(args)

    def reported(self, node: AnyNode) -> Any:
        """The value of a root that `settle` last reported, or ABSENT."""
        return self._roots.get(node, ABSENT)

    def provenance(self, node: AnyNode) -> frozenset[Cell]:
        """Every cell that a settled node's value was made from, absent ones included."""
        return explain.provenance(node)

    def suspects(self, node: AnyNode, revision: int) -> frozenset[Cell]:
        """Rows of ``node``'s provenance, buckets expanded, that changed after ``revision``.

        Raises Forgotten when the log does not reach back that far.
        """
        return explain.suspects(node, self.log.versions(revision), self.world)

    def dependants(self, table: AnyTable, key: Hashable) -> frozenset[AnyNode]:
        """Roots that transitively read a row, by key or in a bucket, as far as they have run."""
        return explain.dependants(self.engine, table, key)

    def why(self, node: AnyNode) -> explain.Step:
        """The tree of queries and cells that a node's value was made from; ``str`` prints it."""
        return explain.why(node, self.log.changed_at())

    # --- upkeep ---------------------------------------------------------------------------------

    def collect(self, keep: int = 100) -> int:
        """Free results that nobody read or subscribed to for ``keep`` revisions; how many."""
        self._refuse_inside("collect")
        return self.engine.collect(keep)

    def recheck(self, choose: Callable[[int], int]) -> tuple[AnyNode, bool] | None:
        """Evaluate one settled root again from the world alone; is the memoised value equal?

        ``choose`` picks one of so many, as ``random.randrange`` does; the next settled one behind
        it is taken. None when there is none near. False is a stale value or an impure query: an
        alarm.
        """
        self._refuse_inside("recheck")
        roots, pending = self._roots, self.engine.pending
        if not roots:
            return None
        near = islice(chain(islice(roots, choose(len(roots)), None), roots), RECHECK_TRIES)
        settled = (node for node in near if node not in pending and node.state == CLEAN)
        node = next(settled, None)
        if node is None:
            return None
        scratch = Engine(self.world)
        again = scratch.node(node.query, node.args)
        scratch.update(again)
        if node.failure is not None or again.failure is not None:
            return node, node.failure is not None and again.failure is not None
        return node, equal(node.value, again.value)

    def metrics(self) -> Metrics:
        """A snapshot of counts and gauges."""
        engine = self.engine
        counters = engine.counters
        by_query = {query_name(query): len(nodes) for query, nodes in engine.memo.items()}
        return Metrics(
            runs=counters.runs,
            verified=counters.verified,
            cutoffs=counters.cutoffs,
            revision=self.world.revision,
            nodes=sum(by_query.values()),
            leaves=sum(map(len, engine.leaves.values())),
            roots=len(self._roots),
            pending=len(engine.pending),
            idle=len(engine.idle),
            cyclic=len(engine.cyclic),
            failed=len(self._failed),
            log=len(self.log),
            longest={query_name(query): took for query, took in counters.longest.items()},
            by_query=by_query,
        )

    def _refuse_inside(self, what: str) -> None:
        if self.engine.calls:
            raise RuntimeError(
                f"graph.{what} inside a query: a query reads through its reader alone"
            )


def _positional(query: object, kwargs: Mapping[str, object]) -> None:
    if kwargs:
        raise TypeError(f"{query} takes positional arguments only, not {', '.join(kwargs)}")
