"""Root queries: what streams subscribe to. They give encoded resources and fragments.

`fixed` is what a sidecar always holds, `destination` what one authority leads to. Both name further
root queries with their arguments (`Wanted`, `Part`); nothing here depends on a stream.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from controlplane.graph import Reader, query
from controlplane.translate import authority as authorities
from controlplane.translate import clusters, hosts, inbound, mesh, outbound, routes
from controlplane.translate.attached import view
from controlplane.translate.authority import Dead, Outside, Refused
from controlplane.translate.endpoints import endpoints, hinted_zone
from controlplane.translate.forwards import forwards
from controlplane.translate.redirect_fixed import redirected
from controlplane.translate.scope import Part, PortRef, Scope, Wanted
from controlplane.translate.workloads import Capture, Workload, workload
from controlplane.world.rows import Key
from xds import names, types
from xds.build import clusters as build_clusters
from xds.build import endpoints as build_endpoints
from xds.build import listeners as build_listeners
from xds.build import routes as build_routes
from xds.ir.cluster import StaticCluster, UpstreamTls, Wire
from xds.names import ClusterKind
from xds.wire.resource import Resource

_NO_BUCKET: Final = timedelta(minutes=1)
"""For listeners that ask for nothing."""


@dataclass(frozen=True, slots=True)
class Destination:
    """What an authority leads to.

    ``fragment`` gives the virtual host for ``px`` and ``pxfc``; several authorities may share one,
    which must be joined once. ``reason`` is empty for a Service port, else why it is none.
    """

    target: PortRef | None
    reason: str
    fragment: Part
    needs: tuple[Wanted, ...] = ()


@query
def service_cluster(q: Reader, ref: PortRef, kind: ClusterKind, scope: Scope) -> Resource | None:
    found = clusters.service_cluster(q, ref, kind, scope)
    return build_clusters.cluster(found) if found else None


@query
def external_cluster(q: Reader, ref: PortRef) -> Resource | None:
    found = clusters.external_cluster(q, ref)
    return build_clusters.cluster(found) if found else None


@query
def outside_cluster(q: Reader, host: str, port: int) -> Resource | None:
    found = clusters.outside_cluster(q, host, port)
    return build_clusters.cluster(found) if found else None


@query
def assignment(q: Reader, ref: PortRef, scope: Scope, zone: str = "") -> Resource:
    """The load assignment ``e|...``: empty when the Service or the port is gone. ``zone`` is empty
    unless the Service's topology hints name it."""
    found = endpoints(q, ref, scope, zone)
    fragments = (build_endpoints.fragment(found),) if found else ()
    return build_endpoints.assignment(ref.backend("t").endpoints, fragments)


@query
def local_assignment(q: Reader) -> Resource:
    """The bootstrap's own ``local`` cluster: it must be answered, and has no endpoint."""
    return build_endpoints.assignment(names.LOCAL_CLUSTER, ())


@query
def black_hole(q: Reader, trust_domain: str) -> Resource:
    """A cluster without endpoints, for what leads nowhere.

    It names leaf and roots, so that every sidecar has both before it listens. A sidecar that got
    them only with its first destination would still wait for them when the held request goes on,
    and answer 503 (NC), because a cluster cannot be used before its secrets have come.
    """
    nobody = UpstreamTls(sni="", trust_domain=trust_domain, peers=())
    return build_clusters.cluster(StaticCluster(names.BLACK_HOLE, "", 0, Wire.TCP, tls=nobody))


@query
def proxy_listener(q: Reader, pod: Key) -> Resource | None:
    found = outbound.proxy_listener(q, pod)
    return build_listeners.listener(found, mesh.on_demand_bucket(q)) if found else None


@query
def loop_listener(q: Reader, pod: Key) -> Resource | None:
    found = outbound.loop_listener(q, pod)
    return build_listeners.listener(found, _NO_BUCKET) if found else None


@query
def forward_listener(q: Reader, pod: Key, name: str) -> Resource | None:
    found = outbound.forward_listener_ir(q, pod, name)
    return build_listeners.listener(found, _NO_BUCKET) if found else None


@query
def inbound_listener(q: Reader, pod: Key, port: int) -> Resource | None:
    found = inbound.inbound_listener_ir(q, pod, port)
    return build_listeners.listener(found, _NO_BUCKET) if found else None


@query
def inbound_cluster(q: Reader, pod: Key, port: int, wire: str) -> Resource | None:
    found = inbound.inbound_cluster_ir(q, pod, port, wire)
    return build_clusters.cluster(found) if found else None


@query
def host_fragment(q: Reader, view: str, target: PortRef | Outside | Dead, scope: Scope) -> bytes:
    """The virtual host of a destination for clients of a view, as a fragment; empty for a
    malformed authority, which can be no domain: its requests get a 404."""
    found = hosts.host_of(q, view, target)
    return build_routes.host_fragment(found) if found else b""


def needs(q: Reader, upstream: clusters.Upstream, scope: Scope, zone: str) -> tuple[Wanted, ...]:
    """The cluster of an upstream and, for an EDS cluster, its assignment."""
    ref, kind, name = upstream.ref, upstream.kind, upstream.name
    if kind == "x":
        return (Wanted(types.CLUSTER, name, external_cluster, (ref,)),)
    load = ref.backend(kind).endpoints
    args = (ref, scope, hinted_zone(q, ref.key, zone))
    return (
        Wanted(types.CLUSTER, name, service_cluster, (ref, kind, scope), load),
        Wanted(types.ENDPOINT, load, assignment, args),
    )


def once(wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
    return tuple({(w.type_url, w.name): w for w in wanted}.values())


@query
def destination(
    q: Reader, namespace: str, authority: str, scope: Scope, zone: str = ""
) -> Destination:
    """What an authority leads to for sidecars of a namespace. ``zone`` is the sidecar's, or empty;
    it reaches an assignment's key only where topology hints name it."""
    meaning = authorities.resolve(q, namespace, authority)
    if isinstance(meaning, Refused):
        # Authorities that differ in upper case are one virtual host.
        dead = Dead(namespace, authority.lower())
        return Destination(None, meaning.text, Part(host_fragment, ("", dead, scope)))
    if isinstance(meaning, Outside):
        part = Part(host_fragment, ("", meaning, scope))
        name = names.outside(meaning.host, meaning.port)
        cluster = Wanted(types.CLUSTER, name, outside_cluster, tuple(meaning))
        return Destination(None, f"{meaning.host} is outside the mesh", part, (cluster,))
    seen = view(q, namespace, meaning)
    wanted = [
        each
        for upstream in routes.upstreams(q, seen, meaning)
        for each in needs(q, upstream, scope, zone)
    ]
    return Destination(meaning, "", Part(host_fragment, (seen, meaning, scope)), once(wanted))


@query
def fixed(q: Reader, pod: Key) -> tuple[Wanted, ...]:
    """What the sidecar of a pod always holds, secrets and joined routes apart; ``()`` when there is
    no such pod, or it has no sidecar or no address."""
    found = workload(q, pod)
    if found is None or not found.meshed or not found.address:
        return ()
    wanted = [
        Wanted(types.CLUSTER, names.BLACK_HOLE, black_hole, (found.scope.trust_domain,)),
        Wanted(types.ENDPOINT, names.LOCAL_CLUSTER, local_assignment, ()),
    ]
    if found.capture is Capture.REDIRECT:
        return (*wanted, *redirected(q, found))
    wanted += [
        Wanted(types.LISTENER, names.PROXY, proxy_listener, (pod,)),
        Wanted(types.LISTENER, names.PROXY_LOOP, loop_listener, (pod,)),
    ]
    for port, protocol in inbound.inbound_ports(q, pod):
        for wire in inbound.app_wires(protocol):
            name = names.inbound_cluster(port, wire)
            wanted.append(Wanted(types.CLUSTER, name, inbound_cluster, (pod, port, wire)))
        name = names.inbound_listener(port)
        wanted.append(Wanted(types.LISTENER, name, inbound_listener, (pod, port)))
    for forward in forwards(q, pod):
        name = outbound.listener_name(forward)
        wanted.append(Wanted(types.LISTENER, name, forward_listener, (pod, name)))
        if forward.target:
            upstream = clusters.Upstream(forward.target, "t")
            wanted.extend(needs(q, upstream, found.scope, found.zone))
    return once(wanted)


__all__ = [
    "Destination",
    "Workload",
    "assignment",
    "black_hole",
    "destination",
    "external_cluster",
    "fixed",
    "forward_listener",
    "host_fragment",
    "inbound_cluster",
    "inbound_listener",
    "local_assignment",
    "loop_listener",
    "needs",
    "once",
    "outside_cluster",
    "proxy_listener",
    "service_cluster",
    "workload",
]
