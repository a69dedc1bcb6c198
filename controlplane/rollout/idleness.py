"""Which destinations a sidecar no longer uses, from what it reports of its clusters. Pure.

HTTP is idle while ``upstream_rq_total`` stays and ``upstream_rq_active`` is 0; TCP while no
connection is open and ``upstream_cx_total`` stays, so a connection that lives for days is use.
Envoy reports every statistic that was ever used, changed or not, and no others: silence about a
cluster means that it was not used, silence of the sidecar means that nothing is known.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from xds.names import PASSTHROUGH, SEPARATOR
from xds.wire.metrics import Report

CLUSTERS = 20_000
"""Most clusters of one sidecar that are remembered."""


@dataclass(frozen=True, slots=True)
class Policy:
    """``idle``: seconds without use after which a destination goes. ``floor``: so many stay,
    however long they are idle. ``ceiling``: above it the least recently used go, idle or not."""

    idle: float
    floor: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A destination. ``used``: when it was last in use, or promoted. ``free``: it may go now."""

    name: str
    used: float
    free: bool


class Usage:
    """What one sidecar has reported. Times are those given with the reports."""

    def __init__(self) -> None:
        self.reported: float | None = None
        """When the last message came; ``None``: the sidecar has not reported."""
        self.memory: int | None = None
        """Bytes that Envoy has allocated."""
        self._counts: dict[tuple[str, bool], float] = {}
        self._used: dict[str, float] = {}
        self._open: dict[str, int] = {}

    def report(self, report: Report, now: float) -> None:
        """Take one message of a report."""
        self.reported = now
        if report.memory is not None:
            self.memory = report.memory
        for cluster, count in report.requests.items():
            self._counted((cluster, False), count, now)
        for cluster, count in report.connections.items():
            if is_tcp(cluster):
                self._counted((cluster, True), count, now)
        for cluster, count in report.active_requests.items():
            if not is_tcp(cluster):
                self._active(cluster, count, now)
        for cluster, count in report.active_connections.items():
            if is_tcp(cluster):
                self._active(cluster, count, now)

    def used(self, cluster: str) -> float | None:
        """When a cluster was last seen in use; ``None``: never."""
        return self._used.get(cluster)

    def active(self, cluster: str) -> int:
        """Open requests, or connections of a TCP cluster, at the last report."""
        return self._open.get(cluster, 0)

    def keep(self, clusters: Container[str]) -> None:
        """Forget all other clusters: those that come again begin anew."""
        for cluster in [each for each in self._used if each not in clusters]:
            del self._used[cluster]
            self._open.pop(cluster, None)
            self._counts.pop((cluster, False), None)
            self._counts.pop((cluster, True), None)

    def _counted(self, key: tuple[str, bool], count: float, now: float) -> None:
        # A lower count is use too: the cluster or the sidecar is a new one.
        if self._counts.get(key) != count and self._room(key[0]):
            self._counts[key] = count
            self._used[key[0]] = now

    def _active(self, cluster: str, count: float, now: float) -> None:
        if count and self._room(cluster):
            self._open[cluster] = int(count)
            self._used[cluster] = now
        else:
            self._open.pop(cluster, None)

    def _room(self, cluster: str) -> bool:
        return cluster in self._used or len(self._used) < CLUSTERS


def is_tcp(cluster: str) -> bool:
    """Whether use of a cluster is its connections, not its requests."""
    kind, _, rest = cluster.partition(SEPARATOR)
    return kind in ("t", PASSTHROUGH) or (kind == "o" and rest.endswith(f"{SEPARATOR}t"))


def choose(
    candidates: Iterable[Candidate], policy: Policy, reported: float | None
) -> tuple[str, ...]:
    """Destinations to evict, the least recently used first.

    ``reported``: when the sidecar last reported. Idleness is counted up to then, not to now: what
    happened since is not known.
    """
    if reported is None:
        return ()
    oldest = sorted(candidates, key=lambda each: (each.used, each.name))
    left = len(oldest)
    chosen = []
    for each in oldest:
        if left <= policy.floor:
            break
        idle = reported - each.used >= policy.idle
        if each.free and (idle or left > policy.ceiling):
            chosen.append(each.name)
            left -= 1
    return tuple(chosen)
