"""Gathers changes until they are worth evaluating. Pure: time is an argument.

Two lanes. *Endpoints* (EndpointSlice and Pod) leave after a short quiet time, because a drained or
dead endpoint costs requests. *Routing* (all the rest) leaves after 100 ms of quiet and at the
latest after a second, so that one deployment is one push. A transaction with anything of routing in
it goes into the routing lane whole. Pods travel with the endpoints: a slice must never be seen
before the pod that says whether its address speaks mTLS.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from controlplane.world.schema import ENDPOINT_SLICES, PODS
from controlplane.world.transaction import Edit

ENDPOINT_KINDS = frozenset({ENDPOINT_SLICES.name, PODS.name})


@dataclass(frozen=True, slots=True)
class DebounceSettings:
    """Times in seconds."""

    endpoint_quiet: float = 0.01
    routing_quiet: float = 0.1
    ceiling: float = 1.0


@dataclass(slots=True)
class _Lane:
    quiet: float
    changes: list[Edit] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0

    def due(self, ceiling: float) -> float | None:
        if not self.changes:
            return None
        return min(self.last + self.quiet, self.first + ceiling)


class Debouncer:
    """Owned by the pipeline; `now` is monotonic seconds."""

    def __init__(self, settings: DebounceSettings) -> None:
        self._ceiling = settings.ceiling
        self._endpoints = _Lane(settings.endpoint_quiet)
        self._routing = _Lane(settings.routing_quiet)

    def add(self, changes: Sequence[Edit], now: float) -> None:
        """Take a transaction."""
        if not changes:
            return
        fast = all(change.table.name in ENDPOINT_KINDS for change in changes)
        lane = self._endpoints if fast else self._routing
        if not lane.changes:
            lane.first = now
        lane.last = now
        lane.changes.extend(changes)

    def due(self) -> float | None:
        """When something leaves next; ``None`` when nothing waits."""
        times = [
            at
            for lane in (self._endpoints, self._routing)
            if (at := lane.due(self._ceiling)) is not None
        ]
        return min(times, default=None)

    def take(self, now: float) -> list[Edit]:
        """What has become due, as one transaction."""
        taken: list[Edit] = []
        for lane in (self._endpoints, self._routing):
            at = lane.due(self._ceiling)
            if at is not None and at <= now:
                taken.extend(lane.changes)
                lane.changes.clear()
        return taken

    def take_endpoints(self, now: float) -> list[Edit]:
        """What has become due in the endpoint lane alone: a pass that runs takes it in."""
        at = self._endpoints.due(self._ceiling)
        if at is None or at > now:
            return []
        taken, self._endpoints.changes = self._endpoints.changes, []
        return taken

    def flush(self) -> list[Edit]:
        """Everything, due or not (first load, shutdown)."""
        taken = self._endpoints.changes + self._routing.changes
        self._endpoints.changes, self._routing.changes = [], []
        return taken
