"""One type on one stream: what the client asked for, what it shall hold, what it was sent.

Pure bookkeeping. `Session` decides when a response may be cut; here stands what it would say.
Rules: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, "Incremental xDS".
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from xds import types
from xds.serve.delta import Batch
from xds.serve.lanes import WINDOW, Flight, Lane
from xds.serve.limits import Denied, Limits
from xds.serve.nameset import NameSet
from xds.wire.resource import Resource

ASKED = ("a|", "f|")
"""How the names of clusters that are asked for on demand begin (`xds.names.AskedName`)."""
WILDCARD = "*"
GONE = ""
"""Version under which a rejected removal is remembered."""


class Refusal(NamedTuple):
    """A version that the client rejected, and its words."""

    version: str
    message: str


_NONE = Refusal("", "")


class Subscription:
    """State of one type. ``sent`` and ``acked`` map names to versions; a name that was unsubscribed
    or removed is in neither."""

    __slots__ = (
        "absent",
        "acked",
        "awaited",
        "deferred",
        "flights",
        "forced",
        "last",
        "leaving",
        "name_bytes",
        "names",
        "opened",
        "owed",
        "pending",
        "refused",
        "sent",
        "turned_away",
        "type_url",
        "unmatched",
        "wildcard",
        "wishes",
    )

    def __init__(self, type_url: str) -> None:
        self.type_url = type_url
        self.opened = False
        """The client has sent a request of this type."""
        self.wildcard = False
        self.names = NameSet()
        """Subscribed by name."""
        self.name_bytes = 0
        self.turned_away = 0
        """Names beyond the ceiling, answered as absent and forgotten."""
        self.wishes: dict[str, Resource] = {}
        self.sent: dict[str, str] = {}
        self.acked: dict[str, str] = {}
        self.refused: dict[str, Refusal] = {}
        self.pending: dict[str, Lane] = {}
        """Names to send, in the order of their wishes."""
        self.last: dict[str, Lane] = {}
        """The same for names asked for on demand: sent after everything that they lead to."""
        self.forced = NameSet()
        """Of these, the ones to send although the client holds that version."""
        self.leaving = NameSet()
        """Names the client may hold and must drop."""
        self.awaited = NameSet()
        """Subscribed by name and not answered yet."""
        self.deferred: frozenset[str] = frozenset()
        """Names whose wish or refusal will come later: nothing is assumed about them."""
        self.absent = NameSet()
        """Names to answer with "no such resource" now."""
        self.owed = False
        """A first wildcard request that must be answered even with nothing."""
        self.unmatched = False
        """Held versions were reported and not compared with the wishes yet."""
        self.flights: dict[str, Flight] = {}

    # What the client asks.

    def open(self, subscribe: tuple[str, ...], held: Mapping[str, str], limits: Limits) -> None:
        """Take the first request of the type. ``held``: its initial_resource_versions."""
        self.opened = True
        legacy = not subscribe and self.type_url in (types.CLUSTER, types.LISTENER)
        self.wildcard = legacy or WILDCARD in subscribe
        self.owed = (self.wildcard or not subscribe) and not held
        if len(held) > 2 * limits.names:
            raise Denied("RESOURCE_EXHAUSTED", f"{len(held)} resources held, {self._kind()}")
        self.sent.update(held)
        self.acked.update(held)
        self.unmatched = True
        for name in subscribe:
            if name != WILDCARD and self._admit(name, limits) and name not in held:
                self.awaited.add(name)
        for name, wish in self.wishes.items():
            if name in self.awaited or self.tracks(name):
                self._queue(name, wish, Lane.CONFIG)

    def subscribe(self, names: Iterable[str], limits: Limits) -> list[str]:
        """Add names; each is answered, also one that was subscribed before. Returns those that
        nobody wishes, or whose bytes are not known here."""
        unknown = []
        for name in names:
            if name == WILDCARD:
                if not self.wildcard:
                    self.wildcard = self.owed = True
                    for each, wish in self.wishes.items():
                        self._queue(each, wish, Lane.CONFIG)
                continue
            if not self._admit(name, limits):
                continue
            self.awaited.add(name)
            wish_ = self.wishes.get(name)
            if wish_ is None or not wish_.entry:
                unknown.append(name)
            else:
                self._queue(name, wish_, Lane.CONFIG)
        return unknown

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Forget names; they are answered afresh when subscribed again."""
        for name in names:
            if name == WILDCARD:
                self.wildcard = self.owed = False
                for each in [each for each in self.sent if each not in self.names]:
                    self._forget(each)
                for queue in (self.pending, self.last):
                    for each in [each for each in queue if each not in self.names]:
                        self._forget(each)
            elif name in self.names:
                self.names.discard(name)
                self.deferred -= {name}
                self.name_bytes -= len(name)
                self.awaited.discard(name)
                self.absent.discard(name)
                if self.type_url == types.CLUSTER and name[:2] in ASKED:
                    # Wished for this question alone; the next one has its own answer.
                    self.want(name, None, Lane.CONFIG)
                if not self.wildcard:
                    self._forget(name)
            elif not self.wildcard:
                self._forget(name)

    def _admit(self, name: str, limits: Limits) -> bool:
        """Whether ``name`` is subscribed now; beyond the ceiling it is answered as absent."""
        if name in self.names:
            return True
        wish = self.wishes.get(name)
        if wish is not None:
            name = wish.name  # one string for all streams
        if len(self.names) < limits.names and self.name_bytes + len(name) <= limits.name_bytes:
            self.names.add(name)
            self.name_bytes += len(name)
            return True
        self.turned_away += 1
        self.absent.add(name)
        if len(self.absent) > 2 * limits.names:
            raise Denied(
                "RESOURCE_EXHAUSTED",
                f"over {2 * limits.names} unread answers to names beyond the ceiling of "
                f"{limits.names}, {self._kind()}",
            )
        return False

    def _forget(self, name: str) -> None:
        self.sent.pop(name, None)
        self.acked.pop(name, None)
        self.refused.pop(name, None)
        self.pending.pop(name, None)
        self.last.pop(name, None)
        self.forced.discard(name)
        self.leaving.discard(name)

    def _kind(self) -> str:
        return types.SHORT.get(self.type_url, "unknown type")

    # What the client shall hold.

    def tracks(self, name: str) -> bool:
        """Whether the client is told about ``name``."""
        return self.wildcard or name in self.names or name in self.sent

    def want(self, name: str, resource: Resource | None, lane: Lane) -> bool:
        """Set or end a wish. Returns whether something may have to be sent."""
        if self.deferred and name in self.deferred:
            self.deferred -= {name}
        if resource is None:
            self.wishes.pop(name, None)
            self.pending.pop(name, None)
            self.last.pop(name, None)
            self.forced.discard(name)
            if not self.opened:
                return False
            if name in self.sent or name in self.refused:
                refusal = self.refused.get(name)
                if refusal is None or refusal.version != GONE:
                    self.leaving.add(name)
            elif name in self.awaited:
                self.absent.add(name)
            self.awaited.discard(name)
            return True
        self.wishes[name] = resource
        if not self.opened:
            return False
        if self.leaving or self.absent:
            self.leaving.discard(name)
            self.absent.discard(name)
        if not self.tracks(name):
            return False
        return self._queue(name, resource, lane)

    def force(self, name: str) -> None:
        """Send a wished resource again, whatever the client holds."""
        if name in self.wishes:
            self.pending[name] = Lane.DEMAND
            self.forced.add(name)

    def _queue(self, name: str, wish: Resource, lane: Lane) -> bool:
        if not wish.entry:
            return False
        queue = self.last if self.type_url == types.CLUSTER and name[:2] in ASKED else self.pending
        if name in self.awaited:
            self.awaited.discard(name)
            self.forced.add(name)
        elif name not in self.forced:
            refusal = self.refused.get(name)
            if self.sent.get(name) == wish.version or (refusal and refusal[0] == wish.version):
                queue.pop(name, None)
                return False
        if queue.get(name) is not Lane.DEMAND:
            queue[name] = lane
        return True

    def match(self) -> None:
        """Once the wishes are complete: what the client reported as held and nobody wishes leaves,
        what it asked for by name and nobody wishes is answered as absent. Deferred names and those
        asked for on demand are excepted: their end is decided, never assumed."""
        clusters = self.type_url == types.CLUSTER
        if self.unmatched:
            self.unmatched = False
            for name in self.sent:
                if name not in self.wishes and not self._undecided(name, clusters):
                    self.leaving.add(name)
        for name in [name for name in self.awaited if not self._undecided(name, clusters)]:
            self.awaited.discard(name)
            (self.leaving if name in self.sent else self.absent).add(name)
        self._shrink()

    def _shrink(self) -> None:
        """Give back the room of what has emptied; a thousand streams start with full sets."""
        for each in (self.awaited, self.forced, self.pending, self.absent, self.leaving):
            if not each:
                each.clear()

    def _undecided(self, name: str, clusters: bool) -> bool:
        return name in self.deferred or (clusters and name[:2] in ASKED)

    # What the client answers.

    def sending(self, batch: Batch, trial: bool) -> None:
        """Note that ``batch`` leaves now. A trial may carry another version than the wish; the
        wish stays rejected then."""
        for name, version in batch.items:
            self.sent[name] = version
            if not trial:
                self.pending.pop(name, None)
                self.last.pop(name, None)
            if self.forced:
                self.forced.discard(name)
            if self.refused and (not trial or self.refused.get(name, _NONE).version == version):
                self.refused.pop(name, None)
        for name in batch.removed:
            self.sent.pop(name, None)
            self.refused.pop(name, None)
            self.leaving.discard(name)
            self.absent.discard(name)
        self.owed = False
        self._shrink()

    def lone(self) -> Resource | None:
        """The one resource that waits, when it alone may leave at once; it counts as sent then."""
        pending = self.pending
        if len(pending) != 1 or len(self.flights) >= WINDOW or self.absent:
            return None
        ((name, lane),) = pending.items()
        if lane is not Lane.DEMAND or self.refused or self.forced:
            return None
        resource = self.wishes[name]
        pending.clear()
        self.sent[name] = resource.version
        self.owed = False
        return resource

    def accept(self, flight: Flight) -> None:
        """The client ACKed a response."""
        sent = self.sent
        acked = self.acked
        for name, version in flight.batch.items:
            if name in sent:
                acked[name] = version
        for name in flight.batch.removed:
            acked.pop(name, None)

    def reject(self, flight: Flight, message: str) -> None:
        """The client NACKed a response: nothing of it counts as held in the new version."""
        for name, version in flight.batch.items:
            if self.sent.get(name) != version:
                continue
            before = self.acked.get(name)
            if before is None:
                del self.sent[name]
            else:
                self.sent[name] = before
            if not (flight.trial and name in self.refused):
                self.refused[name] = Refusal(version, message)
        for name in flight.batch.removed:
            if name in self.acked and name not in self.sent:
                self.sent[name] = self.acked[name]
                self.refused[name] = Refusal(GONE, message)

    def overtaken(self, flight: Flight) -> bool:
        """A trial was accepted. What was wished anew while it was under way is still to be sent;
        returns whether there is any."""
        found = False
        for name, version in flight.batch.items:
            if self.sent.get(name) != version or not self.tracks(name):
                continue
            wish = self.wishes.get(name)
            if wish is None:
                self.leaving.add(name)
                found = True
            elif wish.version != version:
                found = self._queue(name, wish, Lane.CONFIG) or found
        return found

    def retry(self) -> None:
        """Queue rejected wishes once more, because something changed at the client."""
        for name, refusal in list(self.refused.items()):
            wish = self.wishes.get(name)
            if wish is not None and wish.version == refusal.version:
                del self.refused[name]
                self._queue(name, wish, Lane.CONFIG)

    # Questions of the session.

    @property
    def waiting(self) -> bool:
        """Something waits to be sent."""
        return bool(self.pending or self.last or self.leaving or self.absent)

    @property
    def quiet(self) -> bool:
        """Nothing waits and nothing is in flight."""
        return not (self.waiting or self.flights)

    def unsent_additions(self) -> bool:
        """Whether a wished resource is not at the client, asked-for names aside."""
        sent = self.sent
        if any(name not in sent for name in self.pending):
            return True
        return any(name not in sent and name in self.wishes for name in self.refused)

    def stuck(self) -> bool:
        """Whether the client keeps an older version because it rejected the wished one."""
        for name, refusal in self.refused.items():
            wish = self.wishes.get(name)
            if name in self.acked and (
                wish is None or self.acked[name] != wish.version or refusal.version == GONE
            ):
                return True
        return False

    def in_flight(self, lane: Lane) -> int:
        """Responses of ``lane`` that are not answered."""
        flights = self.flights
        if not flights:
            return 0
        return sum(flight.lane is lane and not flight.trial for flight in flights.values())
