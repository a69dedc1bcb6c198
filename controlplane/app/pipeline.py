"""Source to streams: gather changes, apply, evaluate in slices, publish.

One task owns the world and the graph. A pass is cut into slices of 2 ms so that the event loop
serves streams meanwhile; what it changed is published when nothing is pending, so no stream sees
half of it. Endpoint changes that arrive during a long pass join it, and their load assignments
leave at once where the cluster itself does not change.
"""

import asyncio
import logging
from collections.abc import Callable, Container

from controlplane.api.problem import Problem
from controlplane.app.collector import Collector
from controlplane.app.debounce import Debouncer, DebounceSettings
from controlplane.graph import AnyNode, Change, Graph
from controlplane.rollout.edge import Edge
from controlplane.rollout.signal import Signal
from controlplane.telemetry.traces import Traces
from controlplane.translate.resources import assignment, service_cluster
from controlplane.world.transaction import Edit, Transaction

SLICE = 0.002
"""Seconds of evaluation between two turns of the event loop."""
KEEP_REVISIONS = 100
TICK = 0.25
"""Seconds between looks at deadlines: buckets, leaves, missing pods."""
COMPACT = 5.0
SWEEP = 60.0

_log = logging.getLogger(__name__)


class Pipeline:
    """A part of the supervisor, and the sink of sources."""

    name = "pipeline"

    def __init__(
        self,
        graph: Graph,
        edge: Edge,
        signal: Signal,
        traces: Traces,
        settings: DebounceSettings,
        monotonic: Callable[[], float],
        changed: Callable[[], None],
        evaluated: Callable[[float], None],
    ) -> None:
        """``changed`` is called after every transaction (settings may have changed), ``evaluated``
        with the seconds that a pass took to its last value."""
        self._graph = graph
        self._edge = edge
        self._signal = signal
        self._traces = traces
        self._debouncer = Debouncer(settings)
        self._monotonic = monotonic
        self._changed = changed
        self._evaluated = evaluated
        self._wake = asyncio.Event()
        self._collector = Collector()
        self._loaded = False
        self._hurried = False
        self._passing = False
        self.problems: tuple[Problem, ...] = ()
        """What sources say of their documents."""

    @property
    def idle(self) -> bool:
        """Everything that sources delivered is applied, evaluated and published."""
        return not self._passing and self._debouncer.due() is None and not self._graph.pending

    def apply(self, transaction: Transaction, problems: tuple[Problem, ...]) -> None:
        """`Sink.apply`. Before `loaded`, the world is filled at once; nothing is served yet."""
        for problem in problems:
            if problem not in self.problems:
                _log.warning("problem", extra={"problem": str(problem)})
        self.problems = problems
        if self._loaded:
            self._debouncer.add(transaction, self._monotonic())
            self._wake.set()
        else:
            self._graph.apply(transaction)
        self._signal.bump()

    def hurry(self) -> None:
        """Take what is gathered at once: somebody asked for it and waits."""
        self._hurried = True
        self._wake.set()

    def loaded(self) -> None:
        """Every source is synced. What was loaded stays: keep the collector off it."""
        self._loaded = True
        self._changed()
        self._collector.settle()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_time(), name="deadlines")
            while True:
                await self._next()
                if self._hurried:
                    self._hurried = False
                    taken = self._debouncer.flush()
                else:
                    taken = self._debouncer.take(self._monotonic())
                if taken:
                    self._passing = True
                    try:
                        await self._pass(taken)
                    finally:
                        self._passing = False
                        self._signal.bump()

    async def _next(self) -> None:
        """Return when something is due."""
        while True:
            due = self._debouncer.due()
            wait = None if due is None else due - self._monotonic()
            if self._hurried or (wait is not None and wait <= 0):
                return
            try:
                async with asyncio.timeout(wait):
                    await self._wake.wait()
            except TimeoutError:
                return
            self._wake.clear()

    async def _pass(self, edits: list[Edit]) -> None:
        graph = self._graph
        started = self._monotonic()
        graph.apply(edits)
        self._changed()
        trace = self._traces.transaction(graph.revision, edits=len(edits))
        try:
            with trace.step("evaluate", pending=graph.pending):
                changes = await self._evaluate()
            self._evaluated(self._monotonic() - started)
            with trace.step("push", changes=len(changes)):
                await self._publish(changes)
        finally:
            trace.end()
        graph.collect(KEEP_REVISIONS)

    async def _evaluate(self) -> list[Change]:
        graph = self._graph
        held: list[Change] = []
        while graph.pending:
            found = graph.settle(SLICE, self._monotonic)
            if not graph.pending:
                held += found
                break
            waiting = {change.node for change in (*held, *found)}
            early = [change for change in found if self._may_leave(change, waiting)]
            left = {change.node for change in early}
            held += [change for change in found if change.node not in left]
            if early:
                await self._publish(early)
            await asyncio.sleep(0)
            late = self._debouncer.take_endpoints(self._monotonic())
            if late:
                graph.apply(late)
        return held

    async def _publish(self, changes: list[Change]) -> None:
        for _ in self._edge.publishing(changes):
            await asyncio.sleep(0)

    def _may_leave(self, change: Change, waiting: Container[AnyNode]) -> bool:
        """A load assignment may leave before the pass ends unless its cluster is about to change,
        or has changed and is ``waiting`` for that end: it may be the one that accepts the identity
        of a new endpoint."""
        node = change.node
        if node.query is not assignment:
            return False
        ref, scope = node.args[0], node.args[1]
        clusters = (
            self._graph.node(service_cluster, ref, kind, scope)  # type: ignore[arg-type]
            for kind in ("h", "m", "t")
        )
        return not any(
            each is not None and (each in waiting or self._graph.is_pending(each))
            for each in clusters
        )

    async def _keep_time(self) -> None:
        """Deadlines of streams and leaves; learnt sets to disk; memory given back."""
        compact = sweep = self._monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = self._monotonic()
            for _ in self._edge.ticks(now):
                await asyncio.sleep(0)
            self._collector.tick()
            if now - compact >= COMPACT:
                compact = now
                await self._edge.compact()
            if now - sweep >= SWEEP:
                sweep = now
                self._edge.sweep()
