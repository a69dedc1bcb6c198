"""What a gRPC application without a sidecar asks for: one target, its routes, clusters, endpoints.

A target is any authority of a Service port, best ``<service>.<namespace>.svc.<domain>:<port>``; its
listener and its routes carry that name. One that leads nowhere is answered too, with a text that
says why: gRPC would wait 15 s for a resource that is left out.
"""

from dataclasses import dataclass, replace

from controlplane.graph import Reader, query
from controlplane.translate import authority as authorities
from controlplane.translate import clusters, routes
from controlplane.translate.attached import view
from controlplane.translate.authority import Outside, Refused
from controlplane.translate.endpoints import endpoints, hinted_zone
from controlplane.translate.members import all_meshed
from controlplane.translate.mesh import PROXYLESS_DOMAIN
from controlplane.translate.protocols import Protocol
from controlplane.translate.scope import PortRef, Scope, Wanted
from controlplane.translate.services import find_service, protocol
from xds import types
from xds.build import proxyless as build
from xds.ir.route import Forward, Match, Redirect, Respond, Route
from xds.names import ClusterKind, parse_backend, refused_host, sni
from xds.wire.resource import Resource


@dataclass(frozen=True, slots=True)
class Target:
    """``reason`` is empty for a Service port, else why it is none."""

    target: PortRef | None
    reason: str
    needs: tuple[Wanted, ...]


@query
def target(
    q: Reader, namespace: str, name: str, scope: Scope, zone: str = "", secure: bool = False
) -> Target:
    """What ``xds:///name`` leads to for applications of a namespace. ``secure``: the client has
    certificates and will use them where every endpoint has a sidecar."""
    meaning = authorities.resolve(q, namespace, name)
    listener = Wanted(types.LISTENER, name, listener_of, (name,))
    if not isinstance(meaning, PortRef):
        reason = reason_of(meaning)
        table = Wanted(types.ROUTE, name, refused_table, (name, reason))
        return Target(None, reason, (*_refusal(reason), listener, table))
    seen = view(q, namespace, meaning)
    needs = [*_clusters(q, seen, meaning, scope, zone, secure)]
    for text in build.refusals(target_routes(q, seen, meaning)):
        needs.extend(_refusal(text))
    table = Wanted(types.ROUTE, name, table_of, (name, seen, meaning))
    return Target(meaning, "", (*needs, listener, table))


def reason_of(meaning: Outside | Refused) -> str:
    """Why a target is none. The clean form of a name needs no line breaks."""
    if isinstance(meaning, Outside):
        return (
            f"{meaning.host} is outside the mesh, where this application goes by itself: ask for "
            f"dns:///{meaning.host}:{meaning.port}"
        )
    return meaning.text


def _refusal(text: str) -> tuple[Wanted, Wanted]:
    name = refused_host(text)
    return (
        Wanted(types.CLUSTER, name, refused_cluster, (text,), name),
        Wanted(types.ENDPOINT, name, refused_assignment, (text,)),
    )


def _clusters(
    q: Reader, seen: str, ref: PortRef, scope: Scope, zone: str, secure: bool
) -> tuple[Wanted, ...]:
    wanted: list[Wanted] = []
    for ref_, kind in routes.upstreams(q, seen, ref):
        name = clusters.Upstream(ref_, kind).name
        if kind == "x":
            wanted.append(Wanted(types.CLUSTER, name, external_cluster, (ref_,)))
            continue
        load = ref_.backend(kind).endpoints
        wanted.append(
            Wanted(types.CLUSTER, name, service_cluster, (ref_, kind, scope, secure), load)
        )
        near = hinted_zone(q, ref_.key, zone)
        wanted.append(Wanted(types.ENDPOINT, load, assignment, (ref_, scope, near)))
    return tuple(wanted)


@query
def held_still(
    q: Reader, type_url: str, name: str, scope: Scope, zone: str, secure: bool
) -> Wanted | None:
    """The cluster or assignment of a Service port by its wire name; None for any other name.

    gRPC keeps using a cluster while calls on it last and until it has the ones that replace it,
    also over a reconnect; a response without it would make these calls fail.
    """
    backend = parse_backend(name if type_url == types.CLUSTER else f"h{name[1:]}")
    key = find_service(q, backend.namespace, backend.service) if backend else None
    if backend is None or key is None:
        return None
    ref = PortRef(key.cluster, key.namespace, key.name, backend.port)
    load = backend.endpoints
    if type_url == types.ENDPOINT and name == load:
        return Wanted(type_url, name, assignment, (ref, scope, hinted_zone(q, key, zone)))
    if type_url == types.CLUSTER and str(backend) == name:
        return Wanted(type_url, name, service_cluster, (ref, backend.kind, scope, secure), load)
    return None


@query
def target_routes(q: Reader, seen: str, ref: PortRef) -> tuple[Route, ...]:
    """The routes of a port that calls can match; what gRPC cannot do becomes a refusal."""
    found = routes.port_routes(q, seen, ref)
    return tuple(_answerable(route) for route in found if build.matches_calls(route))


def _answerable(route: Route) -> Route:
    action = route.action
    if isinstance(action, Redirect):
        text = f"route {route.name} redirects, and a gRPC call cannot follow"
        return Route(route.name, route.match, Respond(500, text), route.origin)
    if isinstance(action, Forward) and not any(each.weight for each in action.backends):
        text = f"route {route.name}: no backend has a weight"
        return Route(route.name, route.match, Respond(500, text), route.origin)
    return route


@query
def listener_of(q: Reader, name: str) -> Resource:
    return build.api_listener(name, name)


@query
def table_of(q: Reader, name: str, seen: str, ref: PortRef) -> Resource:
    return build.route_table(name, target_routes(q, seen, ref))


@query
def refused_table(q: Reader, name: str, text: str) -> Resource:
    return build.route_table(name, (Route("refused", Match(), Respond(503, text)),))


@query
def refused_cluster(q: Reader, text: str) -> Resource:
    return build.refused_cluster(text)


@query
def refused_assignment(q: Reader, text: str) -> Resource:
    return build.refused_assignment(text)


@query
def service_cluster(
    q: Reader, ref: PortRef, kind: ClusterKind, scope: Scope, secure: bool
) -> Resource | None:
    """Mutual TLS is a property of the cluster here, not of the endpoint: it needs a sidecar at
    every one, and a port that is declared HTTP/2, where sidecars expect it."""
    found = clusters.service_cluster(q, ref, kind, scope)
    if found is None:
        return None
    tls = None
    if found.tls and secure and protocol(q, ref) is Protocol.HTTP2 and all_meshed(q, ref.key):
        name = sni(ref.namespace, ref.service, ref.port, PROXYLESS_DOMAIN)
        tls = replace(found.tls, sni=name)
    return build.cluster(replace(found, tls=tls))


@query
def external_cluster(q: Reader, ref: PortRef) -> Resource | None:
    found = clusters.external_cluster(q, ref)
    return build.cluster(found) if found else None


@query
def assignment(q: Reader, ref: PortRef, scope: Scope, zone: str = "") -> Resource:
    """The load assignment ``e|...`` with localities as gRPC wants them."""
    return build.assignment(ref.backend("t").endpoints, endpoints(q, ref, scope, zone))
