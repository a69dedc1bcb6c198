"""The mesh's settings in effect, and one projection per setting.

Every other query reads a projection: a change of one setting re-runs what reads that one.
"""

from datetime import timedelta
from ipaddress import ip_network
from typing import Final

from controlplane.api.mesh import MeshConfigSpec, OnDemandSettings, OutsidePolicy
from controlplane.graph import Reader, query
from controlplane.world.schema import MESH_CONFIGS_BY_NAME, ROOT_NAMESPACE

MESH_CONFIG: Final = "default"
"""Name of the one MeshConfig that takes effect, in the root namespace."""

CLUSTER_SET_DOMAIN: Final = "clusterset.local"
"""DNS domain of the cluster set (KEP-1645); SNI is the same whatever a cluster's own domain is."""

PROXYLESS_DOMAIN: Final = f"proxyless.{CLUSTER_SET_DOMAIN}"
"""Domain of the SNI that gRPC's own client sends. It offers ALPN h2, as the application's own
clients do: the name alone tells that it means the sidecar."""

_DEFAULTS: Final = MeshConfigSpec()


@query
def mesh_config(q: Reader) -> MeshConfigSpec:
    """The MeshConfig ``plait-system/default``; every setting has a default without it."""
    rows = q.find(MESH_CONFIGS_BY_NAME, (ROOT_NAMESPACE, MESH_CONFIG))
    return rows[0].spec if rows else _DEFAULTS


@query
def trust_domain(q: Reader) -> str:
    return mesh_config(q).trust_domain


@query
def cluster_domain(q: Reader) -> str:
    """DNS domain of Services, lower case, without dots at its ends."""
    return mesh_config(q).cluster_domain.strip(".").lower()


@query
def may_leave(q: Reader) -> bool:
    """Whether sidecars may reach destinations outside the mesh."""
    return mesh_config(q).outside is OutsidePolicy.ALLOW


@query
def mesh_ranges(q: Reader) -> tuple[str, ...]:
    """CIDR texts of the mesh's own addresses, given in MeshConfig; those that are none left out."""
    config = mesh_config(q)
    return tuple(text for text in (*config.mesh_ranges, config.service_range) if is_range(text))


def is_range(text: str) -> bool:
    """Whether a text is an address range such as 10.0.0.0/8."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


@query
def on_demand_bucket(q: Reader) -> timedelta:
    """Length of the time bucket in asked-for names."""
    return mesh_config(q).on_demand.bucket


@query
def on_demand_settings(q: Reader) -> OnDemandSettings:
    """When destinations leave a sidecar again; read by no resource."""
    return mesh_config(q).on_demand


@query
def connection_lifetime(q: Reader) -> timedelta:
    """Longest life of an inbound HTTP connection: certificates bind new handshakes only."""
    certificates = mesh_config(q).certificates
    return certificates.max_connection_duration or certificates.lifetime
