"""How many events fell into the last minute, for an alarm: bounded memory, time as an argument."""

from datetime import timedelta
from typing import Final

WINDOW: Final = 60
"""Seconds."""
FLOOR: Final = 60
"""Issues a minute that never are an alarm: a small mesh may restart as often as it likes."""
EACH: Final = 2
"""Issues a minute and sidecar beside renewals: all of them may start anew in the same minute, and
be rotated by hand."""
EARLIEST: Final = 0.4
"""The part of a leaf's lifetime after which it is renewed at the earliest: half, less jitter."""


def usual(connected: int, lifetime: timedelta) -> int:
    """The most issues a minute that ``connected`` sidecars explain; more is an alarm."""
    renewals = WINDOW / (EARLIEST * lifetime.total_seconds())
    return FLOOR + round(connected * (EACH + renewals))


class Rate:
    """Counts by whole seconds of the monotonic clock; at most `WINDOW` + 1 buckets."""

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}

    def count(self, monotonic: float) -> None:
        """One event at `monotonic`."""
        second = int(monotonic)
        self._buckets[second] = self._buckets.get(second, 0) + 1
        if len(self._buckets) > WINDOW:
            self._prune(monotonic)

    def per_minute(self, monotonic: float) -> int:
        """Events in the minute up to `monotonic`."""
        self._prune(monotonic)
        return sum(self._buckets.values())

    def _prune(self, monotonic: float) -> None:
        oldest = int(monotonic) - WINDOW
        for second in [second for second in self._buckets if second <= oldest]:
            del self._buckets[second]
