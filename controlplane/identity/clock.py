"""Time as a parameter: what reads a clock takes a `Clock`, so that a test can move it.

Two clocks that may disagree. `now` is the time of day, which certificates and tokens are written
in and which an operator or NTP may set; `monotonic` only ever goes forward and decides when
something is due.
"""

import time
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol


class Clock(Protocol):
    """Where now comes from."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never set back, never jumps with the time of day."""


_ELAPSED: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """`Clock` of the operating system. Time that the machine spent suspended counts: certificates
    and tokens run out meanwhile, so their renewal must be due when it wakes."""

    def __init__(self) -> None:
        # Read several times for each response that leaves: no Python between.
        self.monotonic = partial(time.clock_gettime, _ELAPSED)

    def now(self) -> datetime:
        return datetime.now(UTC)
