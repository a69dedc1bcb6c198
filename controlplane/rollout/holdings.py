"""Which nodes of the graph a stream holds: kept in line with its workload and its promotions."""

from collections.abc import Callable, Iterable
from functools import lru_cache

from controlplane.graph import AnyNode, Change, Graph
from controlplane.rollout import proxyless
from controlplane.rollout.delivery import Delivery
from controlplane.rollout.member import Member, difference
from controlplane.rollout.modes import Found
from controlplane.rollout.replicas import Replicas, Share
from controlplane.translate.resources import fixed
from controlplane.translate.scope import Wanted
from xds import types
from xds.serve.lanes import Lane

DRAIN = 7.0
"""Seconds that clusters stay when nothing leads to them any more: connections of a removed listener
drain meanwhile (Envoy's drain time, `sidecar.launch`, and a margin), and requests that were routed
before get there."""

KEPT = (types.CLUSTER, types.ENDPOINT)

Desired = dict[tuple[str, str], Wanted]


@lru_cache(maxsize=256)
def _ordered(hosts: tuple[AnyNode, ...]) -> tuple[AnyNode, ...]:
    """By name; the replicas of a workload have the same."""
    return tuple(sorted(hosts, key=str))


class Holdings:
    """Owned by the edge. ``publish`` takes changes that concern other streams too."""

    def __init__(
        self,
        graph: Graph,
        delivery: Delivery,
        publish: Callable[[list[Change]], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._graph = graph
        self._delivery = delivery
        self._publish = publish
        self._monotonic = monotonic
        self._replicas = Replicas(graph)

    def reconcile(self, member: Member, lane: Lane) -> None:
        """Subscribe to what the stream is to hold, drop the rest, and wish what is new."""
        graph, work = self._graph, member.workload
        assert work is not None
        if proxyless.is_proxyless(member):
            changes = proxyless.settle(graph, member)
            found = [self._delivery.value(node) for node in member.targets.values()]
            self._hold(member, proxyless.desired(graph, member, found), lane, changes)
            return
        if member.fixed_node is None:
            member.fixed_node = graph.subscribe(member, fixed, member.pod)
        gone, new = difference(member.destinations, member.promotions.targets)
        kin = self._replicas.kin(member, new)
        share = self._replicas.find(kin)
        if share is not None and self._give(member, share, lane):
            return
        for target in gone:
            graph.unsubscribe(member, member.destinations.pop(target))
        for target in new:
            part = member.mode.part(work, target)
            member.destinations[target] = graph.subscribe(member, part.query, *part.args)
        changes = graph.settle(only=[member.fixed_node, *member.destinations.values()])
        desired = self._desired(member)
        self._hold(member, desired, lane, changes)
        if kin is not None:
            self._replicas.keep(kin, member, frozenset(self._fixed(member)))

    def _give(self, member: Member, share: Share, lane: Lane) -> bool:
        """Let the stream hold what a replica of its workload was given, and what is its own."""
        graph = self._graph
        changes = graph.settle(only=[member.fixed_node]) if member.fixed_node is not None else []
        own = self._fixed(member)
        if any(own.get(key) != hold[0] for key, hold in member.holds.items()):
            return False  # something is to be dropped first
        if not own.keys().isdisjoint(share.holds) or not self._replicas.give(share, member):
            return False
        added = self._add(member, own)
        if graph.pending:
            nodes = (*added, *share.destinations.values(), *share.names, *share.hosts)
            changes += graph.settle(only=nodes)
        self._delivery.offer_all(member, (*added, *share.names), lane)
        self._joined(member, lane, changes)
        return True

    def release(self, member: Member) -> None:
        """Drop every subscription but that to the workload. Wishes stay as they are."""
        graph = self._graph
        for key in tuple(member.holds):
            graph.unsubscribe(member, member.drop(*key))
        for node in (*member.hosts, *member.destinations.values()):
            graph.unsubscribe(member, node)
        member.hosts = {}
        member.destinations = {}
        member.retained = {}
        proxyless.release(graph, member)
        if member.fixed_node is not None:
            graph.unsubscribe(member, member.fixed_node)
            member.fixed_node = None

    def expire(self, member: Member, now: float) -> None:
        """Let go of clusters whose listener has drained."""
        for key, until in tuple(member.retained.items()):
            if until <= now:
                del member.retained[key]
                self._graph.unsubscribe(member, member.drop(*key))
                member.session.want(*key, None)

    def _desired(self, member: Member) -> Desired:
        desired = self._fixed(member)
        hosts: dict[AnyNode, tuple[str, ...]] = {}
        contacting = member.promotions.contacting()
        lasting = not all(contact_only for _, contact_only in member.mode.tables)
        for target, node in member.destinations.items():
            found: Found | None = self._delivery.value(node)
            if found is None:
                continue
            for each in found.needs:
                desired[each.type_url, each.name] = each
            if found.fragment is not None and (lasting or target in contacting):
                clusters = tuple(n.name for n in found.needs if n.type_url == types.CLUSTER)
                host = self._graph.subscribe(member, found.fragment.query, *found.fragment.args)
                hosts[host] = tuple(dict.fromkeys((*hosts.get(host, ()), *clusters)))
        for host in member.hosts:
            if host not in hosts:
                self._graph.unsubscribe(member, host)
        # One order in every replica and after every restart: the joined bytes must be equal.
        member.hosts = {host: hosts[host] for host in _ordered(tuple(hosts))}
        return desired

    def _fixed(self, member: Member) -> Desired:
        """What it holds whatever it talks to."""
        fixed_: Iterable[Wanted] = self._delivery.value(member.fixed_node) or ()
        return {(each.type_url, each.name): each for each in fixed_}

    def _hold(self, member: Member, desired: Desired, lane: Lane, changes: list[Change]) -> None:
        graph = self._graph
        dropped = self._drop(member, desired)
        for key in tuple(member.retained):
            if key in desired:
                del member.retained[key]
        added = self._add(member, desired)
        changes += graph.settle(only=[*added, *member.hosts])
        self._delivery.offer_all(member, added, lane)
        for type_url, name in dropped:
            if (type_url, name) not in member.holds:
                member.session.want(type_url, name, None)
        self._joined(member, lane, changes)

    def _add(self, member: Member, desired: Desired) -> list[AnyNode]:
        """Subscribe to what is wanted and not held; returns its nodes."""
        added = []
        for key, wanted in desired.items():
            if key not in member.holds:
                node = self._graph.subscribe(member, wanted.query, *wanted.args)
                member.add(wanted, node)
                added.append(node)
        return added

    def _joined(self, member: Member, lane: Lane, changes: list[Change]) -> None:
        self._delivery.join(member, lane)
        others = [change for change in changes if len(change.streams) > (member in change.streams)]
        if others:
            self._publish(others)

    def _drop(self, member: Member, desired: Desired) -> list[tuple[str, str]]:
        """Unsubscribe from what is no longer wanted; returns it. What connections of a removed
        listener may still need is kept for a while."""
        dropped = []
        until = self._monotonic() + DRAIN
        for key, (wanted, _) in tuple(member.holds.items()):
            other = desired.get(key)
            if other is wanted:
                continue
            if other is not None and (other.query, other.args) == (wanted.query, wanted.args):
                continue
            if other is None and key[0] in KEPT and not proxyless.is_proxyless(member):
                member.retained.setdefault(key, until)
                continue
            self._graph.unsubscribe(member, member.drop(*key))
            dropped.append(key)
        return dropped
