"""Redirect mode: what a connection to ``IP:port`` that was asked for leads to.

`contact` is what a stream subscribes to for each destination. It names what the sidecar must hold
for it, the listener of the promoted destination last, and how the name that was asked for is
answered: that name differs with every question, so `answer` makes its cluster.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate import clusters, mesh, routes
from controlplane.translate.attached import view
from controlplane.translate.clusters import Upstream
from controlplane.translate.protocols import Protocol
from controlplane.translate.redirect import DETECT_PORT, LOOP_PORT, in_mesh, passthrough_cluster
from controlplane.translate.redirect_pods import (
    Plain,
    PodKind,
    Pods,
    Target,
    pods_cluster,
    pods_name,
    target_at,
)
from controlplane.translate.redirect_promoted import (
    NOWHERE,
    Lead,
    PodPlace,
    addresses_of_port,
    contact_host,
)
from controlplane.translate.redirect_resources import (
    cluster_of_pods,
    contact_fragment,
    detected_cluster,
    promoted_listener,
    route_table,
)
from controlplane.translate.resources import needs, once
from controlplane.translate.scope import Part, PortRef, Scope, Wanted
from controlplane.translate.services import port_numbers, protocol, service_at
from controlplane.world.rows import Key
from xds import names, types
from xds.build import clusters as build_clusters
from xds.ir.cluster import EdsCluster, OriginalDstCluster
from xds.wire.resource import Resource

Kind = Literal["http", "tcp", "undeclared", "nothing", "outside"]


class Loop(NamedTuple):
    """Answer: the listener ``loop`` or ``detect``, which decides by the route table ``fc``."""

    port: int


class Backend(NamedTuple):
    """Answer: the backend itself under the name asked for."""

    cluster: EdsCluster | OriginalDstCluster

    @property
    def endpoints(self) -> str:
        """Name of its load assignment; empty where there is none."""
        return self.cluster.endpoints if isinstance(self.cluster, EdsCluster) else ""


class Nothing(NamedTuple):
    """Answer: a cluster without endpoints; the connection is closed."""


Answer = Loop | Backend | Nothing


@dataclass(frozen=True, slots=True)
class Contact:
    """What a destination is.

    ``http``: routed by the table of its virtual host. ``tcp``: also TLS. ``undeclared``: each
    connection shows what it is. ``nothing``: closed, for ``reason``. ``outside``: not of the mesh,
    passed through and never promoted.
    """

    kind: Kind
    answer: Answer
    reason: str = ""
    target: PortRef | None = None
    """The Service port: of a virtual address, or the headless one of a pod that was dialled."""
    pod: Key | None = None
    """The pod, where its own address was dialled."""
    fragment: Part | None = None
    """Gives the virtual host for ``fc``. Several addresses may share one, which must be joined
    once; `contact_host` with the same arguments gives it in the IR."""
    needs: tuple[Wanted, ...] = ()
    """Clusters, assignments, the route table, the promoted listener: in this order."""
    direct: Backend | None = None
    """A pod: the answer that serves without promotion, whatever the connection speaks."""


def answer(found: Contact, name: str) -> Resource:
    """The cluster that answers the name that was asked for."""
    match found.answer:
        case Loop(port):
            return build_clusters.asked_loop(name, port)
        case Backend(cluster):
            return build_clusters.asked_backend(name, cluster)
        case _:
            return build_clusters.asked_nothing(name)


@query
def contact(
    q: Reader, namespace: str, address: str, port: int, scope: Scope, zone: str = ""
) -> Contact:
    """What connections to ``address``:``port`` lead to, for sidecars of a namespace. ``zone`` is
    the sidecar's, or empty; it reaches an assignment's key only where topology hints name it."""
    try:
        address = str(ip_address(address))
    except ValueError:
        return Contact("nothing", Nothing(), f"{address!r} is no address")
    key = service_at(q, address)
    if key is not None:
        return _service(q, namespace, address, PortRef(*key, port), scope, zone)
    where = names.socket_address(address, port)
    found = target_at(q, address, port)
    if found is not None:
        return _pod(q, namespace, PodAsked(address, port, found), scope, zone)
    if in_mesh(q, address):
        return _nothing(address, port, f"no Service, pod or endpoint is at {where}")
    if mesh.may_leave(q):
        reason = f"{address} is outside the mesh's ranges"
        return Contact("outside", Backend(passthrough_cluster()), reason)
    return Contact("nothing", Nothing(), f"{address} is outside the mesh, which may not be left")


def _nothing(address: str, port: int, reason: str, target: PortRef | None = None) -> Contact:
    """Promoted too, to a listener that closes: retries ask nothing."""
    listener = _listener(address, port, NOWHERE)
    return Contact("nothing", Nothing(), reason, target, needs=(listener,))


def _listener(address: str, port: int, lead: Lead) -> Wanted:
    name = names.promoted_listener(address, port)
    return Wanted(types.LISTENER, name, promoted_listener, (address, port, lead))


# --- Services by virtual address -----------------------------------------------------------------


def _service(
    q: Reader, namespace: str, address: str, ref: PortRef, scope: Scope, zone: str
) -> Contact:
    declared, port = protocol(q, ref), ref.port
    if declared is None:
        listed = ", ".join(map(str, port_numbers(q, ref.key))) or "none"
        reason = f"Service {ref.namespace}/{ref.service} has no port {port}; its ports: {listed}"
        return _nothing(address, port, reason)
    tcp = Upstream(ref, "t")
    wanted: list[Wanted] = []
    lead, fragment, reply = Lead(), None, _looped(declared)
    if declared.http:
        seen, table = view(q, namespace, ref), names.routes(ref.namespace, ref.service, port)
        for upstream in routes.upstreams(q, seen, ref):
            wanted += needs(q, upstream, scope, zone)
        lead, fragment = Lead(table=table), Part(contact_fragment, (seen, ref))
    if declared is Protocol.UNDECLARED or not declared.http:
        wanted += needs(q, tcp, scope, zone)
        lead = lead._replace(tcp=tcp.name)
    if not declared.http:
        backend = clusters.service_cluster(q, ref, "t", scope)
        reply = Backend(backend) if backend else Nothing()
    if declared is Protocol.UNDECLARED:
        args = (address, port, ref, scope, True)
        name, load = names.detected(address, port), ref.backend("t").endpoints
        wanted.append(Wanted(types.CLUSTER, name, detected_cluster, args, load))
    if lead.table:
        wanted.append(Wanted(types.ROUTE, lead.table, route_table, (seen, ref, lead.table)))
    wanted.append(_listener(address, port, lead))
    return Contact(_kind(declared), reply, "", ref, fragment=fragment, needs=once(wanted))


def _looped(declared: Protocol) -> Answer:
    return Loop(DETECT_PORT if declared is Protocol.UNDECLARED else LOOP_PORT)


def _kind(declared: Protocol) -> Kind:
    if declared is Protocol.UNDECLARED:
        return "undeclared"
    return "http" if declared.http else "tcp"


# --- pods and other endpoints by their own address -----------------------------------------------


class PodAsked(NamedTuple):
    address: str
    port: int
    found: Target


def _pod(q: Reader, namespace: str, at: PodAsked, scope: Scope, zone: str) -> Contact:
    address, port, (pod, pods, declared, headless) = at
    http, tcp = pods_name(pods, "h"), pods_name(pods, "t")
    wanted: list[Wanted] = []
    direct = Backend(pods_cluster(q, pods, "t", scope))
    lead, fragment = Lead(), None
    if declared.http:
        place = PodPlace(address, port, http, headless)
        seen = view(q, namespace, headless) if headless else ""
        fragment = Part(contact_fragment, (seen, place))
        wanted += _pod_clusters(pods, "h", scope)
        lead = Lead(http=http)
        if headless:
            wanted += _others(q, seen, headless, scope, zone)
            table = _table(headless, pods)
            lead = Lead(table=table)
            shared = place._replace(address="", port=0)
            routed = Wanted(types.ROUTE, table, route_table, (seen, shared, table))
    if declared is Protocol.UNDECLARED or not declared.http:
        wanted += _pod_clusters(pods, "t", scope)
        lead = lead._replace(tcp=tcp)
    if declared is Protocol.UNDECLARED:
        args = (address, port, pods, scope, False)
        name = names.detected(address, port)
        wanted.append(Wanted(types.CLUSTER, name, detected_cluster, args))
    if lead.table:
        wanted.append(routed)
    wanted.append(_listener(address, port, lead))
    reply = _looped(declared) if declared.http else direct
    return Contact(_kind(declared), reply, "", headless, pod, fragment, once(wanted), direct)


def _table(ref: PortRef, pods: Pods) -> str:
    name = names.plain_routes if isinstance(pods, Plain) else names.routes
    return name(ref.namespace, ref.service, ref.port)


def _pod_clusters(pods: Pods, kind: PodKind, scope: Scope) -> tuple[Wanted, ...]:
    """The shared cluster of an account or a headless Service; `Plain` has one that all hold."""
    if isinstance(pods, Plain):
        return ()
    name = pods_name(pods, kind)
    return (Wanted(types.CLUSTER, name, cluster_of_pods, (pods, kind, scope)),)


def _others(q: Reader, seen: str, ref: PortRef, scope: Scope, zone: str) -> list[Wanted]:
    """Other Services to which the routes of a headless one lead."""
    return [
        each
        for upstream in routes.upstreams(q, seen, ref)
        if upstream.ref != ref
        for each in needs(q, upstream, scope, zone)
    ]


__all__ = [
    "Answer",
    "Backend",
    "Contact",
    "Loop",
    "Nothing",
    "addresses_of_port",
    "answer",
    "contact",
    "contact_fragment",
    "contact_host",
]
