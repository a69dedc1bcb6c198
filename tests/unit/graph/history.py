"""Plays a history on a graph and checks, after each step, what must hold of it."""

from typing import Any

from controlplane.graph import ABSENT, AnyNode, Change, Failed, Graph, Overlay
from controlplane.world.store import World
from controlplane.world.tables import Index
from controlplane.world.transaction import Put, Transaction
from tests.unit.graph.strategies import DATA_KEYS, NODES
from tests.unit.graph.toy import BY_VALUE, DATA, PROGRAMS, Naive, node


def copy(world: World, keep: Any = None) -> World:
    """A world of the same rows, or of those that ``keep(table, key)`` lets through."""
    fresh = World()
    fresh.apply(
        [
            Put(table, key, row)
            for table in (PROGRAMS, DATA)
            for key, row in world.rows(table).items()
            if keep is None or keep(table, key)
        ]
    )
    return fresh


def from_scratch(world: World, key: str) -> int | None:
    """The outcome of `node` with an empty memo: a value, or None for a failure."""
    try:
        return Graph(world).read(node, key)
    except Failed:
        return None


class History:
    """A graph with its streams; ``held`` is what each was told, by the rules of `Change` alone."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.held: dict[tuple[str, str], int] = {}
        self.subscribed: dict[tuple[str, str], AnyNode] = {}
        self.worlds: list[World] = [World()]

    # --- what clients do ------------------------------------------------------------------------

    def play(self, kind: str, argument: Any) -> None:
        """One step of `strategies.actions`."""
        getattr(self, kind)(argument)

    def apply(self, edits: Transaction) -> None:
        runs = self.graph.metrics().runs
        self.graph.apply(edits)
        assert self.graph.metrics().runs == runs, "apply computes nothing"
        if self.graph.revision == len(self.worlds):
            self.worlds.append(copy(self.graph.world))

    def change(self, edits: Transaction) -> None:
        self.apply(edits)
        self.settle(None)

    def subscribe(self, argument: tuple[str, str]) -> None:
        stream, key = argument
        if argument in self.subscribed:
            return
        subscribed = self.graph.subscribe(stream, node, key)
        self.subscribed[argument] = subscribed
        if not self.graph.is_pending(subscribed) and subscribed.failure is None:
            self.held[argument] = subscribed.value

    def unsubscribe(self, argument: tuple[str, str]) -> None:
        if (subscribed := self.subscribed.pop(argument, None)) is not None:
            self.graph.unsubscribe(argument[0], subscribed)
            self.held.pop(argument, None)

    def settle(self, max_nodes: int | None) -> list[Change]:
        changes = self.graph.settle(max_nodes=max_nodes)
        self._told(changes)
        if max_nodes is None:
            self.check_settled()
        return changes

    def only(self, key: str) -> None:
        chosen = self.graph.node(node, key)
        if chosen is not None:
            self._told(self.graph.settle(only=[chosen]))
            if chosen in self.graph.roots:
                assert not self.graph.is_pending(chosen)

    def read(self, key: str) -> None:
        try:
            value: int | None = self.graph.read(node, key)
        except Failed:
            value = None
        assert value == from_scratch(self.graph.world, key)

    def collect(self, keep: int) -> None:
        self.graph.collect(keep)

    def _told(self, changes: list[Change]) -> None:
        for change in changes:
            (key,) = change.node.args
            assert change.streams
            for stream in change.streams:
                assert (stream, key) in self.subscribed
                before = self.held.get((stream, key), ABSENT)
                assert before != change.new, "a client sees a difference in every change"
                assert change.old in (before, ABSENT) or before is ABSENT
                self.held[stream, key] = change.new

    # --- what must hold -------------------------------------------------------------------------

    def check_settled(self) -> None:
        """Values are those of an evaluation without any cache; clients hold exactly these."""
        graph = self.graph
        assert graph.pending == 0
        outcomes = {key: from_scratch(graph.world, key) for key in NODES}
        loops: set[str] = set()
        for key, outcome in outcomes.items():
            naive = Naive(graph.world)
            assert outcome == naive.outcome(key)
            loops |= naive.loops
        for (stream, key), subscribed in self.subscribed.items():
            outcome = outcomes[key]
            failure = subscribed.failure
            cyclic = failure is not None and failure.node is subscribed and failure.cyclic
            assert cyclic == (key in loops)
            if outcome is None:
                assert subscribed in graph.failed
                assert subscribed.value is ABSENT
            else:
                assert subscribed not in graph.failed
                assert self.held[stream, key] == outcome == subscribed.value
                if len(self.worlds) % len(NODES) == NODES.index(key):  # it costs the most
                    self._check_provenance(subscribed, outcome)
        assert set(graph.failed) <= set(self.subscribed.values())
        assert set(graph.roots) == set(self.subscribed.values())
        checked = graph.recheck(lambda roots: roots - 1)
        assert checked == ((list(graph.roots)[-1], True) if self.subscribed else None)

    def _check_provenance(self, subscribed: AnyNode, outcome: int) -> None:
        cells = self.graph.provenance(subscribed)
        keys = {(cell.source, cell.key) for cell in cells if not isinstance(cell.source, Index)}
        buckets = {cell.key for cell in cells if isinstance(cell.source, Index)}

        def read(table: Any, key: Any) -> bool:
            row = self.graph.world.get(table, key)
            return (table, key) in keys or (
                table is DATA and any(bucket in buckets for bucket in BY_VALUE.buckets(row))
            )

        assert from_scratch(copy(self.graph.world, read), subscribed.args[0]) == outcome
        for table, key in keys:
            assert subscribed in self.graph.dependants(table, key)

    def plan(self, edits: Transaction) -> None:
        """A plan is what applying does; the live graph does not notice it."""
        graph = self.graph
        before = self._photo()
        overlay = Overlay(graph, edits)
        after = copy(graph.world)
        after.apply(edits)
        for key in NODES[::2]:
            assert _read(overlay, key) == from_scratch(after, key)
        planned = {change.node: (change.old, change.new) for change in overlay.plan()}
        failed = set(overlay.failed)
        assert self._photo() == before
        reported = {root: graph.reported(root) for root in graph.roots}
        self.apply(edits)
        changes = self.settle(None)
        assert planned == {
            change.node: (change.old, change.new)
            for change in changes
            if change.old is not ABSENT or reported[change.node] is ABSENT
        }
        assert failed <= set(graph.failed)

    def _photo(self) -> object:
        graph, engine = self.graph, self.graph.engine
        nodes = [
            (item, item.state, item.value, item.deps, item.changed_at, item.verified_at)
            for nodes in engine.memo.values()
            for item in nodes.values()
        ]
        leaves = [(leaf, leaf.changed_at) for leaf in self._leaves()]
        return graph.revision, engine.counters.runs, list(engine.pending), nodes, leaves

    def _leaves(self) -> list[Any]:
        held = self.graph.engine.leaves.values()
        return [leaf for leaves in held for leaf in leaves.values()]

    def check_replay(self) -> None:
        """Every past revision can be evaluated again from the log."""
        for revision, world in enumerate(self.worlds):
            overlay = Overlay(self.graph, self.graph.log.rewind(revision))
            for key in NODES[revision % 3 :: 3]:
                assert _read(overlay, key) == from_scratch(world, key)
            for key in DATA_KEYS:
                assert overlay.fork.get(DATA, key) == world.get(DATA, key)

    def check_nothing_left(self) -> None:
        """Without subscribers only cycles, and what they read, stay."""
        for argument in list(self.subscribed):
            self.unsubscribe(argument)
        self.graph.collect(0)
        engine = self.graph.engine
        assert not engine.pending
        assert not engine.idle
        kept = {item for nodes in engine.memo.values() for item in nodes.values()}
        held: set[object] = set()
        stack: list[Any] = list(engine.cyclic)
        while stack:
            item = stack.pop()
            if item not in held:
                held.add(item)
                stack.extend(getattr(item, "deps", ()))
        assert kept | set(self._leaves()) == held


def _read(overlay: Overlay, key: str) -> int | None:
    try:
        return overlay.read(node, key)
    except Failed:
        return None
