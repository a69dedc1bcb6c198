"""Where streams meet the graph: which nodes a stream holds, and what it is given of them.

The graph's value is the wish of the mesh. What a stream is given is decided here, from verdicts
(`Quarantine`), last good versions and promotions, and kept by the stream's session. One owner on
the event loop; every call is synchronous; time comes as an argument or from the clock given.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controlplane.graph import AnyNode, Change, Graph
from controlplane.rollout.delivery import Delivery
from controlplane.rollout.keeper import SecretKeeper
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.learnt_lines import Owner, Reference
from controlplane.rollout.member import Member, difference
from controlplane.rollout.promotion import Demand, Promotions
from controlplane.rollout.signal import Signal
from controlplane.rollout.verdicts import Verdicts
from controlplane.translate.forwards import PROXY_LOOP_PORT
from controlplane.translate.mesh import on_demand_bucket
from controlplane.translate.resources import Destination, destination, fixed, host_fragment
from controlplane.translate.scope import Wanted
from controlplane.translate.workloads import Workload, workload
from controlplane.world.rows import Key
from xds import types
from xds.build.clusters import asked_cluster
from xds.names import parse_asked
from xds.serve.lanes import Lane
from xds.serve.limits import Denied
from xds.serve.session import Session
from xds.wire.resource import Resource

POD_WAIT = 10.0
"""Seconds that a stream without a Pod row waits for one."""


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
        self._waiting: dict[Member, float] = {}
        self.members: dict[Key, list[Member]] = {}
        """Connected sidecars by pod; two for a moment while one replaces the other."""

    # --- Handler -------------------------------------------------------------------------------

    def opened(self, session: Session) -> None:
        """The node is known and admitted: find its workload, wish what it always holds."""
        assert session.node is not None
        cluster, namespace, pod = session.node.id.split("/", 2)
        key = Key(cluster, namespace, pod)
        now = self._monotonic()
        account = getattr(session.principal, "account", "")
        length = self._graph.read(on_demand_bucket).total_seconds()
        member = Member(session, key, account, now, Promotions(length))
        session.owner = member
        self.members.setdefault(key, []).append(member)
        member.workload_node = self._graph.subscribe(member, workload, key)
        session.hold()
        if not self._admit(member):
            self._waiting[member] = now + POD_WAIT
        self._signal.bump()

    def asked(self, session: Session, names: tuple[str, ...], first: bool) -> None:
        member = _member(session)
        if member.workload is None:
            member.early.append((names, first))
            return
        now = self._monotonic()
        if first:
            work = member.workload
            done = self._learnt.done(Owner(work.namespace, work.owner), work.pod)
            versions = session.acked(types.CLUSTER)
            demand = member.promotions.reconnected(names, versions, done, now)
        else:
            demand = member.promotions.ask(names, now)
        self._answer(member, names, demand)

    def subscribed(self, session: Session, type_url: str, names: tuple[str, ...]) -> None:
        if type_url == types.SECRET:
            member = _member(session)
            if member.workload is None:
                session.defer(type_url, names)
            self._secrets.subscribed(member, names)

    def acked(
        self, session: Session, type_url: str, resources: tuple[tuple[str, str], ...], trial: bool
    ) -> None:
        self._verdicts.acked(_member(session), type_url, resources, self._reoffer)
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
        self._waiting.pop(member, None)
        streams = self.members.get(member.pod, [])
        if member in streams:
            streams.remove(member)
        if not streams:
            self.members.pop(member.pod, None)
        self._release(member)
        if member.workload_node is not None:
            self._graph.unsubscribe(member, member.workload_node)
        self._secrets.forget(member)
        self._verdicts.left(member, self._reoffer)
        self._signal.bump()

    # --- changes -------------------------------------------------------------------------------

    def publish(self, changes: Iterable[Change]) -> None:
        """Give what changed to the streams that hold it."""
        reconcile: dict[Member, None] = {}
        joined: dict[Member, None] = {}
        for change in changes:
            node, streams = change.node, change.streams
            if node.query is workload:
                for member in tuple(streams):
                    self._moved(member)  # type: ignore[arg-type]  # streams are members
            elif node.query is fixed or node.query is destination:
                reconcile.update(dict.fromkeys(streams))  # type: ignore[arg-type]
            else:
                self._verdicts.changed(node)
                if node.query is host_fragment:
                    joined.update(dict.fromkeys(streams))  # type: ignore[arg-type]
                else:
                    for member in streams:
                        self._delivery.offer(member, node)  # type: ignore[arg-type]
        for member in reconcile:
            if member.workload is not None:
                self.reconcile(member, Lane.CONFIG)
        for member in joined:
            if member not in reconcile and member.workload is not None:
                self._delivery.join(member, Lane.CONFIG)
        self._signal.bump()

    def reconcile(self, member: Member, lane: Lane) -> None:
        """Bring the nodes that a stream holds in line with its workload and its promotions."""
        assert member.workload is not None
        graph, work = self._graph, member.workload
        if member.fixed_node is None:
            member.fixed_node = graph.subscribe(member, fixed, member.pod)
        gone, new = difference(member.destinations, member.promotions.authorities)
        for authority in gone:
            graph.unsubscribe(member, member.destinations.pop(authority))
        for authority in new:
            member.destinations[authority] = graph.subscribe(
                member, destination, work.namespace, authority, work.scope, work.zone
            )
        changes = graph.settle(only=[member.fixed_node, *member.destinations.values()])
        self._hold(member, self._desired(member), lane, changes)

    def _desired(self, member: Member) -> dict[tuple[str, str], Wanted]:
        desired: dict[tuple[str, str], Wanted] = {}
        wanted: Iterable[Wanted] = self._delivery.value(member.fixed_node) or ()
        for each in wanted:
            desired[each.type_url, each.name] = each
        hosts: dict[AnyNode, tuple[str, ...]] = {}
        for node in member.destinations.values():
            found: Destination | None = self._delivery.value(node)
            if found is None:
                continue
            for each in found.needs:
                desired[each.type_url, each.name] = each
            clusters = tuple(n.name for n in found.needs if n.type_url == types.CLUSTER)
            host = self._graph.subscribe(member, found.fragment.query, *found.fragment.args)
            hosts[host] = tuple(dict.fromkeys((*hosts.get(host, ()), *clusters)))
        for host in member.hosts:
            if host not in hosts:
                self._graph.unsubscribe(member, host)
        # One order in every replica and after every restart: the joined bytes must be equal.
        member.hosts = dict(sorted(hosts.items(), key=lambda item: str(item[0])))
        return desired

    def _hold(
        self,
        member: Member,
        desired: dict[tuple[str, str], Wanted],
        lane: Lane,
        changes: list[Change],
    ) -> None:
        graph = self._graph
        dropped = [
            key
            for key, (wanted, _) in member.holds.items()
            if (other := desired.get(key)) is None or other.args != wanted.args
        ]
        for key in dropped:
            graph.unsubscribe(member, member.drop(*key))
        added = []
        for key, wanted in desired.items():
            if key not in member.holds:
                node = graph.subscribe(member, wanted.query, *wanted.args)
                member.add(wanted, node)
                added.append(node)
        changes += graph.settle(only=[*added, *member.hosts])
        for node in added:
            self._delivery.offer(member, node, lane)
        for type_url, name in dropped:
            if (type_url, name) not in member.holds:
                member.session.want(type_url, name, None)
        self._delivery.join(member, lane)
        others = [change for change in changes if len(change.streams) > (member in change.streams)]
        if others:
            self.publish(others)

    def _reoffer(self, nodes: Iterable[AnyNode]) -> None:
        """A verdict on these nodes changed: give their streams what is now right."""
        joined: dict[Member, None] = {}
        for node in nodes:
            streams = tuple(self._graph.streams(node))
            if node.query is host_fragment:
                joined.update(dict.fromkeys(streams))  # type: ignore[arg-type]
            else:
                for member in streams:
                    self._delivery.offer(member, node)  # type: ignore[arg-type]
                    joined[member] = None  # type: ignore[index]
        for member in joined:
            self._delivery.join(member, Lane.CONFIG)

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
        owner = Owner(found.namespace, found.owner)
        member.promotions.learnt(_authority(each) for each in self._learnt.of(owner))
        self.reconcile(member, Lane.CONFIG)
        early, member.early = member.early, []
        for names, first in early:
            self.asked(member.session, names, first)
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
            except Denied as reason:
                member.session.end(reason)
        elif found is None:
            member.session.end(Denied("UNAVAILABLE", f"pod {member.label} was deleted"))
        elif found.account != member.account:
            text = f"pod {member.label} now runs as {found.account}; start its sidecar anew"
            member.session.end(Denied("PERMISSION_DENIED", text))
        else:
            self._release(member)
            member.workload = found
            self.reconcile(member, Lane.CONFIG)
            self._secrets.admitted(member)

    def _release(self, member: Member) -> None:
        """Drop every subscription but that to the workload. Wishes stay as they are."""
        graph = self._graph
        for key in tuple(member.holds):
            graph.unsubscribe(member, member.drop(*key))
        for node in (*member.hosts, *member.destinations.values()):
            graph.unsubscribe(member, node)
        member.hosts = {}
        member.destinations = {}
        if member.fixed_node is not None:
            graph.unsubscribe(member, member.fixed_node)
            member.fixed_node = None

    # --- on demand -----------------------------------------------------------------------------

    def _answer(self, member: Member, names: tuple[str, ...], demand: Demand) -> None:
        assert member.workload is not None
        if demand.promote:
            self._remember(member, demand.promote)
            self.reconcile(member, Lane.DEMAND)
        else:
            self._delivery.join(member, Lane.DEMAND)
        address = member.workload.address
        want = member.session.want
        for asked in demand.answer:
            name = str(asked)
            cluster = asked_cluster(name, address, PROXY_LOOP_PORT)
            want(types.CLUSTER, name, cluster, Lane.DEMAND)
        for asked in demand.refuse:
            name = str(asked)
            want(types.CLUSTER, name, asked_cluster(name, "", 0), Lane.DEMAND)
        known = {str(each) for each in (*demand.answer, *demand.refuse)}
        held = member.session.acked(types.CLUSTER)
        for name in names:
            if name in held and name not in known and parse_asked(name) is not None:
                # Answered before this stream; what it holds is right until its bucket is over.
                want(types.CLUSTER, name, asked_cluster(name, address, PROXY_LOOP_PORT))

    def _destination(self, work: Workload, authority: str) -> Destination:
        return self._graph.read(destination, work.namespace, authority, work.scope, work.zone)

    def _remember(self, member: Member, authorities: Iterable[str]) -> None:
        """Note what a workload learnt, before the bytes leave. Unknown names are not kept."""
        work = member.workload
        assert work is not None
        owner = Owner(work.namespace, work.owner)
        for authority in authorities:
            found = self._destination(work, authority)
            if found.target is not None:
                target = found.target
                self._learnt.learn(owner, Reference(target.namespace, target.service, target.port))

    # --- time ----------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Take back asked-for names, end streams whose Pod never came, renew leaves."""
        for member, until in tuple(self._waiting.items()):
            if until <= now:
                del self._waiting[member]
                text = (
                    f"no Pod {member.pod.namespace}/{member.pod.name} in cluster "
                    f"{member.pod.cluster}; add its manifest, or correct the sidecar's node id"
                )
                member.session.end(Denied("UNAVAILABLE", text))
        for streams in tuple(self.members.values()):
            for member in streams:
                end = member.promotions.next_end()
                if end is not None and end <= now:
                    self._take_back(member, now)
        self._secrets.tick(now)

    def _take_back(self, member: Member, now: float) -> None:
        def ready(authority: str) -> bool:
            node = member.destinations.get(authority)
            return node is None or self._delivery.promoted(member, node)

        names = member.promotions.finished(now, ready)
        work = member.workload
        if names and work is not None:
            self._learnt.finish(Owner(work.namespace, work.owner), work.pod, names)
            for name in names:
                member.session.want(types.CLUSTER, name, None)
            self._delivery.join(member, Lane.CONFIG)

    async def compact(self) -> None:
        """Write the learnt sets; what live streams hold does not age."""
        for streams in self.members.values():
            for member in streams:
                if member.workload is None:
                    continue
                owner = Owner(member.workload.namespace, member.workload.owner)
                targets = (self._delivery.value(node) for node in member.destinations.values())
                self._learnt.held(
                    owner,
                    [
                        Reference(d.target.namespace, d.target.service, d.target.port)
                        for d in targets
                        if d is not None and d.target is not None
                    ],
                )
        await self._learnt.compact()

    def sweep(self) -> None:
        """Forget verdicts and fragments of what no stream holds any more."""
        self._verdicts.sweep()
        self._delivery.sweep()


def _member(session: Session) -> Member:
    member = session.owner
    assert isinstance(member, Member)
    return member


def _authority(reference: Reference) -> str:
    """The canonical authority of a learnt destination."""
    return f"{reference.service}.{reference.namespace}:{reference.port}"
