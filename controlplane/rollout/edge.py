"""Where streams meet the graph: which nodes a stream holds, and what it is given of them.

The graph's value is the wish of the mesh. What a stream is given is decided here, from verdicts
(`Quarantine`), last good versions and promotions, and kept by the stream's session. One owner on
the event loop; every call is synchronous; time comes as an argument or from the clock given.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from controlplane.graph import AnyNode, AnyQuery, Change, Graph
from controlplane.rollout.delivery import FRAGMENTS, Delivery
from controlplane.rollout.eviction import Eviction, exhausted
from controlplane.rollout.holdings import Holdings
from controlplane.rollout.keeper import SecretKeeper
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.member import Member
from controlplane.rollout.modes import PROXY, mode_of
from controlplane.rollout.ondemand import STANDING, OnDemand
from controlplane.rollout.promotion import Promotions
from controlplane.rollout.proxyless import is_proxyless
from controlplane.rollout.signal import Signal
from controlplane.rollout.verdicts import Verdicts
from controlplane.translate.mesh import on_demand_bucket
from controlplane.translate.proxyless import target
from controlplane.translate.redirect_contact import contact
from controlplane.translate.resources import destination, fixed
from controlplane.translate.workloads import Workload, workload
from controlplane.world.rows import Key
from xds import types
from xds.serve.lanes import Lane
from xds.serve.limits import Denied
from xds.serve.session import Session
from xds.wire.resource import Resource

LISTS: frozenset[AnyQuery] = frozenset({fixed, destination, contact, target})
"""Queries that say what a stream holds, rather than a resource."""
Batch = tuple[Sequence[Member], Callable[[Member], object]]
"""Streams for which something is to be done, and what."""
TURN = 0.004
"""Seconds that a change may take of one turn of the event loop."""
OFFERS = 200
"""Wishes that are set between two looks at the clock: a millisecond."""
STEP = 100
"""Sidecars that are looked at in one turn of the event loop."""
HOLD = 600.0
"""Seconds between notes of what live streams hold: well below what lets a note age."""
STREAMS = 4
"""Streams of one sidecar: its own, and those that its predecessors and broken connections left."""
APPLICATION_STREAMS = 64
"""The same of an application without a sidecar: gRPC may open one for each target."""
POD_WAIT = 10.0
"""Seconds that a stream without a Pod row waits for one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EdgeParts:
    """What the edge works with."""

    graph: Graph
    learnt: Learnt
    secrets: SecretKeeper
    verdicts: Verdicts
    delivery: Delivery
    signal: Signal
    monotonic: Callable[[], float]


class _Told:
    """What streams are to be told of some changes."""

    def __init__(self) -> None:
        self.moved: dict[Member, None] = {}
        """Their workload changed."""
        self.listed: dict[Member, None] = {}
        """What they hold changed."""
        self.joined: dict[Member, None] = {}
        """Virtual hosts of their joined tables changed."""
        self.offers: dict[Member, list[Callable[[Member], object]]] = {}
        """Resources that they hold changed."""

    def __bool__(self) -> bool:
        return bool(self.moved or self.listed or self.joined)

    def offer(self, members: Iterable[Member], give: Callable[[Member], object]) -> None:
        for each in members:
            self.offers.setdefault(each, []).append(give)

    def members(self) -> Iterable[Member]:
        return {**self.moved, **dict.fromkeys(self.offers), **self.listed, **self.joined}


class Edge:
    """Implements `xds.serve.handler.Handler`."""

    def __init__(self, parts: EdgeParts) -> None:
        self._graph = parts.graph
        self._learnt = parts.learnt
        self._secrets = parts.secrets
        self._verdicts = parts.verdicts
        self._delivery = parts.delivery
        self._signal = parts.signal
        self._monotonic = parts.monotonic
        self._holdings = Holdings(parts.graph, parts.delivery, self.publish, parts.monotonic)
        self._ondemand = OnDemand(parts.graph, parts.learnt, parts.delivery, self._reconcile)
        self.eviction = Eviction(
            parts.graph, parts.learnt, parts.delivery, self._reconcile, parts.monotonic
        )
        """What sidecars report of themselves goes here."""
        self._later: deque[Iterator[Batch]] = deque()
        """What verdicts want to be done, and would take too long at once."""
        self._waiting: dict[Member, float] = {}
        self._timed: dict[Member, None] = {}
        """Streams of which something ends by time."""
        self._hold_at = 0.0
        self.members: dict[Key, list[Member]] = {}
        """Connected sidecars by pod; two for a moment while one replaces the other."""

    @property
    def exhausted(self) -> int:
        """Connected sidecars that asked for so many names that they are no longer relieved."""
        return sum(exhausted(streams[-1]) for streams in self.members.values() if streams)

    # --- Handler -------------------------------------------------------------------------------

    def opened(self, session: Session) -> None:
        """The node is known and admitted: find its workload, wish what it always holds."""
        assert session.node is not None
        cluster, namespace, pod = session.node.id.split("/", 2)
        key = Key(cluster, namespace, pod)
        now = self._monotonic()
        account = getattr(session.principal, "account", "")
        member = Member(session, key, account, now)
        session.owner = member
        self.members.setdefault(key, []).append(member)
        member.workload_node = self._graph.subscribe(member, workload, key)
        session.hold()
        if not self._admit(member):
            self._waiting[member] = now + POD_WAIT
        self._bound(key)
        self._signal.bump()

    def started(self, session: Session, type_url: str, held: Mapping[str, str]) -> None:
        member = _member(session)
        if member.workload is None:
            member.early_types.append((type_url, dict(held)))
        else:
            self._ondemand.started(member, type_url, held)

    def asked(self, session: Session, names: tuple[str, ...], first: bool) -> None:
        member = _member(session)
        if member.workload is None:
            member.early.append((names, first))
            if sum(len(each) for each, _ in member.early) > STANDING:
                raise Denied("RESOURCE_EXHAUSTED", f"over {STANDING} names and no Pod yet")
            return
        if is_proxyless(member):  # it asks by subscription, and has no loop to be answered with
            for name in names:
                session.want(types.CLUSTER, name, None)
            return
        self._ondemand.asked(member, names, first, self._monotonic())

    def subscribed(self, session: Session, type_url: str, names: tuple[str, ...]) -> None:
        member = _member(session)
        if type_url != types.SECRET and member.workload and is_proxyless(member):
            self._reconcile(member, Lane.DEMAND)
        elif type_url == types.SECRET:
            if member.workload is None:
                session.defer(type_url, names)
            self._secrets.subscribed(member, names)

    def acked(
        self, session: Session, type_url: str, resources: tuple[tuple[str, str], ...], trial: bool
    ) -> None:
        member = _member(session)
        member.acked_at = self._monotonic()
        self._verdicts.acked(member, type_url, resources, self._reoffer)
        self._signal.bump()

    def nacked(
        self,
        session: Session,
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
        message: str,
        trial: bool,
    ) -> None:
        member = _member(session)
        self._verdicts.nacked(member, type_url, resources, message, self._reoffer)
        self._signal.bump()

    def closed(self, session: Session) -> None:
        member = _member(session)
        member.left = True
        self._waiting.pop(member, None)
        self._timed.pop(member, None)
        streams = self.members.get(member.pod, [])
        if member in streams:
            streams.remove(member)
        if not streams:
            self.members.pop(member.pod, None)
        self._holdings.release(member)
        if member.workload_node is not None:
            self._graph.unsubscribe(member, member.workload_node)
        self._secrets.forget(member)
        self._verdicts.left(member, self._reoffer)
        self._signal.bump()

    # --- changes -------------------------------------------------------------------------------

    def publish(self, changes: Iterable[Change]) -> None:
        """Give what changed to the streams that hold it."""
        for _ in self.publishing(changes):
            pass

    def publishing(self, changes: Iterable[Change]) -> Iterator[None]:
        """The same in steps of some milliseconds. Between them streams may be served, come and go;
        the graph must stay as it is."""
        until = self._monotonic() + TURN
        for members, act in self._batches(changes):
            if self._monotonic() > until:
                yield
                until = self._monotonic() + TURN
            self._each((member for member in members if not member.left), act)
        self._signal.bump()

    def _batches(self, changes: Iterable[Change]) -> Iterator[Batch]:
        """What is to be done, in order. Between two batches responses may leave, so whatever a
        stream is told of these changes is in one: it never knows half of them."""
        told = _Told()
        offers: list[tuple[AnyNode, tuple[Member, ...]]] = []
        for change in changes:
            node = change.node
            streams: tuple[Member, ...] = tuple(change.streams)  # type: ignore[arg-type]
            if node.query is workload:
                told.moved.update(dict.fromkeys(streams))
            elif node.query in LISTS:
                told.listed.update(dict.fromkeys(streams))
            else:
                self._verdicts.changed(node)
                if node.query in FRAGMENTS:
                    told.joined.update(dict.fromkeys(streams))
                else:
                    offers.append((node, streams))
        if len(offers) == 1 and not told:
            # Endpoints of one service: the most frequent change of all.
            node, streams = offers[0]
            give = self._delivery.offering(node)
            for start in range(0, len(streams), OFFERS):
                yield streams[start : start + OFFERS], give
            return
        for node, streams in offers:
            told.offer(streams, self._delivery.offering(node))
        act = partial(self._tell, told)
        yield from (((each,), act) for each in told.members())

    def _tell(self, told: "_Told", member: Member) -> None:
        if member in told.moved:
            self._moved(member)
        for give in told.offers.get(member, ()):
            give(member)
        if member.workload is None:
            return
        if member in told.listed:
            self._reconcile(member, Lane.CONFIG)
        elif member in told.joined:
            self._delivery.join(member, Lane.CONFIG)

    def _each(self, members: Iterable[Member], act: Callable[[Member], object]) -> None:
        """Do something for streams: a defect that is met on one ends that stream alone."""
        for member in members:
            try:
                act(member)
            except Denied as reason:
                member.session.end(reason)
            except Exception:  # noqa: BLE001 - see above
                _log.exception("serving a stream failed", extra={"pod": member.label})
                text = "the control plane failed to serve this stream"
                member.session.end(Denied("INTERNAL", text))

    def _reoffer(self, nodes: Iterable[AnyNode]) -> None:
        """A verdict on these nodes changed: give their streams what is now right. What would keep
        the others waiting comes with the next tick."""
        self._later.append(self._reoffers(tuple(nodes)))
        self._catch_up()

    def _reoffers(self, nodes: Iterable[AnyNode]) -> Iterator[Batch]:
        told = _Told()
        for node in nodes:
            streams: tuple[Member, ...] = tuple(self._graph.streams(node))  # type: ignore[arg-type]
            told.joined.update(dict.fromkeys(streams))
            if node.query not in FRAGMENTS:
                # Its value is read when it is given: it may have changed meanwhile.
                told.offer(streams, partial(self._delivery.offer, node=node))
        act = partial(self._tell, told)
        yield from (((each,), act) for each in told.members())

    def _catch_up(self) -> None:
        """Do what was put off, for some milliseconds."""
        until = self._monotonic() + TURN
        while self._later:
            steps = self._later.popleft()
            for members, act in steps:
                self._each((member for member in members if not member.left), act)
                if self._monotonic() > until:
                    self._later.appendleft(steps)
                    return

    def _bound(self, pod: Key) -> None:
        """End the oldest streams beyond the bound: whoever comes newly always gets in."""
        sidecar: list[Member] = []
        application: list[Member] = []
        for each in self.members[pod]:
            if each.session.ending is None:
                (application if is_proxyless(each) else sidecar).append(each)
        for members, most in ((sidecar, STREAMS), (application, APPLICATION_STREAMS)):
            for member in members[:-most]:
                text = (
                    f"pod {member.label} has more than {most} streams, and this is the oldest; "
                    "let one sidecar run per pod, and give each its own token"
                )
                member.session.end(Denied("RESOURCE_EXHAUSTED", text))

    # --- workloads -----------------------------------------------------------------------------

    def _admit(self, member: Member) -> bool:
        assert member.workload_node is not None
        changes = self._graph.settle(only=[member.workload_node])
        found: Workload | None = self._delivery.value(member.workload_node)
        if found is None:
            return False
        if found.account != member.account:
            raise Denied(
                "PERMISSION_DENIED",
                f"the token is for account {member.account}, pod {member.label} runs as "
                f"{found.account}; fetch a new one (meshctl proxy token)",
            )
        member.workload = found
        mode = member.mode = mode_of(found)
        length = self._graph.read(on_demand_bucket).total_seconds()
        member.promotions = Promotions(length, mode.capture, mode.normal, sticky=mode.sticky)
        if mode is PROXY:
            self._ondemand.recall(member)
        self._reconcile(member, Lane.CONFIG)
        for type_url, held in member.early_types:
            self._ondemand.started(member, type_url, held)
        for names, first in member.early:
            self.asked(member.session, names, first)
        member.early, member.early_types = [], []
        member.session.release()
        others = [change for change in changes if len(change.streams) > 1]
        if others:
            self.publish(others)
        return True

    def _moved(self, member: Member) -> None:
        """A workload's identity, scope or addresses changed, or its Pod came or went."""
        found: Workload | None = self._delivery.value(member.workload_node)
        if member.workload is None:
            try:
                if self._admit(member):
                    self._waiting.pop(member, None)
                    self._secrets.admitted(member)
                    self._bound(member.pod)
            except Denied as reason:
                member.session.end(reason)
        elif found is None:
            member.session.end(Denied("UNAVAILABLE", f"pod {member.label} was deleted"))
        elif found.capture is not member.workload.capture:
            text = f"pod {member.label} captures traffic by {found.capture} now; reconnect"
            member.session.end(Denied("UNAVAILABLE", text))
        elif found.account != member.account:
            text = f"pod {member.label} now runs as {found.account}; start its sidecar anew"
            member.session.end(Denied("PERMISSION_DENIED", text))
        else:
            held = {*member.holds, *member.retained}
            self._holdings.release(member)
            member.workload = found
            self._reconcile(member, Lane.CONFIG)
            for key in held - member.holds.keys():
                member.session.want(*key, None)
            self._secrets.admitted(member)

    # --- time ----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Take back asked-for names and idle destinations, end streams whose Pod never came,
        renew leaves."""
        for _ in self.ticks(now):
            pass

    def ticks(self, now: float) -> Iterator[None]:
        """The same in steps of some milliseconds; streams may be served between them."""
        for member, until in tuple(self._waiting.items()):
            if until <= now:
                del self._waiting[member]
                text = (
                    f"no Pod {member.pod.namespace}/{member.pod.name} in cluster "
                    f"{member.pod.cluster}; add its manifest, or correct the sidecar's node id"
                )
                member.session.end(Denied("UNAVAILABLE", text))
        self._verdicts.tick(now, self._reoffer)
        while self._later:
            yield
            self._catch_up()
        for number, member in enumerate(tuple(self._timed), 1):
            self._each((member,), partial(self._look, now))
            if number % STEP == 0:
                yield
        for number, pod in enumerate(self.eviction.take_reports(), 1):
            self._each(self.members.get(pod, [])[-1:], self.eviction.look)
            if number % STEP == 0:
                yield
        while self._secrets.tick(now):
            yield

    def _look(self, now: float, member: Member) -> None:
        end = member.promotions.next_end()
        if end is not None and end <= now and member.workload is not None:
            self._ondemand.take_back(member, now)
        if member.retained:
            self._holdings.expire(member, now)
        if not member.retained and member.promotions.next_end() is None:
            self._timed.pop(member, None)

    def _reconcile(self, member: Member, lane: Lane) -> None:
        """Bring what a stream holds in line with its workload and promotions."""
        self._holdings.reconcile(member, lane)
        if member.retained or member.promotions.next_end() is not None:
            self._timed[member] = None
        if member in self.members.get(member.pod, [])[-1:]:
            self.eviction.promoted(member)

    async def compact(self) -> None:
        """Write the learnt sets; what live streams hold does not age."""
        now = self._monotonic()
        if now >= self._hold_at:
            self._hold_at = now + HOLD
            for number, streams in enumerate(tuple(self.members.values()), 1):
                for member in streams:
                    if member.workload is not None:
                        self._ondemand.held(member)
                if number % STEP == 0:
                    await asyncio.sleep(0)
        await self._learnt.compact()

    def sweep(self) -> None:
        """Forget verdicts and fragments of what no stream holds any more."""
        self._verdicts.sweep()
        self._delivery.sweep()
        self.eviction.sweep(self.members)


def _member(session: Session) -> Member:
    member = session.owner
    assert isinstance(member, Member)
    return member
