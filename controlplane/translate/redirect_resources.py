"""Redirect mode: root queries of what single destinations need: listeners, routes, clusters.

Keys hold what bytes depend on and no more: an account's pods share one cluster, a Service port one
route table, and a promoted listener is a pure function of its address and where it leads.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from controlplane.graph import Reader, query
from controlplane.translate import clusters, redirect_promoted
from controlplane.translate.redirect_pods import PodKind, Pods, pods_cluster
from controlplane.translate.redirect_promoted import Lead, Place, contact_host, listener_of
from controlplane.translate.scope import PortRef, Scope
from xds import names
from xds.build import clusters as build_clusters
from xds.build import listeners as build_listeners
from xds.build import routes as build_routes
from xds.ir.cluster import EdsCluster, OriginalDstCluster
from xds.wire.resource import Resource

_NO_BUCKET: Final = timedelta(minutes=1)
"""For listeners that ask for nothing."""


@query
def contact_fragment(q: Reader, seen: str, place: Place) -> bytes:
    """The virtual host of a destination in first contact, for `join_first_contact`."""
    return build_routes.host_fragment(contact_host(q, seen, place))


@query
def route_table(q: Reader, seen: str, place: Place, name: str) -> Resource:
    return build_routes.route_table(redirect_promoted.place_table(q, seen, place, name))


@query
def promoted_listener(q: Reader, address: str, port: int, lead: Lead) -> Resource:
    return build_listeners.listener(listener_of(address, port, lead), _NO_BUCKET)


@query
def cluster_of_pods(q: Reader, pods: Pods, kind: PodKind, scope: Scope) -> Resource:
    return build_clusters.cluster(pods_cluster(q, pods, kind, scope))


@query
def tcp_backend(
    q: Reader, backend: PortRef | Pods, scope: Scope, virtual: bool
) -> EdsCluster | OriginalDstCluster | None:
    """The cluster of TCP connections; ``virtual``: to a Service by its virtual address."""
    if virtual and isinstance(backend, PortRef):
        return clusters.service_cluster(q, backend, "t", scope)
    return pods_cluster(q, backend, "t", scope)


@query
def detected_cluster(
    q: Reader, address: str, port: int, backend: PortRef | Pods, scope: Scope, virtual: bool
) -> Resource | None:
    """The cluster ``d|IP:port``, where `detect` sends what is not HTTP. Counts together with the
    backend's own cluster."""
    found = tcp_backend(q, backend, scope, virtual)
    if found is None:
        return None
    name = names.detected(address, port)
    return build_clusters.cluster(replace(found, name=name, stat_name=found.name))
