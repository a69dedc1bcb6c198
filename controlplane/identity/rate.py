"""How many events fell into the last minute, for an alarm: bounded memory, time as an argument."""

from typing import Final

WINDOW: Final = 60
"""Seconds."""


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
