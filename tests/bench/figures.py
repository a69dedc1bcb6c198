"""One measured figure, printed as one JSON line."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """``ratio`` is ``value / baseline`` of one run. ``met`` is ``None`` where there is no goal."""

    bench: str
    metric: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str | None = None
    met: bool | None = None

    def line(self) -> str:
        """The JSON line; numbers rounded to four significant digits."""
        return json.dumps(
            {
                "bench": self.bench,
                "metric": self.metric,
                "value": _short(self.value),
                "unit": self.unit,
                "baseline": _short(self.baseline),
                "ratio": _short(self.ratio),
                "goal": self.goal,
                "met": self.met,
            }
        )


def compared(
    bench: str,
    metric: str,
    rounds: Iterable[tuple[float, float]],
    unit: str,
    at_most: float | None = None,
) -> Figure:
    """A figure of interleaved rounds of (value, baseline): medians of both, and the median of the
    rounds' own ratios, which a change of the machine's speed between rounds leaves alone."""
    pairs = list(rounds)
    ratio = median(value / baseline for value, baseline in pairs)
    return Figure(
        bench,
        metric,
        median(value for value, _ in pairs),
        unit,
        median(baseline for _, baseline in pairs),
        ratio,
        None if at_most is None else f"ratio <= {at_most}",
        None if at_most is None else ratio <= at_most,
    )


def limited(bench: str, metric: str, value: float, unit: str, at_most: float) -> Figure:
    """A figure with an upper bound of its own."""
    goal = f"<= {at_most:g}" if at_most else "0"
    return Figure(bench, metric, value, unit, goal=goal, met=value <= at_most)


class Blocked(Exception):
    """The reason why a bench could not begin."""


def note(text: str) -> None:
    """Progress for whoever watches; figures alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
