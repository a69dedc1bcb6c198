"""What of the graph goes to a stream: the right version of each resource, and the joined routes."""

from collections.abc import Iterable
from typing import Any

from controlplane.graph import ABSENT, AnyNode, Graph
from controlplane.rollout.joined import (
    Composition,
    Fragment,
    JoinCache,
    Joined,
    broken_host,
    fragment,
)
from controlplane.rollout.member import Member
from controlplane.rollout.quarantine import Part
from controlplane.rollout.verdicts import Verdicts
from controlplane.translate.authority import Outside
from controlplane.translate.hosts import dead_host, outside_host, port_host
from controlplane.translate.scope import PortRef
from xds import types
from xds.ir.route import VirtualHost
from xds.names import PROXY_ROUTES
from xds.serve.lanes import Lane
from xds.wire.resource import Resource


class Delivery:
    """Owned by the edge."""

    def __init__(self, graph: Graph, verdicts: Verdicts) -> None:
        self._graph = graph
        self._verdicts = verdicts
        self._joins = JoinCache()
        self._fragments: dict[AnyNode, Fragment] = {}
        verdicts.try_hosts = self.try_hosts

    def value(self, node: AnyNode | None) -> Any:
        """A node's value; ``None`` when it has none or failed."""
        if node is None or node.failure is not None or node.value is ABSENT:
            return None
        return node.value

    def offer(self, member: Member, node: AnyNode, lane: Lane = Lane.CONFIG) -> None:
        """Wish a node's value under each name that the stream knows it by. A failed node keeps
        what was sent."""
        if node.failure is not None or node.value is ABSENT:
            return
        value: Resource | None = node.value
        for wanted in member.names.get(node, ()):
            given = None if value is None else self._verdicts.resource(member, node, value)
            if wanted.type_url == types.ENDPOINT:
                lane = Lane.DEMAND
            member.session.want(
                wanted.type_url, wanted.name, given, lane, endpoints=wanted.endpoints
            )

    def join(self, member: Member, lane: Lane) -> None:
        """Wish ``px`` of the stream's virtual hosts, and ``pxfc`` of those in first contact."""
        chosen: dict[AnyNode, Fragment] = {}
        needs: dict[str, None] = {}
        for node, clusters in member.hosts.items():
            found = self._chosen(member, node, clusters)
            if found is not None:
                chosen[node] = found
                needs.update(dict.fromkeys(clusters))
        usable = tuple(name for name in needs if self._usable(member, name))
        contacted = self._contacted(member)
        looped = {node: found for node, found in chosen.items() if node in contacted}
        tables: tuple[tuple[Joined, dict[AnyNode, Fragment]], ...] = (
            ("px", chosen),
            ("pxfc", looped),
        )
        for name, hosts in tables:
            composition = self._compose(name, hosts)
            member.remember(composition)
            resource = composition.resource
            member.session.want(types.ROUTE, name, resource, lane, needs=usable)

    def _compose(
        self, name: Joined, hosts: dict[AnyNode, Fragment], tried: tuple[Part, ...] = ()
    ) -> Composition:
        resource = self._joins.join(name, tuple(hosts.values()))
        parts = {Part(node, found.version): found for node, found in hosts.items()}
        return Composition(resource, tuple(parts), parts, tried)

    def _contacted(self, member: Member) -> set[AnyNode]:
        """Virtual hosts of authorities whose asked-for names stand."""
        found: set[AnyNode] = set()
        for authority in member.promotions.contacting():
            destination = self.value(member.destinations.get(authority))
            if destination is not None:
                host = self._graph.node(destination.fragment.query, *destination.fragment.args)
                if host is not None:
                    found.add(host)
        return found

    def try_hosts(self, member: Member, batch: tuple[Part, ...]) -> None:
        """Send ``px`` with the accepted virtual hosts and those of ``batch``."""
        tried = {part.node: part for part in batch}
        hosts: dict[AnyNode, Fragment] = {}
        for node, clusters in member.hosts.items():
            current = self._fragment(node)
            if current is not None and tried.get(node) == Part(node, current.version):
                hosts[node] = current
            elif (found := self._chosen(member, node, clusters)) is not None:
                hosts[node] = found
        composition = self._compose("px", hosts, tuple(batch))
        member.remember(composition)
        member.session.trial(types.ROUTE, [composition.resource])

    def promoted(self, member: Member, destination: AnyNode) -> bool:
        """Whether the sidecar has accepted a virtual host for this destination."""
        found = self.value(destination)
        if found is None:
            return False
        host = self._graph.node(found.fragment.query, *found.fragment.args)
        version = member.session.acked(types.ROUTE).get(PROXY_ROUTES, "")
        composition = member.compositions.get((PROXY_ROUTES, version))
        return composition is not None and any(part.node is host for part in composition.parts)

    def holds_host(self, member: Member, node: AnyNode) -> bool:
        """Whether the sidecar has accepted this virtual host as it is meant for it now."""
        current = self._chosen(member, node, member.hosts.get(node, ()))
        version = member.session.acked(types.ROUTE).get(PROXY_ROUTES, "")
        composition = member.compositions.get((PROXY_ROUTES, version))
        return (
            composition is not None
            and current is not None
            and Part(node, current.version) in composition.fragments
        )

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
        host = self._virtual_host(*node.args[:2])
        return fragment(broken_host(host)) if host is not None else None

    def _virtual_host(self, view: Any, target: Any) -> VirtualHost | None:
        """The IR behind a fragment (the arguments of `host_fragment`)."""
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
