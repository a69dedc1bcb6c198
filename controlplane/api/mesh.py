"""Kinds of group mesh.plait.dev/v1alpha1 that describe the mesh and its workloads."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from controlplane.api.base import Duration, Model, Selector, parse_duration


class OutsidePolicy(StrEnum):
    ALLOW = "Allow"
    REFUSE = "Refuse"


class CertificateSettings(Model):
    lifetime: Duration = Field(default_factory=lambda: parse_duration("1h"))
    """Lifetime of a workload certificate; renewed at half of it, with jitter."""
    max_connection_duration: Duration | None = None
    """Longest life of an inbound HTTP connection between sidecars. Default: the lifetime."""


class OnDemandSettings(Model):
    bucket: Duration = Field(default_factory=lambda: parse_duration("1m"))
    """Length of the time bucket in asked-for names; a dead name may be asked again after it."""


class MeshConfigSpec(Model):
    """Settings of the whole mesh. Only the object `default` in plait-system takes effect."""

    trust_domain: Annotated[str, Field(pattern=r"^[a-z0-9._-]{1,255}$")] = "cluster.local"
    """SPIFFE trust domain of the workloads."""
    cluster_domain: str = "cluster.local"
    """DNS domain of Services: <svc>.<ns>.svc.<clusterDomain>."""
    service_range: str = "240.0.0.0/16"
    """Files mode: addresses for Services that have no clusterIP."""
    mesh_ranges: tuple[str, ...] = ()
    """Address ranges of the mesh beside ServiceCIDR objects and Node podCIDRs."""
    outside: OutsidePolicy = OutsidePolicy.ALLOW
    """Whether sidecars may reach destinations outside the mesh."""
    certificates: CertificateSettings = Field(default_factory=CertificateSettings)
    on_demand: OnDemandSettings = Field(default_factory=OnDemandSettings)


class MutualTLSMode(StrEnum):
    PERMISSIVE = "Permissive"
    STRICT = "Strict"


class MutualTLSSpec(Model):
    """Whether inbound connections must be mTLS. Default: Permissive."""

    selector: Selector | None = None
    """Pods of this namespace; absent: the namespace; absent in plait-system: the mesh."""
    mode: MutualTLSMode = MutualTLSMode.PERMISSIVE
    """Strict refuses plain-text connections; Permissive accepts both."""
