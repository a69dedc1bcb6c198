"""How late the event loop runs its timers: the first sign that something blocks it."""

import asyncio

from controlplane.telemetry.metrics import LOOP_LAG, Metrics

INTERVAL = 0.25
"""Seconds between measurements."""


class LoopLag:
    """Measures while it runs; the gauge holds the longest delay since the last scrape."""

    name = "loop lag"

    def __init__(self, metrics: Metrics) -> None:
        self._longest = 0.0
        metrics.gauge(LOOP_LAG, self._take)

    def _take(self) -> float:
        longest, self._longest = self._longest, 0.0
        return longest

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self._longest = max(self._longest, loop.time() - due)
