"""Metrics of the query engine, and the alarm on a stale value.

One remembered value a second is evaluated afresh from the world alone and compared: a difference
is a query that read something unrecorded, which nothing else would ever show.
"""

import asyncio
import logging
import random

from controlplane.graph import Graph
from controlplane.graph.metrics import query_name
from controlplane.telemetry import metrics as declared
from controlplane.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)


def expose(metrics: Metrics, graph: Graph) -> None:
    """Read the engine's own counters at each scrape."""
    read = graph.metrics
    metrics.count(declared.ENGINE_RUNS, lambda: read().runs)
    metrics.count(declared.ENGINE_VERIFICATIONS, lambda: read().verified)
    metrics.count(declared.ENGINE_CUTOFFS, lambda: read().cutoffs)
    metrics.gauge(declared.WORLD_REVISION, lambda: read().revision)
    metrics.gauge(declared.ENGINE_PENDING, lambda: read().pending)
    metrics.gauge(declared.ENGINE_IDLE, lambda: read().idle)
    metrics.gauge(declared.ENGINE_FAILED, lambda: read().failed)
    metrics.gauge(declared.ENGINE_NODES, lambda: read().by_query, "query")
    metrics.gauge(declared.ENGINE_LONGEST, lambda: read().longest, "query")


def slowest(graph: Graph) -> tuple[str, float] | None:
    """Name of the query whose run took longest since the last call, and its seconds."""
    found = graph.engine.counters.take_slowest()
    return None if found is None else (query_name(found[0]), found[1])


class Recheck:
    """Rechecks one value every ``interval`` seconds while it runs."""

    name = "recheck"

    def __init__(self, metrics: Metrics, graph: Graph, interval: float) -> None:
        self._graph = graph
        self._interval = interval
        self.checked = 0
        self.stale = 0
        metrics.count(declared.ENGINE_RECHECKS, lambda: self.checked)
        metrics.count(declared.ENGINE_STALE, lambda: self.stale)

    def check(self) -> None:
        """Recheck one value now; nothing happens while there is none."""
        result = self._graph.recheck(random.randrange)
        if result is None:
            return
        node, equal = result
        self.checked += 1
        if not equal:
            self.stale += 1
            _log.error(
                "a remembered value differs from a fresh one; this is a bug, please report it",
                extra={"query": query_name(node.query), "arguments": repr(node.args)},
            )

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            self.check()
