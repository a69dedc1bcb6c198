"""Clusters of Service ports: which kind carries what, and with whom mTLS is spoken.

``h``: HTTP/2 on the wire, when every pod has a sidecar or the port is declared HTTP/2. ``m``:
HTTP/1.1 on the wire, when some pod has no sidecar and may not know HTTP/2. ``t``: TCP and TLS.
``x``: a host outside the mesh, by DNS.
"""

from typing import Final, Literal, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate import mesh
from controlplane.translate.members import accounts, all_meshed
from controlplane.translate.policies import traffic_policy
from controlplane.translate.protocols import Protocol
from controlplane.translate.scope import PortRef, Scope
from controlplane.translate.services import external_host, protocol
from controlplane.world.rows import Key
from xds.ir.cluster import DnsCluster, EdsCluster, UpstreamTls, Wire
from xds.names import ClusterKind, external, outside, sni, spiffe_id

TCP_ALPN: Final = "plait-tcp"
Kind = Literal["h", "m", "t", "x"]
_WIRES: Final = {"h": Wire.HTTP2, "m": Wire.HTTP1, "t": Wire.TCP}


class Upstream(NamedTuple):
    """A Service port and the kind of cluster that carries a request to it."""

    ref: PortRef
    kind: Kind

    @property
    def name(self) -> str:
        if self.kind == "x":
            return external(self.ref.namespace, self.ref.service, self.ref.port)
        return str(self.ref.backend(self.kind))


@query
def http_kind(q: Reader, ref: PortRef) -> Kind | None:
    """The kind that carries HTTP to a port; None when there is no such port or it is TCP or TLS."""
    declared = protocol(q, ref)
    if declared is None or not declared.http:
        return None
    if external_host(q, ref.key):
        return "x"
    return "h" if declared is Protocol.HTTP2 or all_meshed(q, ref.key) else "m"


@query
def peers(q: Reader, key: Key, domain: str) -> tuple[str, ...]:
    """SPIFFE ids that the pods of a Service may present, sorted."""
    return tuple(spiffe_id(domain, *account) for account in accounts(q, key))


@query
def service_cluster(q: Reader, ref: PortRef, kind: ClusterKind, scope: Scope) -> EdsCluster | None:
    """The cluster of a Service port; None when the port is gone or the Service is external."""
    if protocol(q, ref) is None or external_host(q, ref.key):
        return None
    ids = peers(q, ref.key, scope.trust_domain)
    name = ref.backend(kind)
    upstream_tls = UpstreamTls(
        sni=sni(ref.namespace, ref.service, ref.port, mesh.CLUSTER_SET_DOMAIN),
        trust_domain=scope.trust_domain,
        peers=ids,
        alpn=(TCP_ALPN,) if kind == "t" else (),
    )
    return EdsCluster(
        name=str(name),
        endpoints=name.endpoints,
        wire=_WIRES[kind],
        tls=upstream_tls if ids else None,
        balancing=traffic_policy.balancing(q, ref),
        breakers=traffic_policy.breakers(q, ref),
        outliers=traffic_policy.outliers(q, ref),
        connection=traffic_policy.connection(q, ref),
    )


@query
def external_cluster(q: Reader, ref: PortRef) -> DnsCluster | None:
    """The cluster of an ExternalName Service; None when it is no longer one."""
    host = external_host(q, ref.key)
    if not host:
        return None
    name = external(ref.namespace, ref.service, ref.port)
    wire = Wire.HTTP2 if protocol(q, ref) is Protocol.HTTP2 else Wire.HTTP1
    return DnsCluster(name, host, ref.port, wire, traffic_policy.connection(q, ref))


@query
def outside_cluster(q: Reader, host: str, port: int) -> DnsCluster | None:
    """The cluster of a host that no object names; None while the mesh may not be left."""
    if not mesh.may_leave(q):
        return None
    return DnsCluster(outside(host, port), host, port, Wire.AS_CLIENT)
