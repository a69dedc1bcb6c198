"""Redirect mode: what stands behind ``IP:port`` when the address is no Service's.

Clients of headless Services and of StatefulSets dial pods. What is spoken there, and whose routes
and policies count, comes from the Service that leads to this port: a headless one before others,
because its clients dial nothing else. Where no Service does, the container port's name decides.
"""

from typing import Literal, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate import mesh, redirect
from controlplane.translate.clusters import TCP_ALPN, peers
from controlplane.translate.endpoints import target_port
from controlplane.translate.inbound import declared_ports, services_of
from controlplane.translate.instances import labels_of, member, pod_at
from controlplane.translate.policies import traffic_policy
from controlplane.translate.protocols import Protocol
from controlplane.translate.scope import PortRef, Scope
from controlplane.translate.services import protocol, shape
from controlplane.world.rows import Key
from controlplane.world.schema import SLICES_BY_ADDRESS
from xds.ir.cluster import OriginalDstCluster, UpstreamTls, Wire
from xds.names import PASSTHROUGH, account_pods, service_pods, sni, spiffe_id


class Account(NamedTuple):
    """A service account, whose pods share a cluster."""

    namespace: str
    name: str


class Plain(NamedTuple):
    """Whatever has no sidecar."""


PodKind = Literal["h", "t"]
"""HTTP, or TCP and TLS."""

Pods = PortRef | Account | Plain
"""Whose pods an address belongs to: those of a headless Service's port, else of an account."""


class Target(NamedTuple):
    """``pod`` is None for an endpoint that is no pod of the mesh."""

    pod: Key | None
    pods: Pods
    protocol: Protocol
    headless: PortRef | None
    """The headless Service port whose routes decide."""


@query
def target_at(q: Reader, address: str, port: int) -> Target | None:
    """What an address and port lead to; None when neither a pod nor an endpoint is there."""
    pod = pod_at(q, address)
    if pod is None:
        return _endpoint(q, address, port)
    found = member(q, pod)
    if found is None:
        return None
    refs = services_to(q, pod, port) or listed(q, address, port)
    headless = _headless(q, refs)
    declared = protocol(q, headless) if headless else None
    if declared is None:
        ports = {each.port: each.protocol for each in declared_ports(q, pod)}
        declared = ports.get(port) or _declared(q, refs) or Protocol.TCP
    pods: Pods = headless or Account(found.namespace, found.account)
    return Target(pod, pods if found.meshed else Plain(), declared, headless)


@query
def services_to(q: Reader, pod: Key, port: int) -> tuple[PortRef, ...]:
    """Service ports that lead to a port of a pod by the Service's selector, sorted."""
    labels = labels_of(q, pod)
    if labels is None:
        return ()
    found = set()
    for key in services_of(q, pod.cluster, pod.namespace, labels):
        service = shape(q, key)
        for each in service.ports if service else ():
            if target_port(q, pod, each.target, each.port) == port:
                found.add(PortRef(*key, each.port))
    return tuple(sorted(found))


@query
def listed(q: Reader, address: str, port: int) -> tuple[PortRef, ...]:
    """Service ports with an endpoint at an address and port, by their EndpointSlices, sorted."""
    found = set()
    for row in q.find(SLICES_BY_ADDRESS, address):
        key = Key(row.key.cluster, row.key.namespace, row.service)
        service = shape(q, key)
        numbers = {each.name for each in row.ports if each.port == port}
        for each in service.ports if service else ():
            if each.name in numbers:
                found.add(PortRef(*key, each.port))
    return tuple(sorted(found))


def _endpoint(q: Reader, address: str, port: int) -> Target | None:
    refs = listed(q, address, port)
    if not refs:
        return None
    headless = _headless(q, refs)
    declared = _declared(q, (headless,) if headless else refs)
    return Target(None, Plain(), declared or Protocol.TCP, headless)


def _headless(q: Reader, refs: tuple[PortRef, ...]) -> PortRef | None:
    for ref in refs:
        service = shape(q, ref.key)
        if service and not service.addresses and not service.external_name:
            return ref
    return None


def _declared(q: Reader, refs: tuple[PortRef, ...]) -> Protocol | None:
    found = [each for ref in refs if (each := protocol(q, ref)) is not None]
    return min(found, key=lambda each: each is Protocol.UNDECLARED, default=None)


def pods_name(pods: Pods, kind: PodKind) -> str:
    """Name of the cluster of a kind."""
    match pods:
        case PortRef():
            return service_pods(pods.namespace, pods.service, pods.port, kind)
        case Account():
            return account_pods(pods.namespace, pods.name, kind)
        case _:
            return PASSTHROUGH


@query
def pods_cluster(q: Reader, pods: Pods, kind: PodKind, scope: Scope) -> OriginalDstCluster:
    """The cluster of pods that are dialled by address. A reused address fails its check of names
    instead of reaching a stranger."""
    wire = Wire.HTTP2 if kind == "h" else Wire.TCP
    name, alpn = pods_name(pods, kind), () if kind == "h" else (TCP_ALPN,)
    match pods:
        case PortRef():
            server = sni(pods.namespace, pods.service, pods.port, mesh.CLUSTER_SET_DOMAIN)
            accepted = peers(q, pods.key, scope.trust_domain)
            return OriginalDstCluster(
                name,
                wire,
                UpstreamTls(server, scope.trust_domain, accepted, alpn),
                breakers=traffic_policy.breakers(q, pods),
                connection=traffic_policy.connection(q, pods),
            )
        case Account():
            who = spiffe_id(scope.trust_domain, pods.namespace, pods.name)
            return OriginalDstCluster(name, wire, UpstreamTls("", scope.trust_domain, (who,), alpn))
        case _:
            return redirect.passthrough_cluster()
