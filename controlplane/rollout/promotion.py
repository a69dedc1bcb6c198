"""What one sidecar has asked for, what was promoted, and when a name may be taken back. Pure.

An unknown destination is asked for under a name that ends with a time bucket. The answer promotes
it: to a virtual host or a listener of its own. The name asked for is then needed only until its
bucket is over, since Envoy never asks the same name twice. The bucket is text, never read as time:
its end is counted from the question on our own clock. What a target is, and when two of them are
the same, says the capture mode.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from sys import intern

from xds.names import AskedName, parse_asked

MARGIN = 5.0
"""Seconds added to a bucket's length before its name goes."""
CEILING = 2_000
"""Most targets that one sidecar is given; further ones are answered by an empty cluster."""


@dataclass(frozen=True, slots=True)
class Demand:
    """``promote``: targets that are new to this stream. ``answer``: names to answer, as asked.
    ``direct``: names to answer without promotion. ``refuse``: names over the ceiling."""

    promote: tuple[str, ...] = ()
    answer: tuple[AskedName, ...] = ()
    direct: tuple[AskedName, ...] = ()
    refuse: tuple[AskedName, ...] = ()


def _any(_: str) -> bool:
    return True


def _none(_: str) -> bool:
    return False


class Promotions:
    """State of one stream. ``bucket`` is the bucket's length in seconds; ``now`` is monotonic.

    ``capture`` is the first letter of names that count, ``normal`` gives the target of one.
    ``sticky``: whatever a reconnecting sidecar is still subscribed to was promoted (proxy mode,
    where nothing else shows it).
    """

    def __init__(
        self,
        bucket: float,
        capture: str = "a",
        normal: Callable[[str], str] = str.lower,
        *,
        sticky: bool = True,
        ceiling: int = CEILING,
    ) -> None:
        self._bucket = bucket
        self._capture = capture
        self._normal = normal
        self._sticky = sticky
        self._ceiling = ceiling
        self._targets: dict[str, None] = {}
        self._asked: dict[str, tuple[AskedName, float]] = {}
        self.questions = 0
        """Names that the sidecar has asked for since it started: it keeps each for ever."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Promoted targets in the order of their promotion."""
        return tuple(self._targets)

    @property
    def asked(self) -> int:
        """Names that are answered and not yet taken back."""
        return len(self._asked)

    def target(self, asked: AskedName) -> str:
        return self._normal(asked.target)

    def learnt(self, targets: Iterable[str]) -> tuple[str, ...]:
        """Promote what is known from before; returns those that are new."""
        return self._promote(self._normal(target) for target in targets)

    def reconnected(
        self,
        names: Iterable[str],
        versions: Mapping[str, str],
        done: Container[str],
        now: float,
        may_promote: Callable[[str], bool] = _any,
        evicted: Callable[[str], bool] = _none,
    ) -> Demand:
        """A stream's first request. Names with a version were answered and are still held; those
        in ``done`` were answered and taken back. Of the rest, on which a request may hang, those in
        the two newest buckets present are answered. ``evicted(target)`` is not promoted for an
        old question, but for one that is answered now."""
        found = self._parse(names)
        self.questions = len(found)
        buckets = sorted({asked.bucket for asked in found})[-2:]
        fresh, held = [], []
        for asked in found:
            name = str(asked)
            if name in versions:
                held.append(asked)
                self._note(name, asked, now)
            elif name not in done and asked.bucket in buckets:
                fresh.append(asked)
        wanted = [*held, *fresh]
        if self._sticky:
            answered = {*wanted}
            wanted = [each for each in found if each in answered or not evicted(self.target(each))]
        return self._demand(wanted, fresh, now, may_promote)

    def ask(
        self, names: Iterable[str], now: float, may_promote: Callable[[str], bool] = _any
    ) -> Demand:
        """A later subscription is fresh demand, whatever its bucket. ``may_promote(target)`` false
        leaves a target to the answer alone."""
        found = self._parse(names)
        self.questions += len(found)
        return self._demand(found, found, now, may_promote)

    def evict(self, targets: Iterable[str]) -> None:
        """Take targets back from the sidecar; a question promotes them again."""
        for target in targets:
            self._targets.pop(target, None)

    def finished(self, now: float, ready: Callable[[str], bool]) -> tuple[str, ...]:
        """Names to take back: bucket over, and ``ready(target)`` says that what the target was
        promoted to was acknowledged. They are forgotten here."""
        done = tuple(
            name
            for name, (asked, until) in self._asked.items()
            if until <= now and ready(self.target(asked))
        )
        for name in done:
            del self._asked[name]
        return done

    def contacting(self) -> frozenset[str]:
        """Targets whose asked-for names stand, so that first contact may still go on."""
        return frozenset(self.target(asked) for asked, _ in self._asked.values())

    def next_end(self) -> float | None:
        """When the next bucket ends."""
        for _, until in self._asked.values():
            return until
        return None

    def _note(self, name: str, asked: AskedName, now: float) -> None:
        """Keep a name until its bucket is over; the first kept is the first whose bucket ends."""
        self._asked.pop(name, None)
        self._asked[name] = (asked, now + self._bucket + MARGIN)

    def _parse(self, names: Iterable[str]) -> list[AskedName]:
        found = [asked for name in names if (asked := parse_asked(name)) is not None]
        return [asked for asked in found if asked.capture == self._capture]

    def _promote(self, targets: Iterable[str]) -> tuple[str, ...]:
        new = []
        for target in targets:
            if target not in self._targets and len(self._targets) < self._ceiling:
                target = intern(target)  # one string for all streams
                self._targets[target] = None
                new.append(target)
        return tuple(new)

    def _demand(
        self,
        wanted: Iterable[AskedName],
        names: Iterable[AskedName],
        now: float,
        may_promote: Callable[[str], bool],
    ) -> Demand:
        promote: list[str] = []
        for asked in wanted:
            target = self.target(asked)
            # One at a time: what may be promoted depends on what was.
            if target not in self._targets and may_promote(target):
                promote += self._promote((target,))
        answer: list[AskedName] = []
        direct: list[AskedName] = []
        refuse: list[AskedName] = []
        for asked in names:
            target = self.target(asked)
            if target in self._targets:
                answer.append(asked)
            else:
                (refuse if may_promote(target) else direct).append(asked)
            self._note(str(asked), asked, now)
        return Demand(tuple(promote), tuple(answer), tuple(direct), tuple(refuse))
