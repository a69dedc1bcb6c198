"""One delta ADS stream as a pure state machine: no IO, no clock of its own.

The owner of the wishes calls ``want``; the transport feeds ``receive`` and takes from ``pull``.
A response is cut only in ``pull``, from the newest wishes, so a client that reads slowly costs
nothing but its place. Order and make-before-break: `xds.serve.order`.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial

from xds import types
from xds.serve import order
from xds.serve.auth import Principal
from xds.serve.delta import Batch, ResponseCache, acknowledgement
from xds.serve.handler import Handler
from xds.serve.lanes import TRIALS, Flight, Lane
from xds.serve.limits import DEFAULT, Denied, Limits
from xds.serve.observer import Observer, Unobserved
from xds.serve.report import ResourceState, states
from xds.serve.subscription import ASKED, WILDCARD, Subscription
from xds.wire.request import DeltaRequest, Malformed, Node, scan
from xds.wire.resource import Resource


def _nobody() -> None:
    """Nobody waits for work."""


def _no_clock() -> float:
    return 0.0


class Session:
    """See the module."""

    __slots__ = (
        "_blocked",
        "_by_bytes",
        "_cache",
        "_clock",
        "_endpoints",
        "_handler",
        "_held",
        "_limits",
        "_needs",
        "_nonce",
        "_observer",
        "_only",
        "_stranger",
        "_subscriptions",
        "_trials",
        "_work",
        "admit",
        "ending",
        "node",
        "owner",
        "principal",
        "wake",
    )

    def __init__(
        self,
        handler: Handler,
        cache: ResponseCache,
        *,
        principal: Principal | None = None,
        admit: Callable[[Node], None] | None = None,
        limits: Limits = DEFAULT,
        observer: Observer | None = None,
        clock: Callable[[], float] = _no_clock,
    ) -> None:
        """``admit`` may raise `Denied` for a node that ``principal`` may not be. ``clock``, in
        seconds, only measures ACKs."""
        self.node: Node | None = None
        self.principal = principal
        self.admit = admit
        self.owner: object = None
        """Free for the handler's own state of this stream."""
        self.ending: Denied | None = None
        """Why the stream shall end, once it shall."""
        self.wake: Callable[[], None] = _nobody
        """Called when ``pull`` or ``ending`` may have something new."""
        self._handler = handler
        self._cache = cache
        self._limits = limits
        self._observer: Observer = observer or Unobserved()
        self._clock = clock
        self._subscriptions: dict[str, Subscription] = {}
        self._by_bytes: dict[bytes, Subscription] = {}
        self._endpoints: dict[str, str] = {}
        self._needs: dict[tuple[str, str], tuple[str, ...]] = {}
        self._trials: list[tuple[str, Callable[[], Iterable[Resource]]]] = []
        self._nonce = 0
        self._held = False
        self._work = False
        """Something may be ready to leave."""
        self._only: Subscription | None = None
        """While ``_work``: the one type that has changed since nothing was left to do."""
        self._blocked = False
        """Something waits for an answer of the client."""
        self._stranger = False

    # The owner of the wishes.

    def want(
        self,
        type_url: str,
        name: str,
        resource: Resource | None,
        lane: Lane = Lane.CONFIG,
        *,
        endpoints: str = "",
        needs: tuple[str, ...] | None = None,
    ) -> None:
        """Set what the client shall hold under ``name``; ``None``: nothing.

        ``endpoints``: of an EDS cluster, the name of its assignment, sent again right behind it.
        ``needs``: of a listener or route, the clusters it refers to; it leaves once these are
        sent, and waits while one of them is rejected. Unknown (``None``): it waits for every
        wished cluster. A resource with an empty entry means "what the client reported": it is
        never sent, and ``Handler.subscribed`` is called when the client asks for its bytes.
        """
        subscription = self._subscriptions.get(type_url) or self._create(type_url)
        if type_url == types.CLUSTER:
            if endpoints:
                self._endpoints[name] = endpoints
            elif self._endpoints:
                self._endpoints.pop(name, None)
        elif needs is not None:
            self._needs[type_url, name] = needs
        elif self._needs:
            self._needs.pop((type_url, name), None)
        told = subscription.want(name, resource, lane)
        if not told and resource is not None:
            told = self._adopt(subscription, name, endpoints)
        if told:
            if not self._work:
                self._only = None if self._blocked else subscription
                self._work = True
            elif self._only is not subscription:
                self._only = None
            self.wake()

    def trial(
        self, type_url: str, resources: Iterable[Resource] | Callable[[], Iterable[Resource]]
    ) -> None:
        """Send exactly these as one response next, beside wishes and windows, `TRIALS` of them at
        a time. The result comes to the handler with ``trial=True``. A function is called when the
        response is cut, and may find that there is nothing left to try."""
        make = resources if callable(resources) else partial(tuple, tuple(resources))
        self._trials.append((type_url, make))
        self._woken()

    def defer(self, type_url: str, names: Iterable[str]) -> None:
        """Within ``Handler.subscribed``: these names are wished or refused later."""
        subscription = self._subscriptions.get(type_url) or self._create(type_url)
        subscription.deferred = subscription.deferred | frozenset(names)

    def hold(self) -> None:
        """Send nothing until ``release``: the wishes are not complete yet."""
        self._held = True

    def release(self) -> None:
        """The wishes are complete."""
        if self._held:
            self._held = False
            for subscription in self._subscriptions.values():
                if subscription.opened:
                    subscription.match()
            self._woken()

    def end(self, reason: Denied) -> None:
        """Let the transport end the stream with ``reason``; the first one counts."""
        if self.ending is None:
            self.ending = reason.with_traceback(None)
            self.wake()

    # The transport.

    def receive(self, data: bytes | DeltaRequest) -> None:
        """Take one request.

        Raises:
            Malformed: no acceptable request; the stream must end.
            Denied: the node is refused or a bound is crossed; the stream must end.
        """
        if isinstance(data, DeltaRequest):
            request = data
        else:
            plain = acknowledgement(data)
            if plain is not None:
                known = self._by_bytes.get(plain[0])
                if known is not None and known.opened:
                    self._accepted(known, plain[1])
                    return
            request = scan(data)
        known = self._subscriptions.get(request.type_url)
        if self.node is None or known is None or not known.opened:
            self._open(request)
            return
        if request.error_code:
            self._rejected(known, request)
        elif request.nonce:
            self._accepted(known, request.nonce)
        if request.unsubscribe:
            known.unsubscribe(request.unsubscribe)
        if request.subscribe:
            turned_away = known.turned_away
            unknown = known.subscribe(request.subscribe, self._limits)
            self._tell(known, request.subscribe, unknown, first=False)
            self._turned_away(known, turned_away)
        self._woken()

    def pull(self) -> Flight | None:
        """Cut the next response, or ``None`` while nothing may leave. Its bytes:
        `xds.wire.response.with_nonce(batch.body, nonce)`."""
        if not self._work or self._held or self.ending is not None:
            return None
        only = self._only
        if only is not None and only.type_url not in order.LINKING:
            # Endpoints of one service: the most frequent change of all. Nothing else waits.
            resource = only.lone()
            if resource is not None:
                self._work = False
                return self._fly(only, self._cache.lone(resource), Lane.DEMAND, False)
        outgoing = self._trial() or self._next()
        if outgoing is None:
            self._work = False
            self._blocked = bool(self._trials) or any(
                each.waiting for each in self._subscriptions.values()
            )
        return outgoing

    def close(self) -> None:
        """The stream has ended. Nothing refers back to the session then: it is freed at once, and
        no collector is needed."""
        if self.node is not None:
            self._handler.closed(self)
        self.owner = None
        self._trials.clear()
        self.wake = _nobody

    # Questions.

    @property
    def settled(self) -> bool:
        """Everything wished is accepted or rejected and nothing is under way."""
        return not self._trials and all(
            each.quiet and not each.owed for each in self._subscriptions.values() if each.opened
        )

    def wishes(self, type_url: str) -> Mapping[str, Resource]:
        """Wished resources by name."""
        found = self._subscriptions.get(type_url)
        return found.wishes if found else {}

    def sent(self, type_url: str) -> Mapping[str, str]:
        """Versions that the client was sent last or reported as held, by name."""
        found = self._subscriptions.get(type_url)
        return found.sent if found else {}

    def acked(self, type_url: str) -> Mapping[str, str]:
        """Versions that the client accepted last or reported as held, by name."""
        found = self._subscriptions.get(type_url)
        return found.acked if found else {}

    def subscribed(self, type_url: str) -> frozenset[str]:
        """Names the client is subscribed to; ``*`` stands for the wildcard."""
        found = self._subscriptions.get(type_url)
        if found is None:
            return frozenset()
        return frozenset(found.names.keys() | {WILDCARD} if found.wildcard else found.names)

    def report(self) -> tuple[ResourceState, ...]:
        """Every resource of the stream, in push order, then by name."""
        ordered = self._subscriptions.values()
        return tuple(state for each in ordered for state in states(each))

    # Requests.

    def _create(self, type_url: str) -> Subscription:
        created = Subscription(type_url)
        self._subscriptions[type_url] = created
        self._by_bytes[type_url.encode()] = created
        self._subscriptions = dict(
            sorted(self._subscriptions.items(), key=lambda item: order.rank(item[0]))
        )
        return created

    def _open(self, request: DeltaRequest) -> None:
        """The first request of a type; the first of all brings the node."""
        if not request.type_url:
            raise Malformed("request without a type URL")
        entering = self.node is None
        if entering:
            if request.node is None or not request.node.id:
                raise Malformed("the first request carries no node id")
            if self.admit is not None:
                self.admit(request.node)
            self.node = request.node
        known = self._subscriptions.get(request.type_url)
        if known is None and len(self._subscriptions) >= self._limits.types:
            # Of the client alone: the owner of the wishes must never fail for what a client did.
            raise Denied("RESOURCE_EXHAUSTED", f"more than {self._limits.types} resource types")
        subscription = known or self._create(request.type_url)
        subscription.open(request.subscribe, request.initial_versions, self._limits)
        self._turned_away(subscription, 0)
        if request.initial_versions:
            self._stranger = True
        if entering:
            self._handler.opened(self)
        self._handler.started(self, request.type_url, request.initial_versions)
        if request.type_url == types.ENDPOINT:
            # Clusters may have been sent while nothing could follow them.
            self._follow(subscription, self.sent(types.CLUSTER), held=subscription.sent)
        wishes = subscription.wishes
        unknown = [name for name in request.subscribe if name not in wishes and name != WILDCARD]
        self._tell(subscription, request.subscribe, unknown, first=True)
        self._woken()

    def _tell(
        self,
        subscription: Subscription,
        names: tuple[str, ...],
        unknown: list[str],
        *,
        first: bool,
    ) -> None:
        """Tell the handler about asked-for clusters, which are fresh demand each time, and about
        other subscribed names without a wish."""
        known = subscription.names
        if subscription.type_url == types.CLUSTER:
            asked = tuple(name for name in names if name[:2] in ASKED and name in known)
            if asked:
                self._handler.asked(self, asked, first)
            unknown = [name for name in unknown if name[:2] not in ASKED]
        unknown = [name for name in unknown if name in known]
        if unknown:
            for name in unknown:
                subscription.wishes.pop(name, None)
            self._handler.subscribed(self, subscription.type_url, tuple(unknown))
        if not self._held:
            subscription.match()

    def _accepted(self, known: Subscription, nonce: str) -> None:
        """An ACK; one of no response in flight means nothing."""
        flight = known.flights.pop(nonce, None)
        if flight is None:
            return
        self._stranger = False
        batch = flight.batch
        known.accept(flight)
        if batch.removed and known.type_url == types.LISTENER and known.refused:
            # An address may have become free.
            known.retry()
        waited = self._clock() - flight.cut_at
        self._observer.acked(known.type_url, flight.lane, len(batch.items), waited)
        self._handler.acked(self, known.type_url, batch.items, flight.trial)
        if flight.trial and known.overtaken(flight):
            self._woken()
        if self._blocked:
            self._woken()

    def _rejected(self, known: Subscription, request: DeltaRequest) -> None:
        """A NACK."""
        flight = known.flights.pop(request.nonce, None)
        if flight is None:
            return
        self._stranger = False
        batch, message = flight.batch, request.error_message
        known.reject(flight, message)
        self._observer.nacked(known.type_url, len(batch.items), message)
        self._handler.nacked(
            self, known.type_url, batch.resources, batch.removed, message, flight.trial
        )

    def _turned_away(self, subscription: Subscription, before: int) -> None:
        if subscription.turned_away > before:
            self._observer.turned_away(subscription.type_url, subscription.turned_away - before)

    # Responses.

    def _woken(self) -> None:
        self._work = True
        self._only = None
        self.wake()

    def _trial(self) -> Flight | None:
        if not self._trials:
            return None
        every = self._subscriptions.values()
        if sum(flight.trial for each in every for flight in each.flights.values()) >= TRIALS:
            return None
        for trial in tuple(self._trials):
            subscription = self._subscriptions.get(trial[0])
            if subscription is not None and self._may_try(subscription):
                self._trials.remove(trial)
                if resources := tuple(trial[1]()):
                    return self._send(subscription, Lane.CONFIG, resources, (), trial=True)
        return None

    def _may_try(self, subscription: Subscription) -> bool:
        return subscription.opened

    def _next(self) -> Flight | None:
        every = self._subscriptions
        reserved = self._stranger and self._reserved()
        for each in every.values():
            if (each.pending or each.absent) and not (reserved and each.type_url in order.USERS):
                found = order.additions(every, each, self._needs, self._endpoints, self._limits)
                lane, resources = found or (Lane.DEMAND, [])
                absent = order.absences(each, self._limits)
                if resources or absent:
                    return self._send(each, lane, resources, absent)
        for each in every.values():
            if each.owed and not each.pending and not each.last:
                return self._send(each, Lane.CONFIG, (), ())
        if reserved:
            return self._greeting()
        answer = order.answers(every, self._limits)
        if answer is not None:
            lane, clusters, resources = answer
            return self._send(clusters, lane, resources, ())
        going = order.removals(every)
        if going is not None:
            return self._send(going, Lane.CONFIG, (), tuple(sorted(going.leaving)))
        return None

    def _reserved(self) -> bool:
        """Whether a client that reconnects has not said yet all that it holds.

        It reports each type in a request of its own, in any order, but all before it answers
        anything (Envoy 1.40 sends them at once). Until it has introduced itself or answered, only
        what nothing can miss is sent: clusters, endpoints, secrets.
        """
        self._stranger = not order.introduced(self._subscriptions)
        return self._stranger

    def _greeting(self) -> Flight | None:
        """An empty response, whose answer tells that no more types will be reported."""
        opened = [each for each in self._subscriptions.values() if each.opened]
        if any(each.flights for each in opened) or not any(each.waiting for each in opened):
            return None
        return self._send(opened[0], Lane.CONFIG, (), ())

    def _adopt(self, subscription: Subscription, name: str, endpoints: str) -> bool:
        """Force the assignment of a cluster that was sent, when either is wished again before the
        client could ask for it: nothing else would send it."""
        assignments = self._subscriptions.get(types.ENDPOINT)
        if assignments is None or not assignments.opened:
            return False
        if subscription is assignments:
            if subscription.tracks(name):
                return False
            sent = self.sent(types.CLUSTER)
            needing = (cluster for cluster, each in self._endpoints.items() if each == name)
            if not any(cluster in sent for cluster in needing):
                return False
            endpoints = name
        elif not endpoints or name not in subscription.sent or assignments.tracks(endpoints):
            return False
        assignments.force(endpoints)
        return endpoints in assignments.forced

    def _follow(
        self, assignments: Subscription, clusters: Iterable[str], held: Container[str] = ()
    ) -> None:
        """Send the assignments of some clusters next, except those ``held``."""
        for name in clusters:
            needed = self._endpoints.get(name)
            if needed and needed not in held:
                assignments.force(needed)

    def _send(
        self,
        subscription: Subscription,
        lane: Lane,
        resources: Iterable[Resource],
        removed: tuple[str, ...],
        *,
        trial: bool = False,
    ) -> Flight:
        batch = self._cache.batch(subscription.type_url, tuple(resources), removed)
        subscription.sending(batch, trial)
        if subscription.type_url == types.CLUSTER and self._endpoints:
            assignments = self._subscriptions.get(types.ENDPOINT)
            if assignments is not None and assignments.opened:
                self._follow(assignments, [name for name, _ in batch.items])
        return self._fly(subscription, batch, lane, trial)

    def _fly(self, subscription: Subscription, batch: Batch, lane: Lane, trial: bool) -> Flight:
        self._nonce += 1
        nonce = str(self._nonce)
        flight = subscription.flights[nonce] = Flight(batch, nonce, lane, trial, self._clock())
        return flight
