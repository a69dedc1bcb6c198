"""An overlay: the same queries over a fork of the world. Plan, replay and preview are this.

A look-up falls through to the live node unless the changed cells reach it; then a shadow is
verified from the live node's reads, and run only if one of them differs. Nothing live is written,
and the result is what applying the transaction would give. It costs about what the change costs.
"""

from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any

from controlplane.graph import explain
from controlplane.graph.calls import Calls
from controlplane.graph.failure import Failed, Failure, TooDeep
from controlplane.graph.graph import Change, Graph
from controlplane.graph.node import CHECK, CLEAN, NEW, RUNNING, AnyNode, Leaf, Node, equal, same
from controlplane.graph.query import AnyQuery, P, Query, Reader, T
from controlplane.world.fork import Fork
from controlplane.world.tables import B, Index, K, R, Table
from controlplane.world.transaction import Transaction


class Stale(RuntimeError):
    """The live world moved on since the overlay was made. Make a new one."""


class Overlay:
    """What a transaction would change. Valid for the live revision it was made at.

    ``Overlay(graph, graph.log.rewind(r))`` is the world as it was at revision ``r``.
    """

    def __init__(self, graph: Graph, transaction: Transaction) -> None:
        self._graph = graph
        self._engine = graph.engine
        self._calls = Calls()
        self._shadows: dict[AnyQuery, dict[tuple[Hashable, ...], AnyNode]] = {}
        self._failed: dict[AnyNode, Failure] = {}
        self.fork = Fork(graph.world, transaction)
        live = (self._engine.leaves[cell.source].get(cell.key) for cell in self.fork.cells)
        self._leaves = {leaf for leaf in live if leaf is not None}
        self._reached = explain.reached(iter(self._leaves))
        self.runs = 0
        """Queries that had to run in the overlay."""

    def plan(self) -> list[Change]:
        """What `apply` and a full `settle` would report, in no order; ``node`` is the live one.

        Streams that joined without having got a value yet are not told apart.
        """
        self._check()
        pending = self._engine.pending
        roots = [
            *pending,
            *(node for node in self._reached if node.streams and node not in pending),
        ]
        changes = []
        for root in roots:
            shadow = self._resolved(root.query, root.args)
            if shadow.failure is not None:
                self._failed[root] = shadow.failure
                continue
            old = self._graph.reported(root)
            if not equal(old, shadow.value):
                changes.append(Change(root, old, shadow.value, self._graph.streams(root)))
        return changes

    @property
    def failed(self) -> Mapping[AnyNode, Failure]:
        """Roots that `plan` found without a value."""
        return MappingProxyType(self._failed)

    def read(self, query: Query[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A query's value in the changed world. Raises Failed, Stale."""
        self._check()
        if kwargs:
            raise TypeError(f"{query.__name__} takes positional arguments only")
        node: Node[T] = self._resolved(query, args)
        if node.failure is not None:
            raise Failed(node.failure)
        return node.value

    def _check(self) -> None:
        if self._graph.revision != self.fork.revision:
            raise Stale(
                f"made at revision {self.fork.revision}, the world is at {self._graph.revision}"
            )

    def pull(self, query: AnyQuery, args: tuple[Hashable, ...]) -> Any:
        """The value of a query for a running one."""
        node = self._resolved(query, args)
        if node.state == RUNNING:
            raise self._calls.close(node)
        if node.failure is not None:
            raise self._calls.failed(node)
        return node.value

    def _resolved(self, query: AnyQuery, args: tuple[Hashable, ...]) -> AnyNode:
        """The live node if nothing reaches it, else its shadow: clean, or running."""
        shadows = self._shadows.setdefault(query, {})
        shadow = shadows.get(args)
        if shadow is None:
            live = self._engine.memo.get(query, {}).get(args)
            if live is not None and live.state == CLEAN and live not in self._reached:
                return live
            shadow = shadows[args] = Node(query, args)
            if live is not None and live.state != NEW and live not in self._engine.cyclic:
                shadow.state = CHECK  # a second pull meanwhile does not verify, it runs
                if self._unchanged(live) and shadow.state == CHECK:
                    shadow.value, shadow.failure = live.value, live.failure
                    shadow.state = CLEAN
        if shadow.state in (CHECK, NEW):
            self._run(shadow)
        return shadow

    def _unchanged(self, live: AnyNode) -> bool:
        """Whether every read that ``live`` recorded gives the same in the fork."""
        if isinstance(live.failure and live.failure.error, TooDeep):
            return False
        since = live.verified_at
        self._calls.verifying += 1
        try:
            return not self._calls.too_deep() and all(
                dep.changed_at <= since
                and (dep not in self._leaves if isinstance(dep, Leaf) else self._agrees(dep))
                for dep in live.deps
            )
        finally:
            self._calls.verifying -= 1

    def _agrees(self, dep: AnyNode) -> bool:
        """Whether a live node's last outcome is that of the fork."""
        node = self._resolved(dep.query, dep.args)
        return node is dep or (node.state == CLEAN and same(dep, node.value, node.failure))

    def _run(self, shadow: AnyNode) -> None:
        shadow.state = RUNNING
        try:
            shadow.value, shadow.failure = self._calls.call(shadow, _Reader(self))
        except BaseException:
            shadow.state = NEW
            raise
        shadow.state = CLEAN
        self.runs += 1


class _Reader(Reader):
    """Reads the fork; an overlay records no reads."""

    __slots__ = ("_overlay",)

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay

    def get(self, table: Table[K, R], key: K) -> R | None:
        return self._overlay.fork.get(table, key)

    def find(self, index: Index[B, R], bucket: B) -> tuple[R, ...]:
        return self._overlay.fork.find(index, bucket)

    def pull(self, query: AnyQuery, args: tuple[Hashable, ...]) -> Any:
        return self._overlay.pull(query, args)
