"""The leaves of all streams: who gets one, who keeps its own, who is due.

The only state of identity beside the authority: one `Slot` per stream, without keys. Not thread
safe: it belongs to the event loop that serves the streams.
"""

import heapq
from collections.abc import Hashable
from datetime import timedelta
from typing import Final

from controlplane.api.problem import Problem
from controlplane.identity import clock_problems, rotate
from controlplane.identity.ca import Authority
from controlplane.identity.clock import Clock
from controlplane.identity.issue import issue
from controlplane.identity.rate import Rate
from controlplane.identity.slots import Keep, Slot, Withheld, parse_version
from xds.ir.secret import LeafSecret, RootsSecret

DEFAULT_LIFETIME: Final = timedelta(hours=1)
MIN_LIFETIME: Final = timedelta(seconds=10)
"""A lifetime below this is raised to it: validity is written in whole seconds."""


class Leaves:
    """Issues, keeps and renews the leaf of every stream."""

    def __init__(
        self, authority: Authority, clock: Clock, lifetime: timedelta = DEFAULT_LIFETIME
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._lifetime = max(lifetime, MIN_LIFETIME)
        self._slots: dict[Hashable, Slot] = {}
        self._withheld: dict[Hashable, tuple[str, Problem]] = {}
        self._live: dict[Hashable, int] = {}
        self._heap: list[tuple[float, int, Hashable]] = []
        self._entries = 0
        self.issued: int = 0
        """Leaves issued since the start: a counter."""
        self.rate = Rate()
        """Leaves issued lately, for the alarm on unusual issuance."""

    @property
    def lifetime(self) -> timedelta:
        """Lifetime of leaves issued from now on (MeshConfig ``certificates.lifetime``)."""
        return self._lifetime

    @lifetime.setter
    def lifetime(self, lifetime: timedelta) -> None:
        self._lifetime = max(lifetime, MIN_LIFETIME)

    def roots(self, trust_domain: str) -> RootsSecret:
        """The bundle that peers of `trust_domain` are verified against."""
        return self._authority.roots(trust_domain)

    def leaf_for(
        self, stream: Hashable, spiffe_id: str, reported_version: str = ""
    ) -> LeafSecret | Keep | Withheld:
        """The answer to a subscription: the client keeps the version that it reports when it
        is this identity's, its issuer is active and half life is not reached, else it gets a fresh
        leaf."""
        version = parse_version(reported_version)
        now = self._clock.now()
        issuers = (self._authority.key_id,)
        if version is None or not rotate.may_keep(version, spiffe_id, issuers, now):
            return self._issue(stream, spiffe_id)
        monotonic = self._clock.monotonic()
        due = rotate.renew_at(version, now, monotonic, self._lifetime)
        self._take(stream, Slot(spiffe_id, version, now, monotonic, due))
        return Keep(reported_version, due)

    def due(self, monotonic: float) -> tuple[Hashable, ...]:
        """Streams to `renew` at `monotonic`, the longest overdue first. Each stays due until it is
        renewed or forgotten. The time of day has no part in it."""
        ready: list[tuple[float, int, Hashable]] = []
        while (at := self.next_due()) is not None and at <= monotonic:
            ready.append(heapq.heappop(self._heap))
        for entry in ready:
            heapq.heappush(self._heap, entry)
        return tuple(stream for _, _, stream in ready)

    def next_due(self) -> float | None:
        """When `due` next has something to say, on the monotonic clock; ``None``: no streams."""
        while self._heap and self._live.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)  # scheduled anew since, or gone
        return self._heap[0][0] if self._heap else None

    def renew(self, stream: Hashable) -> LeafSecret | Withheld:
        """A fresh leaf for a stream that was answered before. Raises KeyError for another one."""
        slot = self._slots.get(stream)
        spiffe_id = slot.spiffe_id if slot is not None else self._withheld[stream][0]
        return self._issue(stream, spiffe_id)

    def apart(self, spiffe_id: str) -> LeafSecret | Withheld:
        """A leaf that belongs to no stream, for a file: whoever has it renews it."""
        now = self._clock.now()
        problem = clock_problems.of_authority(self._authority, spiffe_id, now)
        if problem is not None:
            return Withheld(problem)
        secret, _ = issue(self._authority, spiffe_id, now, self._lifetime)
        self.issued += 1
        self.rate.count(self._clock.monotonic())
        return secret

    def rotate(self, stream: Hashable | None = None) -> tuple[Hashable, ...]:
        """Make one stream, or all, due at once; the streams that are. An unknown one: empty."""
        known = tuple(self._live) if stream is None else (stream,) * (stream in self._live)
        now = self._clock.monotonic()
        for each in known:
            self._schedule(each, now)
        return known

    def forget(self, stream: Hashable) -> None:
        """The stream has ended."""
        self._slots.pop(stream, None)
        self._withheld.pop(stream, None)
        self._live.pop(stream, None)

    def slot(self, stream: Hashable) -> Slot | None:
        """What the stream holds; ``None`` when nothing was issued or kept."""
        return self._slots.get(stream)

    def invalid(self) -> tuple[Hashable, ...]:
        """Streams whose leaf the time of day calls invalid now."""
        now = self._clock.now()
        return tuple(
            stream for stream, slot in self._slots.items() if not rotate.is_valid(slot.version, now)
        )

    def problems(self) -> tuple[Problem, ...]:
        """What the clocks and the authority do to leaves at this moment; empty when all is well."""
        found = [problem for _, problem in self._withheld.values()]
        found += clock_problems.in_hand(
            self._slots.values(), self._clock.now(), self._clock.monotonic()
        )
        return tuple(dict.fromkeys(found))

    def _issue(self, stream: Hashable, spiffe_id: str) -> LeafSecret | Withheld:
        now, monotonic = self._clock.now(), self._clock.monotonic()
        problem = clock_problems.of_authority(self._authority, spiffe_id, now)
        if problem is not None:
            self._withheld[stream] = (spiffe_id, problem)
            self._schedule(stream, monotonic + rotate.RETRY)
            return Withheld(problem)
        secret, version = issue(self._authority, spiffe_id, now, self._lifetime)
        self.issued += 1
        self.rate.count(monotonic)
        due = rotate.renew_at(version, now, monotonic, self._lifetime)
        self._take(stream, Slot(spiffe_id, version, now, monotonic, due))
        return secret

    def _take(self, stream: Hashable, slot: Slot) -> None:
        self._withheld.pop(stream, None)
        self._slots[stream] = slot
        self._schedule(stream, slot.renew_at)

    def _schedule(self, stream: Hashable, at: float) -> None:
        self._entries += 1
        self._live[stream] = self._entries
        heapq.heappush(self._heap, (at, self._entries, stream))
