"""Which versions the fleet may be sent, learnt from ACKs and NACKs. Pure: values in, verdicts out.

A *part* is what is judged: a resource, or one virtual host of a joined route configuration. Its
identity is the graph node that made it, so a wire name that means different bytes in different
scopes is judged once per scope. ONE stream bisects a rejected batch; meanwhile every other stream
keeps what it has for the suspects, and gets the good ones as soon as they are cleared.

What one stream has isolated is in *doubt*: nobody else gets it, but a stream of another workload
is asked for a second opinion. If that one accepts, the first is alone with its rejection; if it
rejects too, the version is for nobody. So no sidecar keeps a version from the fleet by itself.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple


class Part(NamedTuple):
    """(node that made it, version hash)."""

    node: Hashable
    version: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """A version that Envoy refused. ``stream`` is set when only that stream refused what others
    had accepted; the verdict is then for that stream alone."""

    part: Part
    reason: str
    stream: Hashable | None = None


@dataclass(slots=True)
class Doubt:
    """A version that one stream alone has isolated. Nobody is asked: the verdict stands so far."""

    rejection: Rejection
    first: Hashable | None
    """Who isolated it; ``None`` once that stream has left."""
    judge: Hashable | None = None
    """Who is asked for a second opinion."""
    kin: bool = False
    """That one belongs to the workload of the first: if it rejects too, a stream of another
    workload, should there be one later, still decides."""
    seconded: Hashable | None = None
    """Kin that rejected too."""
    silent: set[Hashable] = field(default_factory=set)
    """Who was asked and did not answer in time."""


class Choice(Enum):
    """What a stream gets for a part."""

    USE = auto()
    LAST_GOOD = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a NACK. ``trials`` are batches that this stream tries one by one, in
    order; ``rejected`` are verdicts that were reached, in doubt or final (`Quarantine.doubt`);
    ``held`` are parts that another stream is bisecting or judging; ``again`` are accepted by
    others, and came in one batch with what is known to be bad."""

    trials: tuple[tuple[Part, ...], ...] = ()
    rejected: tuple[Rejection, ...] = ()
    held: tuple[Part, ...] = ()
    again: tuple[Part, ...] = ()


class Quarantine:
    """Verdicts by (node, version). One owner; no IO."""

    def __init__(self) -> None:
        self._approved: dict[Hashable, str] = {}
        self._suspects: dict[Part, Hashable] = {}
        self._doubts: dict[Part, Doubt] = {}
        self._rejected: dict[Part, Rejection] = {}
        self._refusers: dict[Part, tuple[Hashable, ...]] = {}
        """The two streams behind each verdict for all."""
        self._rejected_by: dict[tuple[Hashable, Part], Rejection] = {}

    def choose(self, stream: Hashable, part: Part) -> Choice:
        """Whether ``stream`` gets this version or the last good one. Who bisects or judges a part
        is sent it in trials, beside this."""
        if self.calm:
            return Choice.USE
        if part in self._rejected or part in self._doubts or part in self._suspects:
            return Choice.LAST_GOOD
        return Choice.LAST_GOOD if self.alone(stream, part) else Choice.USE

    def alone(self, stream: Hashable, part: Part) -> bool:
        """Whether ``stream`` refuses a version that others accept."""
        return (stream, part) in self._rejected_by

    def dissents(self, stream: Hashable) -> bool:
        """Whether ``stream`` refuses anything that others accept."""
        refusals = self._rejected_by
        return bool(refusals) and any(each == stream for each, _ in refusals)

    @property
    def calm(self) -> bool:
        """Nothing is suspected or rejected."""
        return not (self._suspects or self._doubts or self._rejected or self._rejected_by)

    def approved(self, part: Part) -> bool:
        """Whether some Envoy has accepted exactly this version."""
        return self._approved.get(part.node) == part.version

    def approves(self, node: Hashable, version: str) -> bool:
        """`approved`, without a part to be made."""
        return self._approved.get(node) == version

    def accept(self, parts: Iterable[Part], stream: Hashable | None = None) -> tuple[Part, ...]:
        """Record an ACK of ``stream``. Returns what this cleared; who refused what others accept
        is alone with that."""
        cleared: dict[Part, None] = {}
        for part in parts:
            self._approved[part.node] = part.version
            if self._suspects and self._suspects.pop(part, None) is not None:
                cleared[part] = None
            refusers: tuple[Hashable, ...] = ()
            rejection = self._rejected.pop(part, None) if self._rejected else None
            if rejection is not None:
                refusers = self._refusers.pop(part)
            elif self._doubts and (doubt := self._doubts.pop(part, None)) is not None:
                rejection = doubt.rejection
                refusers = tuple(s for s in (doubt.first, doubt.seconded) if s is not None)
            if rejection is not None:
                cleared[part] = None
                for refuser in refusers:
                    if refuser != stream:
                        found = Rejection(part, rejection.reason, refuser)
                        self._rejected_by[refuser, part] = found
        return tuple(cleared)

    def recant(self, stream: Hashable, part: Part) -> None:
        """``stream`` accepts by now what it alone had refused."""
        self._rejected_by.pop((stream, part), None)

    def reject(self, stream: Hashable, parts: Iterable[Part], reason: str) -> Step:
        """Record a NACK of a batch by ``stream`` and say what it tries next.

        A batch that has a bad part in it, as is known by now, says nothing about its others: they
        are tried without it.
        """
        batch = tuple(parts)
        rest = tuple(part for part in batch if not self._known_bad(stream, part))
        held = tuple(part for part in batch if self._held(stream, part))
        unknown = tuple(part for part in rest if not self.approved(part))
        mine = tuple(part for part in unknown if part not in held)
        if len(rest) < len(batch):
            self._suspects.update(dict.fromkeys(mine, stream))
            again = tuple(part for part in rest if part not in unknown)
            return Step(trials=(mine,) if mine else (), held=held, again=again)
        if not unknown:
            return self._split(stream, batch, reason, alone=True)
        step = self._split(stream, mine, reason, alone=False) if mine else Step()
        return Step(step.trials, step.rejected, held)

    def _known_bad(self, stream: Hashable, part: Part) -> bool:
        doubt = self._doubts.get(part)
        if doubt is not None:
            return doubt.judge != stream
        return part in self._rejected or self.alone(stream, part)

    def _held(self, stream: Hashable, part: Part) -> bool:
        """Whether another stream is to say whether this is good."""
        doubt = self._doubts.get(part)
        if doubt is not None:
            return stream not in (doubt.judge, doubt.first)
        return self._suspects.get(part, stream) != stream

    def _split(
        self, stream: Hashable, batch: tuple[Part, ...], reason: str, *, alone: bool
    ) -> Step:
        if len(batch) == 1:
            part = batch[0]
            self._suspects.pop(part, None)
            rejection = Rejection(part, reason, stream if alone else None)
            doubt = self._doubts.get(part)
            if alone:
                self._rejected_by[stream, part] = rejection
            elif doubt is None or doubt.first is None:
                self._doubts[part] = Doubt(rejection, stream)
            elif doubt.kin:
                rejection = doubt.rejection
                doubt.judge, doubt.seconded = None, stream
            else:
                rejection = doubt.rejection
                del self._doubts[part]
                self._rejected[part] = rejection
                self._refusers[part] = (doubt.first, stream)
            return Step(rejected=(rejection,))
        if not alone:
            self._suspects.update(dict.fromkeys(batch, stream))
        middle = len(batch) // 2
        return Step(trials=(batch[:middle], batch[middle:]))

    # --- second opinions -----------------------------------------------------------------------

    def doubt(self, part: Part) -> Doubt | None:
        """The doubt about a part, when one stream alone has rejected it."""
        return self._doubts.get(part)

    def doubts(self) -> dict[Part, Doubt]:
        """Every doubt, oldest first."""
        return dict(self._doubts)

    def ask(self, part: Part, judge: Hashable, *, kin: bool = False) -> None:
        """``judge`` is sent the part now; what it answers counts, between ``kin`` for their own
        workload alone."""
        doubt = self._doubts[part]
        doubt.judge, doubt.kin = judge, kin

    def give_up(self, part: Part) -> None:
        """The judge did not answer in time; it is not asked again."""
        doubt = self._doubts[part]
        if doubt.judge is not None:
            doubt.silent.add(doubt.judge)
            doubt.judge = None

    def leave(self, stream: Hashable) -> tuple[Part, ...]:
        """A stream is gone: what it was bisecting may be tried by others. Returns those parts.

        Doubts stay, with nobody who has them, or nobody who is asked.
        """
        freed = self.release(stream)
        for doubt in self._doubts.values():
            doubt.silent.discard(stream)
            if doubt.first == stream:
                doubt.first, doubt.seconded = doubt.seconded, None
            if doubt.seconded == stream:
                doubt.seconded = None
            if doubt.judge == stream:
                doubt.judge = None
        for key in [key for key in self._rejected_by if key[0] == stream]:
            del self._rejected_by[key]
        for part, refusers in self._refusers.items():
            self._refusers[part] = tuple(each for each in refusers if each != stream)
        return freed

    def bisecting(self) -> dict[Hashable, frozenset[Part]]:
        """The suspects of each stream that is bisecting."""
        found: dict[Hashable, set[Part]] = {}
        for part, owner in self._suspects.items():
            found.setdefault(owner, set()).add(part)
        return {owner: frozenset(parts) for owner, parts in found.items()}

    def release(self, stream: Hashable) -> tuple[Part, ...]:
        """Take a bisection away from a stream; its verdicts stay. Returns the freed suspects."""
        freed = tuple(part for part, owner in self._suspects.items() if owner == stream)
        for part in freed:
            del self._suspects[part]
        return freed

    def owned(self, stream: Hashable) -> tuple[Part, ...]:
        """Suspects that ``stream`` is bisecting."""
        return tuple(part for part, owner in self._suspects.items() if owner == stream)

    def forget(self, node: Hashable, keep: str | None) -> bool:
        """A node has another value (``keep``), or none: verdicts on its older versions lapse.

        Returns whether there were any.
        """
        found = False
        for part in [p for p in self._rejected if p.node == node and p.version != keep]:
            self.lift(part)
            found = True
        for part in [p for p in self._suspects if p.node == node and p.version != keep]:
            del self._suspects[part]
            found = True
        for part in [p for p in self._doubts if p.node == node and p.version != keep]:
            del self._doubts[part]
            found = True
        for key in [k for k in self._rejected_by if k[1].node == node and k[1].version != keep]:
            del self._rejected_by[key]
            found = True
        if keep is None:
            self._approved.pop(node, None)
        return found

    def lift(self, part: Part) -> None:
        """A verdict that was for all streams, or a doubt, counts no more."""
        self._rejected.pop(part, None)
        self._refusers.pop(part, None)
        self._doubts.pop(part, None)

    def rejections(self) -> tuple[Rejection, ...]:
        """Every standing verdict, oldest first."""
        doubts = (each.rejection for each in self._doubts.values() if each.first is not None)
        return (*self._rejected.values(), *doubts, *self._rejected_by.values())
