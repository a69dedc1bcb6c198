"""Whether something keeps the event loop from its streams.

*Lag*: how late a timer runs, whatever the reason; a busy machine shows here too. *Work*: processor
time that the loop's thread spends between two looks at its sockets, which is our own doing alone.
Above `LIMIT` it is counted and, once in a while, logged with the query that took longest in it.
"""

import asyncio
import logging
import selectors
from collections.abc import Callable
from time import monotonic, thread_time
from typing import Any, Final

from controlplane.telemetry import metrics as declared
from controlplane.telemetry.metrics import Metrics

INTERVAL: Final = 0.25
"""Seconds between measurements of the lag."""
LIMIT: Final = 0.02
"""Seconds of work after which streams have waited too long."""
REPORTED: Final = 0.001
"""Seconds of work in one turn that are worth a look."""
READ: Final = 0.005
"""Seconds between two looks at the processor time spent, which takes the kernel's help."""
QUIET: Final = 10.0
"""Seconds between two warnings."""

Culprit = Callable[[], tuple[str, float] | None]
"""The query that took longest since the last call, and its seconds."""

_log = logging.getLogger(__name__)


class WatchedSelector(selectors.DefaultSelector):
    """The system's selector; tells ``worked`` how much processor time passed between two calls of
    `select`, at the most. A loop calls it once in each turn, twice for each push, so only a turn
    that took long by the clock is looked at closely."""

    def __init__(self) -> None:
        super().__init__()
        self.worked: Callable[[float], None] | None = None
        self._since = self._read = self._spent = 0.0

    def select(self, timeout: float | None = None) -> Any:
        worked = self.worked
        if worked is None:
            return super().select(timeout)
        took = monotonic() - self._since
        if took > REPORTED and self._since:
            worked(took if took <= LIMIT else min(took, thread_time() - self._spent))
        found = super().select(timeout)
        self._since = since = monotonic()
        if since - self._read > READ:
            self._read = since
            self._spent = thread_time()
        return found


class WatchedLoop(asyncio.SelectorEventLoop):
    """An event loop whose work can be watched."""

    def __init__(self) -> None:
        self.selector = WatchedSelector()
        super().__init__(self.selector)


class LoopLag:
    """Measures while it runs; the gauges hold the longest since the last scrape. Work counts from
    ``serving`` on: nobody waits while the sources are read."""

    name = "loop lag"

    def __init__(
        self,
        metrics: Metrics,
        culprit: Culprit | None = None,
        serving: asyncio.Event | None = None,
    ) -> None:
        self._lag = self._work = 0.0
        self._blocked = self._untold = 0
        self._worst = 0.0
        self._quiet_until = 0.0
        self._culprit = culprit
        self._serving = serving
        metrics.gauge(declared.LOOP_LAG, self._take_lag)
        metrics.gauge(declared.LOOP_WORK, self._take_work)
        metrics.count(declared.LOOP_BLOCKED, lambda: self._blocked)

    def _take_lag(self) -> float:
        longest, self._lag = self._lag, 0.0
        return longest

    def _take_work(self) -> float:
        longest, self._work = self._work, 0.0
        return longest

    def worked(self, seconds: float) -> None:
        """One turn of the loop took so much processor time."""
        if seconds > self._work:
            self._work = seconds
        if seconds > LIMIT:
            self._blocked += 1
            self._tell(seconds)

    def _tell(self, seconds: float) -> None:
        found = self._culprit() if self._culprit is not None else None
        self._untold += 1
        self._worst = max(self._worst, seconds)
        now = asyncio.get_running_loop().time()
        if now < self._quiet_until:
            return
        query, took = found or ("", 0.0)
        _log.warning(
            "the event loop was kept from its streams",
            extra={
                "milliseconds": round(self._worst * 1e3),
                "times": self._untold,
                "query": query,
                "query_milliseconds": round(took * 1e3),
            },
        )
        self._untold, self._worst, self._quiet_until = 0, 0.0, now + QUIET

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._serving is not None:
                await self._serving.wait()
            if isinstance(loop, WatchedLoop):
                loop.selector.worked = self.worked
            while True:
                due = loop.time() + INTERVAL
                await asyncio.sleep(INTERVAL)
                self._lag = max(self._lag, loop.time() - due)
        finally:
            if isinstance(loop, WatchedLoop):
                loop.selector.worked = None
