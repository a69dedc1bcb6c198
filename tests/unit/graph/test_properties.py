"""Any history leaves the graph equal to an evaluation without any cache."""

from typing import Any

from hypothesis import given, seed, settings

from tests.unit.graph.history import History
from tests.unit.graph.strategies import actions


def play(history: list[tuple[str, Any]]) -> None:
    played = History()
    for kind, argument in history:
        played.play(kind, argument)
    played.settle(None)
    played.check_replay()
    played.check_nothing_left()


@seed(3)
@settings(max_examples=300, deadline=None, database=None)
@given(actions(cycles=False))
def test_histories_without_cycles(history: list[tuple[str, Any]]) -> None:
    play(history)


@seed(4)
@settings(max_examples=500, deadline=None, database=None)
@given(actions(cycles=True))
def test_histories_with_cycles(history: list[tuple[str, Any]]) -> None:
    play(history)
