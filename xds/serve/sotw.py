"""One state-of-the-world ADS stream, on the rules of `xds.serve.session`.

The bookkeeping is the delta one: what changes for the client is counted as set and removed, and
only the bytes differ. A response for clusters or listeners carries everything that the client shall
hold then, and what is missing in it is gone; one for any other type carries what changed, and there
nothing can be taken back. One response of a type is under way at a time, so that its answer says
what the client holds. https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final

from xds import types
from xds.serve import order
from xds.serve.auth import Principal
from xds.serve.delta import Batch, ResponseCache
from xds.serve.handler import Handler
from xds.serve.lanes import Flight, Lane
from xds.serve.limits import DEFAULT, Limits
from xds.serve.observer import Observer
from xds.serve.session import Session
from xds.serve.subscription import WILDCARD, Subscription
from xds.wire.request import DeltaRequest, Malformed, Node, StateRequest, scan_state
from xds.wire.resource import Resource
from xds.wire.state import join_state

FULL: Final = (types.CLUSTER, types.LISTENER)
"""Types whose responses are complete."""
BYTES_KEPT: Final = 16 << 20
BODIES_KEPT: Final = 1024
_WHOLE: Final = 1 << 40
"""A complete response cannot be cut."""

Items = tuple[tuple[str, str], ...]


class StateBatch(Batch):
    """A response whose body says more than its changes: ``resources`` and ``removed`` are those."""

    __slots__ = ()

    def __init__(
        self,
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
        body: bytes,
    ) -> None:
        self.type_url = type_url
        self.resources = resources
        self.removed = removed
        self.items = tuple([(each.name, each.version) for each in resources])
        self.content = len(body)
        self.body = body


class StateBodies:
    """The last bodies, oldest dropped first; streams that take the same step share one. One per
    process; not thread safe. Secrets never enter."""

    def __init__(self, bodies: int = BODIES_KEPT, size: int = BYTES_KEPT) -> None:
        self._bodies: OrderedDict[tuple[str, Items], bytes] = OrderedDict()
        self._room = bodies
        self._limit = size
        self.size = 0

    def body(self, type_url: str, resources: Iterable[Resource]) -> bytes:
        """The response with exactly these resources; its version is a hash of theirs."""
        ordered = sorted(resources, key=lambda each: each.name)
        items = tuple([(each.name, each.version) for each in ordered])
        key = (type_url, items)
        found = self._bodies.get(key)
        if found is not None:
            return found
        version = blake2b(repr(items).encode(), digest_size=8).hexdigest()
        made = join_state(type_url, version, (each.entry for each in ordered))
        if type_url != types.SECRET and len(made) <= self._limit // 4:
            self._bodies[key] = made
            self.size += len(made)
            while self.size > self._limit or len(self._bodies) > self._room:
                _, dropped = self._bodies.popitem(last=False)
                self.size -= len(dropped)
        return made


class StateSession(Session):
    """A `Session` whose client speaks DiscoveryRequest and DiscoveryResponse."""

    __slots__ = ("_asked", "_bodies", "_given", "_whole")

    def __init__(
        self,
        handler: Handler,
        bodies: StateBodies,
        *,
        principal: Principal | None = None,
        admit: Callable[[Node], None] | None = None,
        limits: Limits = DEFAULT,
        observer: Observer | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Arguments as of `Session`."""
        super().__init__(
            handler,
            ResponseCache(),
            principal=principal,
            admit=admit,
            limits=limits,
            observer=observer,
            clock=clock,
        )
        self._bodies = bodies
        self._asked: dict[str, tuple[str, ...]] = {}
        """The names of the last request of each type."""
        self._given: dict[str, dict[str, Resource]] = {url: {} for url in FULL}
        """What the client has accepted, for the next complete response."""
        self._whole = Limits(limits.names, limits.name_bytes, limits.types, _WHOLE)

    # The transport.

    def receive(self, data: bytes | DeltaRequest | StateRequest) -> None:
        """Take one request. Raises as `Session.receive`."""
        if isinstance(data, DeltaRequest):
            raise Malformed("a delta request on a state-of-the-world stream")
        request = data if isinstance(data, StateRequest) else scan_state(data)
        kind, names = request.type_url, request.names
        known = self._subscriptions.get(kind)
        if self.node is None or known is None or not known.opened:
            self._asked[kind] = names
            self._open(DeltaRequest(request.node, kind, tuple(dict.fromkeys(names))))
            return
        if request.error_code:
            self._rejected(known, _answer(request))
        elif request.nonce:
            self._accepted(known, request.nonce)
        if names != self._asked[kind]:
            self._resubscribe(known, self._asked[kind], names)
            self._asked[kind] = names
        self._woken()

    def pull(self) -> Flight | None:
        """Cut the next response, or ``None`` while nothing may leave."""
        if not self._work or self._held or self.ending is not None:
            return None
        outgoing = self._trial() or self._next()
        if outgoing is None:
            self._work = False
            self._blocked = bool(self._trials) or any(
                each.waiting for each in self._subscriptions.values()
            )
        return outgoing

    # Requests.

    def _resubscribe(
        self, known: Subscription, before: tuple[str, ...], names: tuple[str, ...]
    ) -> None:
        """The subscription is ``names`` now. Nothing at first means everything; once names were
        said it means nothing."""
        old = frozenset(before) or frozenset({WILDCARD} if known.wildcard else ())
        new = frozenset(names)
        if gone := old - new:
            known.unsubscribe(gone)
        added = tuple(name for name in dict.fromkeys(names) if name not in old)
        if added:
            turned_away = known.turned_away
            unknown = known.subscribe(added, self._limits)
            self._tell(known, added, unknown, first=False)
            self._turned_away(known, turned_away)

    def _accepted(self, known: Subscription, nonce: str) -> None:
        flight = known.flights.get(nonce)
        given = self._given.get(known.type_url)
        if flight is not None and given is not None:
            for resource in flight.batch.resources:
                if known.sent.get(resource.name) == resource.version:
                    given[resource.name] = resource
            for name in flight.batch.removed:
                given.pop(name, None)
        super()._accepted(known, nonce)

    # Responses.

    @property
    def _by_name(self) -> bool:
        """Whether the client asks for what it needs (gRPC) rather than for everything (Envoy): it
        follows references by itself and lets go of clusters when it has stopped to use them."""
        listeners = self._subscriptions.get(types.LISTENER)
        return listeners is not None and listeners.opened and not listeners.wildcard

    def _too_early(self, known: Subscription) -> bool:
        """Whether a client that names its clusters has not said yet for which listeners. gRPC
        reconnects in any order, and what it holds is lost if a response leaves it out."""
        if known.type_url != types.CLUSTER or known.wildcard:
            return False
        listeners = self._subscriptions.get(types.LISTENER)
        return listeners is None or not listeners.opened

    def _may_try(self, subscription: Subscription) -> bool:
        return subscription.opened and not subscription.flights

    def _next(self) -> Flight | None:
        every = self._subscriptions
        seen = {url: each for url, each in every.items() if url != types.CLUSTER}
        seen = seen if self._by_name else every
        for each in every.values():
            full = each.type_url in FULL
            if not full and each.absent:
                each.absent.clear()  # cannot be said
            if each.flights or not (each.pending or each.absent) or self._too_early(each):
                continue
            if each.type_url in order.USERS and self._endpoints_wait():
                continue
            if full and len(set(each.pending.values())) > 1:
                each.pending = dict.fromkeys(each.pending, Lane.DEMAND)  # all go together
            limits = self._whole if full else self._limits
            found = order.additions(seen, each, self._needs, self._endpoints, limits)
            lane, resources = found or (Lane.DEMAND, [])
            absent = tuple(sorted(each.absent))
            if len(resources) < len(each.pending) and self._incomplete(each):
                continue
            if resources or absent:
                return self._send(each, lane, resources, absent)
        for each in every.values():
            waiting = each.pending or each.last or each.flights
            if each.owed and not waiting and not self._too_early(each):
                return self._send(each, Lane.CONFIG, (), ())
        clusters = every.get(types.CLUSTER)
        if clusters is not None and clusters.last and not clusters.flights:
            answer = order.answers(every, self._whole)
            if answer is not None:
                return self._send(answer[1], answer[0], answer[2], ())
        return self._removal()

    def _incomplete(self, known: Subscription) -> bool:
        """Whether the first response for listeners waits until all of them may leave. A client
        that reconnects has them, and would remove what is left out."""
        clusters = self._subscriptions.get(types.CLUSTER)
        moving = clusters is not None and bool(clusters.pending or clusters.flights)
        return known.type_url == types.LISTENER and not known.sent and moving

    def _endpoints_wait(self) -> bool:
        """Whether assignments wait for an answer to the ones before, so that clusters which were
        sent are still cold: nothing may begin to use them."""
        assignments = self._subscriptions.get(types.ENDPOINT)
        return not self._by_name and assignments is not None and bool(assignments.pending)

    def _removal(self) -> Flight | None:
        while (going := order.removals(self._subscriptions)) is not None:
            if going.type_url == types.CLUSTER and self._by_name:
                going.leaving.clear()  # its client ends the subscription when it is done
            elif going.type_url not in FULL:
                for name in going.leaving:
                    going.sent.pop(name, None)
                    going.acked.pop(name, None)
                    going.refused.pop(name, None)
                going.leaving.clear()
            elif going.flights:
                return None
            else:
                return self._send(going, Lane.CONFIG, (), tuple(sorted(going.leaving)))
        return None

    def _send(
        self,
        subscription: Subscription,
        lane: Lane,
        resources: Iterable[Resource],
        removed: tuple[str, ...],
        *,
        trial: bool = False,
    ) -> Flight:
        changed = tuple(resources)
        content = {resource.name: resource for resource in changed}
        given = self._given.get(subscription.type_url)
        if given is not None:
            # Nothing is under way, so what was sent last is what was accepted.
            held = {name: given[name] for name in subscription.sent if name in given}
            self._given[subscription.type_url] = held
            content = {n: each for n, each in held.items() if n not in removed} | content
        body = self._bodies.body(subscription.type_url, content.values())
        batch = StateBatch(subscription.type_url, changed, removed, body)
        subscription.sending(batch, trial)
        if subscription.type_url == types.CLUSTER and self._endpoints and not self._by_name:
            assignments = self._subscriptions.get(types.ENDPOINT)
            if assignments is not None and assignments.opened:
                self._follow(assignments, [name for name, _ in batch.items])
        return self._fly(subscription, batch, lane, trial)


def _answer(request: StateRequest) -> DeltaRequest:
    """The NACK of a request."""
    return DeltaRequest(
        type_url=request.type_url,
        nonce=request.nonce,
        error_code=request.error_code,
        error_message=request.error_message,
    )
