"""From a decoded object to the row that queries read: defaults filled in, noise left out."""

from ipaddress import IPv6Address
from typing import Any, NamedTuple

from controlplane.api import core
from controlplane.api.base import GROUP, Meta
from controlplane.api.decode import Decoded
from controlplane.api.objects import TrafficShiftBody
from controlplane.world import rows
from controlplane.world.rows import Key, Labels, Object
from controlplane.world.schema import TABLES
from controlplane.world.tables import Table

SERVICE_NAME = "kubernetes.io/service-name"
TEMPLATE_HASH = "pod-template-hash"
PROXY_CONTAINER = "plait-proxy"
APP_ADDRESS = f"{GROUP}/app-address"
CAPTURE = f"{GROUP}/capture"
REDIRECT = "redirect"
"""Value of `CAPTURE`: the pod's traffic is redirected to a sidecar that was started by hand."""


class Taken(NamedTuple):
    """A row and the place in the world that it belongs to."""

    table: Table[Key, Any]
    key: Key
    row: Any


def take(decoded: Decoded, cluster: str = "default") -> Taken:
    """The row of a valid object."""
    key = Key(cluster, decoded.ref.namespace, decoded.ref.name)
    return Taken(TABLES[decoded.kind.kind], key, _row(decoded, key))


def _row(decoded: Decoded, key: Key) -> Any:
    meta, body = decoded.meta, decoded.body
    match body:
        case core.NamespaceBody():
            return rows.Namespace(key, pairs(meta.labels))
        case core.ServiceBody():
            return _service(key, meta, body.spec)
        case core.EndpointSliceBody():
            return _slice(key, meta, body)
        case core.PodBody():
            return _pod(key, meta, body)
        case TrafficShiftBody():
            return Object(key, _meta(decoded), body.spec, body.status)
    spec: Any = body
    return Object(key, _meta(decoded), spec.spec)


def pairs(mapping: dict[str, str] | None) -> Labels:
    """Sorted pairs."""
    return tuple(sorted((mapping or {}).items()))


def usual(address: str) -> str:
    """An IPv6 address in the one form in which Envoy and everything here writes it; any other text
    as it is."""
    if ":" not in address:
        return address
    try:
        return str(IPv6Address(address))
    except ValueError:
        return address


def own_annotations(meta: core.ObjectMeta) -> Labels:
    """Only what is addressed to Plait: others' annotations change often and mean nothing here."""
    prefix = f"{GROUP}/"
    return tuple(pair for pair in pairs(meta.annotations) if pair[0].startswith(prefix))


def _meta(decoded: Decoded) -> Meta:
    meta = decoded.meta
    return Meta(
        name=decoded.ref.name,
        namespace=decoded.ref.namespace,
        uid=meta.uid or "",
        generation=meta.generation or 0,
        labels=pairs(meta.labels),
        annotations=own_annotations(meta),
        created=meta.creation_timestamp or "",
        deleting=meta.deletion_timestamp is not None,
    )


def _service(key: Key, meta: core.ObjectMeta, spec: core.ServiceSpec) -> rows.Service:
    return rows.Service(
        key=key,
        type=spec.type or "ClusterIP",
        cluster_ips=tuple(usual(each) for each in spec.cluster_ips or (spec.cluster_ip,) if each),
        external_name=spec.external_name or "",
        ports=tuple(
            rows.ServicePort(
                port=port.port,
                name=port.name or "",
                protocol=port.protocol or "TCP",
                app_protocol=port.app_protocol or "",
                target="" if port.target_port in (None, 0, "") else str(port.target_port),
            )
            for port in spec.ports or ()
        ),
        selector=pairs(spec.selector),
        labels=pairs(meta.labels),
        annotations=own_annotations(meta),
        created=meta.creation_timestamp or "",
    )


def _slice(key: Key, meta: core.ObjectMeta, body: core.EndpointSliceBody) -> rows.EndpointSlice:
    return rows.EndpointSlice(
        key=key,
        service=(meta.labels or {}).get(SERVICE_NAME, ""),
        address_type=body.address_type,
        endpoints=tuple(_endpoint(endpoint, key.namespace) for endpoint in body.endpoints or ()),
        ports=tuple(
            rows.SlicePort(
                port=port.port,
                name=port.name or "",
                protocol=port.protocol or "TCP",
                app_protocol=port.app_protocol or "",
            )
            for port in body.ports or ()
            if port.port is not None
        ),
    )


def _endpoint(endpoint: core.SliceEndpoint, namespace: str) -> rows.SliceEndpoint:
    """Unknown conditions count as the API prescribes: ready, serving, not terminating."""
    conditions = endpoint.conditions or core.EndpointConditions()
    target = endpoint.target_ref
    ready = conditions.ready is not False
    return rows.SliceEndpoint(
        addresses=tuple(usual(address) for address in endpoint.addresses),
        ready=ready,
        serving=ready if conditions.serving is None else conditions.serving,
        terminating=bool(conditions.terminating),
        zone=endpoint.zone or "",
        node=endpoint.node_name or "",
        target=(
            f"{target.namespace or namespace}/{target.name}"
            if target and target.name and target.kind == "Pod"
            else ""
        ),
        hint_zones=tuple(
            zone.name for zone in ((endpoint.hints and endpoint.hints.for_zones) or ())
        ),
    )


def _pod(key: Key, meta: core.ObjectMeta, body: core.PodBody) -> rows.Pod:
    spec, status = body.spec, body.status or core.PodStatus()
    annotations = own_annotations(meta)
    native = tuple(c for c in spec.init_containers or () if c.restart_policy == "Always")
    listed = tuple(usual(address.ip) for address in status.pod_ips or ())
    return rows.Pod(
        key=key,
        uid=meta.uid or "",
        addresses=listed or ((usual(status.pod_ip),) if status.pod_ip else ()),
        account=spec.service_account_name or "default",
        node=spec.node_name or "",
        labels=pairs(meta.labels),
        annotations=annotations,
        ports=tuple(
            rows.ContainerPort(port.container_port, port.name or "", port.protocol or "TCP")
            for container in (*spec.containers, *native)
            if container.name != PROXY_CONTAINER
            for port in container.ports or ()
        ),
        owner=owner(meta),
        sidecar=any(c.name == PROXY_CONTAINER for c in (*spec.containers, *native))
        or any(
            name == APP_ADDRESS or (name, value) == (CAPTURE, REDIRECT)
            for name, value in annotations
        ),
        ready=_ready(status),
        deleting=meta.deletion_timestamp is not None,
        host_network=bool(spec.host_network),
        phase=status.phase or "",
    )


def _ready(status: core.PodStatus) -> bool:
    """The Ready condition; without one (files) a pod is ready unless its phase says otherwise."""
    for condition in status.conditions or ():
        if condition.type == "Ready":
            return condition.status == "True"
    return status.phase not in ("Pending", "Succeeded", "Failed")


def owner(meta: core.ObjectMeta) -> str:
    """The workload that a pod belongs to, which replicas share and a rollout does not change.

    The controller owner, a ReplicaSet's without its template hash; else the label
    app.kubernetes.io/name, then app, then the pod's own name.
    """
    labels = meta.labels or {}
    for reference in meta.owner_references or ():
        if reference.controller:
            if reference.kind == "ReplicaSet" and TEMPLATE_HASH in labels:
                return reference.name.removesuffix(f"-{labels[TEMPLATE_HASH]}")
            return reference.name
    return labels.get("app.kubernetes.io/name") or labels.get("app") or meta.name
