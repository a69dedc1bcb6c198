"""Exactly the nodes run that must: memoisation cannot die unseen."""

from contextlib import suppress
from typing import Any

from hypothesis import given, seed, settings

from controlplane.graph import Failed, Graph
from tests.unit.graph.chance import history
from tests.unit.graph.model import Model
from tests.unit.graph.strategies import actions
from tests.unit.graph.toy import RUNS, node


class Counted:
    """A graph beside its model."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.model = Model(self.graph.world)

    def play(self, kind: str, argument: Any) -> None:
        RUNS.clear()
        self.model.runs.clear()
        getattr(self, kind)(argument)
        assert len(RUNS) == len(set(RUNS)), "no node runs twice"
        assert set(RUNS) == self.model.runs
        assert set(self.graph.engine.memo.get(node, {})) >= {(key,) for key in self.model.memo}

    def apply(self, edits: Any) -> None:
        self.graph.apply(edits)
        self.model.applied()

    plan = apply

    def change(self, edits: Any) -> None:
        self.apply(edits)
        self.settle(None)

    def subscribe(self, argument: tuple[str, str]) -> None:
        self.graph.subscribe(argument[0], node, argument[1])

    def unsubscribe(self, argument: tuple[str, str]) -> None:
        held = self.graph.node(node, argument[1])
        if held is not None and argument[0] in self.graph.streams(held):
            self.graph.unsubscribe(argument[0], held)

    def settle(self, max_nodes: int | None) -> None:
        before = list(self.graph.engine.pending)
        self.graph.settle(max_nodes=max_nodes)
        self._pulled(set(before) - set(self.graph.engine.pending))
        if max_nodes is None:
            # Brute force: every root is pulled, not only those that the marks made pending.
            self._pulled(set(self.graph.roots))

    def only(self, key: str) -> None:
        chosen = self.graph.node(node, key)
        if chosen is not None:
            before = set(self.graph.engine.pending)
            self.graph.settle(only=[chosen, chosen])
            self._pulled(before - set(self.graph.engine.pending))

    def read(self, key: str) -> None:
        with suppress(Failed):
            self.graph.read(node, key)
        self.model.pull(key)

    def collect(self, keep: int) -> None:
        self.graph.collect(keep)
        if keep == 0:
            self.model.collect({root.args[0] for root in self.graph.roots})
            held = set(self.graph.engine.memo.get(node, {}))
            never_run = {root.args for root in self.graph.roots}
            assert held == {(key,) for key in self.model.memo} | never_run
        else:
            # Which idle nodes were young enough to stay is not the model's matter.
            held = self.graph.engine.memo.get(node, {})
            self.model.memo = {k: m for k, m in self.model.memo.items() if (k,) in held}

    def _pulled(self, roots: set[Any]) -> None:
        for root in roots:
            self.model.pull(root.args[0])


@seed(5)
@settings(max_examples=100, deadline=None, database=None)
@given(actions(cycles=False))
def test_the_runs_are_those_of_the_model(steps: list[tuple[str, Any]]) -> None:
    count(steps)


def test_the_runs_of_histories_by_chance_are_those_of_the_model() -> None:
    for number in range(500):
        count(history(number, cycles=False))


def count(steps: list[tuple[str, Any]]) -> None:
    counted = Counted()
    for kind, argument in steps:
        counted.play(kind, argument)
    counted.play("settle", None)
