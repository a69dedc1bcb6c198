"""What one proxy-mode sidecar has asked for, and when a name may be taken back. Pure.

An unknown authority reaches Envoy's ``*`` virtual host, which asks for the cluster
``a|authority|bucket``. The answer promotes the authority to a virtual host of its own; the name
asked for is then needed only until its bucket is over, since Envoy never asks the same name twice.
The bucket is text, never read as time: its end is counted from the question on our own clock.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass

from xds.names import AskedName, parse_asked

MARGIN = 5.0
"""Seconds added to a bucket's length before its name goes."""
CEILING = 2_000
"""Most authorities that one sidecar is given; further ones are answered by an empty cluster."""


@dataclass(frozen=True, slots=True)
class Demand:
    """``promote``: authorities, lower case, that are new to this stream. ``answer``: names to
    answer, as asked. ``refuse``: names over the ceiling, answered by an empty cluster."""

    promote: tuple[str, ...] = ()
    answer: tuple[AskedName, ...] = ()
    refuse: tuple[AskedName, ...] = ()


class Promotions:
    """State of one stream. ``bucket`` is the bucket's length in seconds; ``now`` is monotonic."""

    def __init__(self, bucket: float, ceiling: int = CEILING) -> None:
        self._bucket = bucket
        self._ceiling = ceiling
        self._authorities: dict[str, None] = {}
        self._asked: dict[str, tuple[AskedName, float]] = {}

    @property
    def authorities(self) -> tuple[str, ...]:
        """Promoted authorities in the order of their promotion."""
        return tuple(self._authorities)

    @property
    def asked(self) -> int:
        """Names that are answered and not yet taken back."""
        return len(self._asked)

    def learnt(self, authorities: Iterable[str]) -> tuple[str, ...]:
        """Promote what the workload knew before; returns those that are new."""
        return self._promote(authority.lower() for authority in authorities)

    def reconnected(
        self, names: Iterable[str], versions: Mapping[str, str], done: Container[str], now: float
    ) -> Demand:
        """A stream's first request. Names with a version were answered and are still held; those
        in ``done`` were answered and taken back. Of the rest, on which a request may hang, those in
        the two newest buckets present are answered."""
        found = [asked for name in names if (asked := parse_asked(name)) is not None]
        proxy = [asked for asked in found if asked.capture == "a"]
        buckets = sorted({asked.bucket for asked in proxy})[-2:]
        fresh = [
            asked
            for asked in proxy
            if str(asked) not in versions and str(asked) not in done and asked.bucket in buckets
        ]
        for asked in proxy:
            if str(asked) in versions:
                self._asked[str(asked)] = (asked, now + self._bucket + MARGIN)
        promote = self._promote(asked.target.lower() for asked in proxy)
        answered = self._answer(fresh, now)
        return Demand(promote, answered.answer, answered.refuse)

    def ask(self, names: Iterable[str], now: float) -> Demand:
        """A later subscription is fresh demand, whatever its bucket."""
        found = [asked for name in names if (asked := parse_asked(name)) is not None]
        proxy = [asked for asked in found if asked.capture == "a"]
        promote = self._promote(asked.target.lower() for asked in proxy)
        answered = self._answer(proxy, now)
        return Demand(promote, answered.answer, answered.refuse)

    def finished(self, now: float, ready: Callable[[str], bool]) -> tuple[str, ...]:
        """Names to take back: bucket over, and ``ready(authority)`` says that the virtual host
        was acknowledged. They are forgotten here."""
        done = tuple(
            name
            for name, (asked, until) in self._asked.items()
            if until <= now and ready(asked.target.lower())
        )
        for name in done:
            del self._asked[name]
        return done

    def contacting(self) -> frozenset[str]:
        """Authorities whose asked-for names stand, so that requests may still take the loop."""
        return frozenset(asked.target.lower() for asked, _ in self._asked.values())

    def next_end(self) -> float | None:
        """When the next bucket ends."""
        return min((until for _, until in self._asked.values()), default=None)

    def _promote(self, authorities: Iterable[str]) -> tuple[str, ...]:
        new = []
        for authority in authorities:
            if authority not in self._authorities and len(self._authorities) < self._ceiling:
                self._authorities[authority] = None
                new.append(authority)
        return tuple(new)

    def _answer(self, names: Iterable[AskedName], now: float) -> Demand:
        answer: list[AskedName] = []
        refuse: list[AskedName] = []
        for asked in names:
            known = asked.target.lower() in self._authorities
            (answer if known else refuse).append(asked)
            self._asked[str(asked)] = (asked, now + self._bucket + MARGIN)
        return Demand(answer=tuple(answer), refuse=tuple(refuse))
