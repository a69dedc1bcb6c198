"""The tables and indexes of Plait's world: one row type each, keys and buckets as named here."""

from controlplane.api.gateway import HTTPRouteSpec
from controlplane.api.mesh import MeshConfigSpec, MutualTLSSpec
from controlplane.api.policy import RoutePolicySpec, TrafficPolicySpec, TrafficShiftSpec
from controlplane.world.rows import (
    EndpointSlice,
    Key,
    Labels,
    Namespace,
    Object,
    Pod,
    Service,
)
from controlplane.world.tables import Index, Table

NAMESPACES: Table[Key, Namespace] = Table("Namespace")
SERVICES: Table[Key, Service] = Table("Service")
ENDPOINT_SLICES: Table[Key, EndpointSlice] = Table("EndpointSlice")
PODS: Table[Key, Pod] = Table("Pod")
HTTP_ROUTES: Table[Key, Object[HTTPRouteSpec]] = Table("HTTPRoute")
MESH_CONFIGS: Table[Key, Object[MeshConfigSpec]] = Table("MeshConfig")
MUTUAL_TLS: Table[Key, Object[MutualTLSSpec]] = Table("MutualTLS")
TRAFFIC_POLICIES: Table[Key, Object[TrafficPolicySpec]] = Table("TrafficPolicy")
ROUTE_POLICIES: Table[Key, Object[RoutePolicySpec]] = Table("RoutePolicy")
TRAFFIC_SHIFTS: Table[Key, Object[TrafficShiftSpec]] = Table("TrafficShift")

TABLES = {
    table.name: table
    for table in (
        NAMESPACES,
        SERVICES,
        ENDPOINT_SLICES,
        PODS,
        HTTP_ROUTES,
        MESH_CONFIGS,
        MUTUAL_TLS,
        TRAFFIC_POLICIES,
        ROUTE_POLICIES,
        TRAFFIC_SHIFTS,
    )
}
"""Tables by Kubernetes kind."""


MESH_BUCKET: tuple[str, ...] = ("*",)
"""Bucket of what applies to the whole mesh; no namespace can have this name."""


def selector_bucket(namespace: str, pairs: Labels) -> tuple[str, ...]:
    """The one bucket of a conjunction of labels: (namespace, key, value) of the pair preferred by
    the policy alone (app.kubernetes.io/name, app, then the first by name), or (namespace,)."""
    if not pairs:
        return (namespace,)
    by_key = dict(pairs)
    for preferred in ("app.kubernetes.io/name", "app"):
        if preferred in by_key:
            return (namespace, preferred, by_key[preferred])
    key, value = min(pairs)
    return (namespace, key, value)


def label_buckets(namespace: str, labels: Labels) -> tuple[tuple[str, ...], ...]:
    """Every bucket in which a selector that matches ``labels`` may stand."""
    return ((namespace,), *((namespace, key, value) for key, value in labels))


SLICES_OF = Index(
    "endpoint slices of service",
    ENDPOINT_SLICES,
    lambda row: ((row.key.cluster, row.key.namespace, row.service),),
)
SLICES_BY_ADDRESS = Index(
    "endpoint slices by address",
    ENDPOINT_SLICES,
    lambda row: tuple(address for each in row.endpoints for address in each.addresses),
)
"""For connections to an endpoint's own address."""
PODS_BY_ADDRESS = Index("pods by address", PODS, lambda row: row.addresses)
PODS_BY_LABEL = Index(
    "pods by label", PODS, lambda row: label_buckets(row.key.namespace, row.labels)
)
SERVICES_BY_NAME = Index(
    "services by name", SERVICES, lambda row: ((row.key.namespace, row.key.name),)
)
"""Namespace sameness: the same (namespace, name) of all clusters, the local one among them."""
SERVICES_BY_NAMESPACE = Index(
    "services by namespace", SERVICES, lambda row: ((row.key.namespace,),)
)
"""For the nearest name in an error text; no hot query reads it."""
MESH_CONFIGS_BY_NAME = Index(
    "mesh configs by name", MESH_CONFIGS, lambda row: ((row.key.namespace, row.key.name),)
)
SERVICES_BY_ADDRESS = Index("services by address", SERVICES, lambda row: row.cluster_ips)
SERVICES_BY_SELECTOR = Index(
    "services by selector",
    SERVICES,
    lambda row: (selector_bucket(row.key.namespace, row.selector),) if row.selector else (),
)
ROUTES_BY_PARENT = Index(
    "routes by parent",
    HTTP_ROUTES,
    lambda row: tuple(
        {
            (parent.namespace or row.key.namespace, parent.name)
            for parent in row.spec.parent_refs
            if parent.kind == "Service"
        }
    ),
)
SHIFTS_BY_TARGET = Index(
    "traffic shifts by target",
    TRAFFIC_SHIFTS,
    lambda row: ((row.key.namespace, row.spec.target_ref.name),),
)


def _policy_buckets(
    row: Object[TrafficPolicySpec] | Object[RoutePolicySpec],
) -> tuple[tuple[str, ...], ...]:
    if row.spec.target_refs:
        return tuple({(row.key.namespace, ref.kind, ref.name) for ref in row.spec.target_refs})
    return (MESH_BUCKET,) if row.key.namespace == ROOT_NAMESPACE else ((row.key.namespace,),)


ROOT_NAMESPACE = "plait-system"
TRAFFIC_POLICIES_BY_TARGET = Index("traffic policies by target", TRAFFIC_POLICIES, _policy_buckets)
ROUTE_POLICIES_BY_TARGET = Index("route policies by target", ROUTE_POLICIES, _policy_buckets)
MUTUAL_TLS_BY_SELECTOR = Index(
    "mutual tls by selector",
    MUTUAL_TLS,
    lambda row: (
        (selector_bucket(row.key.namespace, tuple(sorted(row.spec.selector.match_labels.items()))))
        if row.spec.selector and row.spec.selector.match_labels
        else (MESH_BUCKET if row.key.namespace == ROOT_NAMESPACE else (row.key.namespace,)),
    ),
)
