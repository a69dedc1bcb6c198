"""What of the graph goes to a stream: the right version of each resource, and the joined routes."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from controlplane.graph import ABSENT, AnyNode, AnyQuery, Failed, Graph
from controlplane.rollout.joined import (
    Composition,
    Fragment,
    JoinCache,
    fragment,
    stand_in,
)
from controlplane.rollout.member import Member
from controlplane.rollout.modes import REDIRECT, Found, Table
from controlplane.rollout.proxyless import is_proxyless
from controlplane.rollout.quarantine import Part
from controlplane.rollout.verdicts import Verdicts
from controlplane.translate.authority import Outside
from controlplane.translate.hosts import dead_host, outside_host, port_host
from controlplane.translate.redirect_contact import contact_fragment, contact_host
from controlplane.translate.resources import host_fragment
from controlplane.translate.scope import PortRef, Wanted
from xds import types
from xds.ir.route import VirtualHost
from xds.serve.lanes import Lane
from xds.wire.resource import Resource

FRAGMENTS: frozenset[AnyQuery] = frozenset({host_fragment, contact_fragment})
"""Queries that give a virtual host of a joined table."""


def _nothing(member: Member) -> None:
    """There is nothing to offer."""


class Delivery:
    """Owned by the edge."""

    def __init__(self, graph: Graph, verdicts: Verdicts) -> None:
        self._graph = graph
        self._verdicts = verdicts
        self._joins = JoinCache()
        self._fragments: dict[AnyNode, Fragment] = {}
        self._compositions: WeakValueDictionary[
            tuple[Table, tuple[Part, ...], tuple[Part, ...]], Composition
        ] = WeakValueDictionary()
        """Shared by the streams that hold the same virtual hosts, as long as one remembers it."""
        verdicts.try_hosts = self.try_hosts

    def value(self, node: AnyNode | None) -> Any:
        """A node's value; ``None`` when it has none or failed."""
        if node is None or node.failure is not None or node.value is ABSENT:
            return None
        return node.value

    def offer(self, member: Member, node: AnyNode, lane: Lane = Lane.CONFIG) -> None:
        """Wish a node's value under each name that the stream knows it by. A failed node keeps
        what was sent."""
        self.offering(node, lane)(member)

    def offering(self, node: AnyNode, lane: Lane = Lane.CONFIG) -> Callable[[Member], None]:
        """`offer` of one node, to be called for many streams."""
        if node.failure is not None or node.value is ABSENT:
            return _nothing
        value: Resource | None = node.value
        version_of = self._verdicts.resource
        demand, endpoint = Lane.DEMAND, types.ENDPOINT

        def give(member: Member) -> None:
            for type_url, name, _, _, endpoints in member.names.get(node, ()):
                given = None if value is None else version_of(member, node, value)
                asked = demand if type_url == endpoint else lane
                member.session.want(type_url, name, given, asked, endpoints=endpoints)

        return give

    def offer_all(self, member: Member, nodes: Iterable[AnyNode], lane: Lane) -> None:
        """`offer` of many nodes to one stream, of which each is known by one name as a rule."""
        calm, version_of = self._verdicts.calm, self._verdicts.resource
        names, want = member.names, member.session.want
        demand, endpoint = Lane.DEMAND, types.ENDPOINT
        for node in nodes:
            if node.failure is not None or node.value is ABSENT:
                continue
            value: Resource | None = node.value
            for type_url, name, _, _, endpoints in names.get(node, ()):
                given = value if calm or value is None else version_of(member, node, value)
                asked = demand if type_url == endpoint else lane
                want(type_url, name, given, asked, endpoints=endpoints)

    def join(self, member: Member, lane: Lane) -> None:
        """Wish the stream's joined route tables: of its virtual hosts, and of those in first
        contact."""
        if is_proxyless(member):
            return
        chosen: dict[AnyNode, Fragment] = {}
        needs: dict[str, None] = {}
        calm, holds = self._verdicts.calm, member.holds
        for node, clusters in member.hosts.items():
            found = None
            if calm and all((types.CLUSTER, name) in holds for name in clusters):
                found = self._fragment(node)
            else:
                found = self._chosen(member, node, clusters)
            if found is not None:
                chosen[node] = found
                needs.update(dict.fromkeys(clusters))
        if calm:
            usable = tuple([name for name in needs if (types.CLUSTER, name) in holds])
        else:
            usable = tuple(name for name in needs if self._usable(member, name))
        contacted = self._contacted(member)
        for name, contact_only in member.mode.tables:
            hosts = chosen
            if contact_only:
                hosts = {node: found for node, found in chosen.items() if node in contacted}
            composition = self._compose(name, hosts)
            member.remember(composition)
            resource = composition.resource
            member.session.want(types.ROUTE, name, resource, lane, needs=usable)

    def _compose(
        self, name: Table, hosts: dict[AnyNode, Fragment], tried: tuple[Part, ...] = ()
    ) -> Composition:
        resource = self._joins.join(name, tuple(hosts.values()))
        every = tuple([Part(node, found.version) for node, found in hosts.items()])
        key = (name, every, tried)
        known = self._compositions.get(key)
        if known is not None and known.resource is resource:
            return known
        fragments = dict(zip(every, hosts.values(), strict=True))
        # What stands in for a virtual host says nothing about it, accepted or not.
        parts = tuple([part for part in every if not fragments[part].stands_in])
        made = Composition(resource, parts, fragments, tried)
        self._compositions[key] = made
        return made

    def _contacted(self, member: Member) -> set[AnyNode]:
        """Virtual hosts of targets whose asked-for names stand."""
        found: set[AnyNode] = set()
        for target in member.promotions.contacting():
            destination = self.value(member.destinations.get(target))
            if destination is not None and destination.fragment is not None:
                host = self._graph.node(destination.fragment.query, *destination.fragment.args)
                if host is not None:
                    found.add(host)
        return found

    def try_hosts(self, member: Member, batch: tuple[Part, ...]) -> None:
        """Send the first joined table with the accepted virtual hosts and those of ``batch``, as
        far as the stream still is to hold these versions when its turn comes."""
        member.session.trial(types.ROUTE, partial(self._table_on_trial, member, batch))

    def _table_on_trial(self, member: Member, batch: tuple[Part, ...]) -> tuple[Resource, ...]:
        wanted = {part.node: part for part in batch}
        tried: list[Part] = []
        hosts: dict[AnyNode, Fragment] = {}
        for node, clusters in member.hosts.items():
            current = self._fragment(node)
            if current is not None and wanted.get(node) == Part(node, current.version):
                hosts[node] = current
                tried.append(wanted[node])
            elif (found := self._chosen(member, node, clusters)) is not None:
                hosts[node] = found
        if not tried:
            return ()
        composition = self._compose(member.mode.tables[0][0], hosts, tuple(tried))
        member.remember(composition)
        return (composition.resource,)

    def promoted(self, member: Member, destination: AnyNode) -> bool:
        """Whether the sidecar has accepted what a destination was promoted to."""
        found: Found | None = self.value(destination)
        if found is None:
            return False
        if member.mode is REDIRECT:
            return all(
                self._accepted(member, each)
                for each in found.needs
                if each.type_url in (types.LISTENER, types.ROUTE)
            )
        if found.fragment is None:
            return True
        host = self._graph.node(found.fragment.query, *found.fragment.args)
        return any(part.node is host for part in self._joined(member))

    def holds_host(self, member: Member, node: AnyNode) -> bool:
        """Whether the sidecar has accepted this virtual host as it is meant for it now."""
        current = self._chosen(member, node, member.hosts.get(node, ()))
        return current is not None and Part(node, current.version) in self._joined(member)

    def _joined(self, member: Member) -> Mapping[Part, Fragment]:
        """The virtual hosts of the first joined table that the sidecar has accepted."""
        table = member.mode.tables[0][0]
        version = member.session.acked(types.ROUTE).get(table, "")
        composition = member.compositions.get((table, version))
        return composition.fragments if composition is not None else {}

    def _accepted(self, member: Member, wanted: Wanted) -> bool:
        wish = member.session.wishes(wanted.type_url).get(wanted.name)
        version = member.session.acked(wanted.type_url).get(wanted.name)
        return wish is not None and version == wish.version

    def sweep(self) -> None:
        """Drop fragments of virtual hosts that no stream holds."""
        for node in [node for node in self._fragments if not self._graph.streams(node)]:
            del self._fragments[node]

    # --- virtual hosts -------------------------------------------------------------------------

    def _fragment(self, node: AnyNode) -> Fragment | None:
        body = self.value(node)
        known = self._fragments.get(node)
        if body is None:
            return known  # a failed node keeps what it had
        if known is None or known.body is not body:
            known = self._fragments[node] = fragment(body)
        return known

    def _chosen(self, member: Member, node: AnyNode, clusters: Iterable[str]) -> Fragment | None:
        current = self._fragment(node)
        if current is None:
            return None
        chosen = self._verdicts.host(member, node, current)
        if chosen is not None and all(self._usable(member, name) for name in clusters):
            return chosen
        host = self._virtual_host(node)
        return stand_in(host) if host is not None else None

    def _virtual_host(self, node: AnyNode) -> VirtualHost | None:
        """The IR behind a fragment (the arguments of its query); ``None``: none, or it failed."""
        try:
            return self._behind(node)
        except Failed:
            return None

    def _behind(self, node: AnyNode) -> VirtualHost | None:
        args: tuple[Any, ...] = node.args
        if node.query is contact_fragment:
            return self._graph.read(contact_host, *args)
        view, target = args[:2]
        match target:
            case PortRef():
                return self._graph.read(port_host, view, target)
            case Outside():
                return self._graph.read(outside_host, target.host, target.port)
            case _:
                return self._graph.read(dead_host, target)

    def _usable(self, member: Member, cluster: str) -> bool:
        """Whether the stream is given some version of a cluster that exists."""
        hold = member.holds.get((types.CLUSTER, cluster))
        if hold is None:
            return False
        value = self.value(hold[1])
        return value is None or self._verdicts.resource(member, hold[1], value) is not None
