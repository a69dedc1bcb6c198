"""Which versions the fleet may be sent, learnt from ACKs and NACKs. Pure: values in, verdicts out.

A *part* is what is judged: a resource, or one virtual host of a joined route configuration. Its
identity is the graph node that made it, so a wire name that means different bytes in different
scopes is judged once per scope. ONE stream bisects a rejected batch; meanwhile every other stream
keeps what it has for the suspects, and gets the good ones as soon as they are cleared.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
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


class Choice(Enum):
    """What a stream gets for a part."""

    USE = auto()
    LAST_GOOD = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a NACK. ``trials`` are batches that this stream tries one by one, in
    order; ``rejected`` are verdicts that were reached; ``held`` are parts that another stream is
    bisecting."""

    trials: tuple[tuple[Part, ...], ...] = ()
    rejected: tuple[Rejection, ...] = ()
    held: tuple[Part, ...] = ()


class Quarantine:
    """Verdicts by (node, version). One owner; no IO."""

    def __init__(self) -> None:
        self._approved: dict[Hashable, str] = {}
        self._suspects: dict[Part, Hashable] = {}
        self._rejected: dict[Part, Rejection] = {}
        self._rejected_by: dict[tuple[Hashable, Part], Rejection] = {}

    def choose(self, stream: Hashable, part: Part) -> Choice:
        """Whether ``stream`` gets this version or the last good one."""
        if self.calm:
            return Choice.USE
        if part in self._rejected or (stream, part) in self._rejected_by:
            return Choice.LAST_GOOD
        owner = self._suspects.get(part)
        return Choice.USE if owner is None else Choice.LAST_GOOD

    @property
    def calm(self) -> bool:
        """Nothing is suspected or rejected."""
        return not (self._suspects or self._rejected or self._rejected_by)

    def approved(self, part: Part) -> bool:
        """Whether some Envoy has accepted exactly this version."""
        return self._approved.get(part.node) == part.version

    def approves(self, node: Hashable, version: str) -> bool:
        """`approved`, without a part to be made."""
        return self._approved.get(node) == version

    def accept(self, parts: Iterable[Part]) -> tuple[Part, ...]:
        """Record an ACK. Returns the suspects that this cleared."""
        cleared = []
        for part in parts:
            self._approved[part.node] = part.version
            if self._suspects and self._suspects.pop(part, None) is not None:
                cleared.append(part)
            if self._rejected:
                self._rejected.pop(part, None)
        return tuple(cleared)

    def reject(self, stream: Hashable, parts: Iterable[Part], reason: str) -> Step:
        """Record a NACK of a batch by ``stream`` and say what it tries next."""
        batch = tuple(parts)
        unknown = tuple(p for p in batch if not self.approved(p) and p not in self._rejected)
        if not unknown:
            if any(p in self._rejected for p in batch):
                return Step()
            return self._split(stream, batch, reason, alone=True)
        held = tuple(p for p in unknown if self._suspects.get(p, stream) != stream)
        mine = tuple(p for p in unknown if p not in held)
        step = self._split(stream, mine, reason, alone=False) if mine else Step()
        return Step(step.trials, step.rejected, held)

    def _split(
        self, stream: Hashable, batch: tuple[Part, ...], reason: str, *, alone: bool
    ) -> Step:
        if len(batch) == 1:
            part = batch[0]
            rejection = Rejection(part, reason, stream if alone else None)
            self._suspects.pop(part, None)
            if alone:
                self._rejected_by[(stream, part)] = rejection
            else:
                self._rejected[part] = rejection
            return Step(rejected=(rejection,))
        if not alone:
            self._suspects.update(dict.fromkeys(batch, stream))
        middle = len(batch) // 2
        return Step(trials=(batch[:middle], batch[middle:]))

    def leave(self, stream: Hashable) -> tuple[Part, ...]:
        """A stream is gone: what it was bisecting may be tried by others. Returns those parts."""
        freed = self.release(stream)
        for key in [key for key in self._rejected_by if key[0] == stream]:
            del self._rejected_by[key]
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
            del self._rejected[part]
            found = True
        for part in [p for p in self._suspects if p.node == node and p.version != keep]:
            del self._suspects[part]
            found = True
        for key in [k for k in self._rejected_by if k[1].node == node and k[1].version != keep]:
            del self._rejected_by[key]
            found = True
        if keep is None:
            self._approved.pop(node, None)
        return found

    def lift(self, part: Part) -> None:
        """A verdict that was for all streams counts no more."""
        self._rejected.pop(part, None)

    def rejections(self) -> tuple[Rejection, ...]:
        """Every standing verdict, oldest first."""
        return (*self._rejected.values(), *self._rejected_by.values())
