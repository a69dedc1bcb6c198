"""Gathers what the load clients report, and answers how it went between two moments."""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from examples.bookstore.demo.statistics import Slow, per_second, slow_seconds
from examples.bookstore.load.report import DEADLINE, Batch, Call, Failure

Versions = Counter[str]


@dataclass(slots=True)
class Client:
    """All calls of one load client. Times are CLOCK_MONOTONIC."""

    name: str
    calls: deque[Call] = field(default_factory=deque)
    failures: list[Failure] = field(default_factory=list)
    opened: int = 0
    total: int = 0
    """Good calls, those included that `Meter.forget` dropped."""

    def take(self, batch: Batch) -> None:
        self.calls.extend(batch.calls)
        self.failures.extend(batch.failures)
        self.total += len(batch.calls)
        self.opened = batch.opened

    def since(self, moment: float) -> Iterator[Call]:
        """Good calls started at ``moment`` or later, newest first.

        They stand in the order in which they ended, so the search goes back one deadline further.
        """
        for call in reversed(self.calls):
            if call.start < moment - DEADLINE:
                return
            if call.start >= moment:
                yield call

    def rate(self, now: float, window: float = 2.0) -> float:
        """Good calls per second over the last ``window`` seconds."""
        return sum(1 for _ in self.since(now - window)) / window

    def slow(self, since: float, until: float) -> tuple[float, list[Slow]]:
        """The median rate, and the seconds with less than half of it."""
        ends = (call.start + call.seconds for call in self.calls)
        return slow_seconds(per_second(ends, since, until))


@dataclass(slots=True)
class Meter:
    clients: dict[str, Client] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)
    """SPIFFE id that each service saw of its caller last."""

    def take(self, batch: Batch) -> None:
        self.clients.setdefault(batch.client, Client(batch.client)).take(batch)
        self.seen |= batch.seen

    def versions(self, names: tuple[str, ...], since: float) -> Versions:
        """Versions that answered the requests of these clients started at ``since`` or later."""
        return Counter(
            call.version
            for name in names
            if name in self.clients
            for call in self.clients[name].since(since)
        )

    @property
    def failures(self) -> list[tuple[str, Failure]]:
        """(client, failure) in the order of time."""
        found = [(c.name, failure) for c in self.clients.values() for failure in c.failures]
        return sorted(found, key=lambda pair: pair[1].start)

    @property
    def total(self) -> int:
        return sum(client.total for client in self.clients.values())

    def latencies(self, name: str, version: str) -> list[float]:
        """Seconds of the good calls of a client that one version (or path) answered."""
        client = self.clients.get(name)
        return [call.seconds for call in client.calls if call.version == version] if client else []

    def forget(self, before: float) -> None:
        """Drop good calls started before a moment, so that a demo that stays up stays small."""
        for client in self.clients.values():
            while client.calls and client.calls[0].start < before:
                client.calls.popleft()
