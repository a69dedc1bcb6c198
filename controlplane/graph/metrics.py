"""What the engine counts: enough to see memoisation die, or a query grow too long to slice."""

from dataclasses import dataclass

from controlplane.graph.query import AnyQuery


class Counters:
    """Mutable counts of one engine, since it was made."""

    __slots__ = ("cutoffs", "longest", "runs", "slowest", "slowest_seconds", "verified")

    def __init__(self) -> None:
        self.runs = 0
        self.verified = 0
        self.cutoffs = 0
        self.longest: dict[AnyQuery, float] = {}
        self.slowest: AnyQuery | None = None
        self.slowest_seconds = 0.0

    def took(self, query: AnyQuery, seconds: float) -> None:
        """Note the duration of one run, without the queries that ran inside."""
        if seconds > self.longest.get(query, 0.0):
            self.longest[query] = seconds
        if seconds > self.slowest_seconds:
            self.slowest, self.slowest_seconds = query, seconds

    def take_slowest(self) -> tuple[AnyQuery, float] | None:
        """The longest run since the last call, and its seconds."""
        if self.slowest is None:
            return None
        found = (self.slowest, self.slowest_seconds)
        self.slowest, self.slowest_seconds = None, 0.0
        return found


@dataclass(frozen=True, slots=True)
class Metrics:
    """A snapshot. Counters (runs, verified, cutoffs) grow, the rest are gauges."""

    runs: int
    """Queries run."""
    verified: int
    """Marked nodes found clean without running."""
    cutoffs: int
    """Runs that gave the value there was: nothing above them ran for it."""
    revision: int
    nodes: int
    leaves: int
    """Cells of the world that some node has read."""
    roots: int
    """Subscribed nodes."""
    pending: int
    """Roots marked and not yet settled."""
    idle: int
    """Nodes without reader and subscriber, kept for a while."""
    cyclic: int
    """Members of cycles; those that nothing subscribes to are never freed."""
    failed: int
    """Roots without a value."""
    log: int
    """Transactions that can be replayed."""
    longest: dict[str, float]
    """Seconds of the longest single run by query, inner queries excluded; empty without a clock."""
    by_query: dict[str, int]
    """Nodes by query."""


def query_name(query: AnyQuery) -> str:
    """``module.function``, the label of a query in metrics."""
    return f"{query.__module__.removeprefix('controlplane.')}.{query.__name__}"
