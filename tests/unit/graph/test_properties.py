"""Any history leaves the graph equal to an evaluation without any cache."""

from typing import Any

import pytest
from hypothesis import given, seed, settings

from tests.unit.graph.chance import history
from tests.unit.graph.history import History
from tests.unit.graph.strategies import actions


def play(steps: list[tuple[str, Any]]) -> None:
    played = History()
    for kind, argument in steps:
        played.play(kind, argument)
    played.settle(None)
    played.check_replay()
    played.check_nothing_left()


@pytest.mark.parametrize("cycles", [False, True])
def test_histories_by_chance(cycles: bool) -> None:
    for number in range(300):
        try:
            play(history(number, cycles))
        except BaseException as error:
            error.add_note(f"history({number}, {cycles})")
            raise


@seed(3)
@settings(max_examples=100, deadline=None, database=None)
@given(actions(cycles=False))
def test_histories_without_cycles(steps: list[tuple[str, Any]]) -> None:
    play(steps)


@seed(4)
@settings(max_examples=150, deadline=None, database=None)
@given(actions(cycles=True))
def test_histories_with_cycles(steps: list[tuple[str, Any]]) -> None:
    play(steps)
