"""The demo's arithmetic against published and independently computed values."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.bookstore.demo.statistics import (
    Slow,
    binomial_interval,
    per_second,
    quantile,
    slow_seconds,
)


@pytest.mark.parametrize(
    ("successes", "trials", "confidence", "low", "high"),
    [
        # Closed forms at the ends: 1 - tail^(1/n).
        (0, 10, 0.95, 0.0, 1 - 0.025 ** (1 / 10)),
        (10, 10, 0.95, 0.025 ** (1 / 10), 1.0),
        (0, 2000, 0.99, 0.0, 1 - 0.005 ** (1 / 2000)),
        # One of two: the tails are p² and 1-(1-p)², solved by hand.
        (1, 2, 0.95, 1 - math.sqrt(0.975), math.sqrt(0.975)),
        # R: binom.test(4, 20)$conf.int
        (4, 20, 0.95, 0.057334, 0.436614),
    ],
)
def test_interval_of_known_cases(
    successes: int, trials: int, confidence: float, low: float, high: float
) -> None:
    interval = binomial_interval(successes, trials, confidence)
    assert interval.low == pytest.approx(low, abs=1e-6)
    assert interval.high == pytest.approx(high, abs=1e-6)


@given(st.integers(1, 400), st.data(), st.sampled_from([0.9, 0.99, 0.9999]))
def test_each_end_leaves_out_half_of_the_rest(
    trials: int, data: st.DataObject, confidence: float
) -> None:
    """The definition itself, with the tails summed exactly from binomial coefficients."""
    successes = data.draw(st.integers(0, trials))
    low, high = binomial_interval(successes, trials, confidence)

    def upper(k: int, share: float) -> float:
        terms = (
            math.comb(trials, i) * share**i * (1 - share) ** (trials - i)
            for i in range(k, trials + 1)
        )
        return math.fsum(terms)

    tail = (1 - confidence) / 2
    if successes > 0:
        assert upper(successes, low) == pytest.approx(tail, rel=1e-6)
    if successes < trials:
        assert 1 - upper(successes + 1, high) == pytest.approx(tail, rel=1e-5)
    assert low <= successes / trials <= high


def test_a_wider_confidence_holds_the_narrower_one() -> None:
    narrow, wide = binomial_interval(1600, 2000, 0.99), binomial_interval(1600, 2000, 0.9999)
    assert wide.low < narrow.low < 0.8 < narrow.high < wide.high
    assert narrow.holds(0.8)
    assert not narrow.holds(0.75)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="no share"):
        binomial_interval(successes, trials, 0.99)


def test_quantile_is_the_nearest_rank() -> None:
    values = list(range(1, 101))
    random.Random(1).shuffle(values)
    assert quantile(values, 0.5) == 50
    assert quantile(values, 0.99) == 99
    assert quantile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_only_whole_seconds_are_counted() -> None:
    ends = [9.9, 10.0, 10.9, 11.5, 12.2, 12.9, 13.1]
    assert per_second(ends, 10.0, 13.4) == [2, 1, 2]
    assert per_second(ends, 10.0, 10.5) == []


def test_a_second_under_half_the_median_is_slow() -> None:
    assert slow_seconds([100, 99, 49, 101, 100]) == (100, [Slow(2, 49)])
    assert slow_seconds([100, 50, 100]) == (100, [])
    assert slow_seconds([]) == (0.0, [])


def test_a_stall_of_a_second_is_slow() -> None:
    ends = [second + i / 10 for second in (0, 1, 3, 4) for i in range(10)]
    _, slow = slow_seconds(per_second(ends, 0.0, 5.0))
    assert slow == [Slow(2, 0)]
