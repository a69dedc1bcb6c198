"""The secrets of each stream: its own leaf, and the roots of its trust domain, nothing else.

Leaves are the one resource whose bytes are made for one stream. A leaf that the client reports and
that is still good stays where it is; its version alone says when it is due. Leaves that the time of
day calls invalid, after somebody set the clock, are looked for every few seconds and renewed.
"""

from collections import deque
from typing import Final

from controlplane.identity.leaves import Leaves
from controlplane.identity.slots import Keep, LeafVersion
from controlplane.rollout.member import Member
from xds import types
from xds.build.secrets import leaf, roots
from xds.ir.secret import LeafSecret
from xds.names import IDENTITY_SECRET, roots_secret
from xds.wire.resource import Resource

LOOK: Final = 5.0
"""Seconds between looks for leaves that the time of day calls invalid."""
RENEWED: Final = 25
"""Due leaves renewed in one turn of the event loop: about 10 ms."""
BATCH: Final = 50
"""Invalid leaves renewed a tick: about 10 ms, because all of them turn invalid at once."""


class Secrets:
    """Hands out what `Leaves` issues. Implements `controlplane.rollout.keeper.SecretKeeper`."""

    def __init__(self, leaves: Leaves) -> None:
        self._leaves = leaves
        self._looked: float | None = None
        self._invalid: deque[tuple[Member, LeafVersion | None]] = deque()

    def subscribed(self, member: Member, names: tuple[str, ...]) -> None:
        """Wish the secrets among ``names`` that this stream may have; the rest stays absent."""
        work = member.workload
        if work is None:
            return
        for name in names:
            if name == IDENTITY_SECRET:
                reported = member.session.acked(types.SECRET).get(name, "")
                answer = self._leaves.leaf_for(member, work.spiffe_id, reported)
                if isinstance(answer, LeafSecret):
                    self._send(member, answer)
                elif isinstance(answer, Keep):
                    kept = Resource(types.SECRET, name, answer.version, b"")
                    member.session.want(types.SECRET, name, kept)
                else:
                    # Withheld: tried again by itself; until then the name stays open.
                    member.session.defer(types.SECRET, (name,))
            elif name == roots_secret(work.scope.trust_domain):
                bundle = roots(self._leaves.roots(work.scope.trust_domain))
                member.session.want(types.SECRET, name, bundle)

    def admitted(self, member: Member) -> None:
        """The workload became known, or another: answer what was asked before."""
        names = member.session.subscribed(types.SECRET)
        if names:
            self.subscribed(member, tuple(sorted(names)))

    def rotate(self, member: Member | None, now: float) -> tuple[Member, ...]:
        """Renew one stream's leaf, or all, now and in the next ticks; the streams that get one."""
        due = self._leaves.rotate(member)
        self.tick(now)
        return tuple(each for each in due if isinstance(each, Member))

    def tick(self, now: float) -> bool:
        """Renew some of what is due at monotonic ``now``, and of what the clock calls invalid;
        whether more is due."""
        due = self._leaves.due(now)
        for stream in due[:RENEWED]:
            assert isinstance(stream, Member)
            self._renew(stream)
        if self._looked is None or now - self._looked >= LOOK:
            self._looked = now
            found = (each for each in self._leaves.invalid() if isinstance(each, Member))
            self._invalid = deque((member, self.version(member)) for member in found)
        for _ in range(min(BATCH, len(self._invalid))):
            member, version = self._invalid.popleft()
            if version is not None and self.version(member) == version:
                self._renew(member)  # else it has ended, or got another one meanwhile
        return len(due) > RENEWED

    def version(self, member: Member) -> LeafVersion | None:
        """The leaf that the stream was given or keeps."""
        slot = self._leaves.slot(member)
        return slot.version if slot else None

    def renews_in(self, member: Member, now: float) -> float | None:
        """Seconds until the next leaf."""
        slot = self._leaves.slot(member)
        return slot.renew_at - now if slot else None

    def forget(self, member: Member) -> None:
        self._leaves.forget(member)

    def _renew(self, member: Member) -> None:
        answer = self._leaves.renew(member)
        if isinstance(answer, LeafSecret):
            self._send(member, answer)

    def _send(self, member: Member, secret: LeafSecret) -> None:
        member.session.want(types.SECRET, secret.name, leaf(secret))
