"""The arithmetic behind the demo's claims: exact binomial intervals, quantiles, steady rates."""

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import NamedTuple


class Interval(NamedTuple):
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def _upper_tail(successes: int, trials: int, share: float) -> float:
    """P(X >= successes) of a binomial, summed from its terms in logarithms.

    Terms fall geometrically beyond the mean, so the sum stops where they no longer count.
    """
    if successes <= 0:
        return 1.0
    if share <= 0.0:
        return 0.0
    if share >= 1.0:
        return 1.0
    log_share, log_rest = math.log(share), math.log1p(-share)
    total = 0.0
    for k in range(successes, trials + 1):
        log_term = (
            math.lgamma(trials + 1)
            - math.lgamma(k + 1)
            - math.lgamma(trials - k + 1)
            + k * log_share
            + (trials - k) * log_rest
        )
        term = math.exp(log_term)
        total += term
        if k > share * trials and term < total * 1e-16:
            break
    return min(total, 1.0)


def _solve(increasing: Callable[[float], float], wanted: float) -> float:
    """The argument in [0, 1] at which an increasing function takes a value, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if increasing(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def binomial_interval(successes: int, trials: int, confidence: float) -> Interval:
    """The exact (Clopper-Pearson) interval of a share, e.g. ``confidence`` 0.99.

    It holds the true share at least that often, for any share and any number of trials > 0.
    Raises ValueError for impossible counts.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} of {trials} is no share")
    tail = (1 - confidence) / 2
    low = high = 0.0
    if successes > 0:
        low = _solve(lambda share: _upper_tail(successes, trials, share), tail)
    if successes == trials:
        high = 1.0
    else:
        failures = trials - successes
        high = 1 - _solve(lambda share: _upper_tail(failures, trials, share), tail)
    return Interval(low, high)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed (nearest rank).

    Raises ValueError when there is none.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def per_second(ends: Iterable[float], since: float, until: float) -> list[int]:
    """How many of ``ends`` fall into each whole second after ``since``; the rest is left out."""
    counts = [0] * max(0, int(until - since))
    for end in ends:
        second = math.floor(end - since)
        if 0 <= second < len(counts):
            counts[second] += 1
    return counts


class Slow(NamedTuple):
    second: int
    """Seconds since the start of the count."""
    calls: int


def slow_seconds(counts: Sequence[int]) -> tuple[float, list[Slow]]:
    """The median rate, and the seconds with less than half of it."""
    if not counts:
        return 0.0, []
    middle = median(counts)
    return middle, [Slow(i, count) for i, count in enumerate(counts) if count < middle / 2]
