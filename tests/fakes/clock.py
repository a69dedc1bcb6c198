"""A clock that a test moves: the two times apart, as an operator, NTP or a suspend moves them."""

from datetime import UTC, datetime, timedelta


class ManualClock:
    """`controlplane.identity.clock.Clock` at a fixed moment until it is moved."""

    def __init__(self, now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def pass_time(self, span: timedelta) -> None:
        """Time goes by, for both."""
        self._now += span
        self._monotonic += span.total_seconds()

    def set_by(self, span: timedelta) -> None:
        """Someone sets the time of day; no time goes by."""
        self._now += span
