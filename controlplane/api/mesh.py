"""Kinds of group mesh.plait.dev/v1alpha1 that describe the mesh and its workloads."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from controlplane.api.base import Duration, Model, Selector, parse_duration, rule, rules

Domain = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
AddressRange = Annotated[
    str, Field(min_length=1, max_length=43, pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")
]
"""CIDR notation, IPv4 or IPv6."""


class OutsidePolicy(StrEnum):
    ALLOW = "Allow"
    REFUSE = "Refuse"


class CertificateSettings(Model):
    """Certificates of workloads."""

    model_config = rules(
        rule(
            "!has(self.lifetime) || duration(self.lifetime) >= duration('1m')",
            "a certificate's lifetime is below one minute. Use 1m or more; the default is 1h",
            ".lifetime",
        ),
        rule(
            "!has(self.maxConnectionDuration)"
            " || duration(self.maxConnectionDuration) >= duration('1s')",
            "a connection's longest life is below one second. Use 1s or more",
            ".maxConnectionDuration",
        ),
    )

    lifetime: Duration = Field(default_factory=lambda: parse_duration("1h"))
    """Lifetime of a workload certificate; renewed at half of it, with jitter. Default: 1h."""
    max_connection_duration: Duration | None = None
    """Longest life of an inbound HTTP connection between sidecars. Default: the lifetime."""


class OnDemandSettings(Model):
    """Destinations that sidecars ask for when they are first used."""

    model_config = rules(
        rule(
            "!has(self.bucket) || duration(self.bucket) >= duration('1s')",
            "a time bucket is shorter than one second. Use 1s or more; the default is 1m",
            ".bucket",
        ),
        rule(
            "!has(self.idle) || duration(self.idle) >= duration('1s')",
            "destinations would count as idle at once. Use 1s or more; the default is 30m",
            ".idle",
        ),
        rule(
            "(has(self.floor) ? self.floor : 10) <= (has(self.ceiling) ? self.ceiling : 500)",
            "the floor is above the ceiling. Keep floor (default 10) at most at ceiling"
            " (default 500)",
            ".floor",
        ),
    )

    bucket: Duration = Field(default_factory=lambda: parse_duration("1m"))
    """Length of the time bucket in asked-for names; a dead name may be asked again after it.
    Default: 1m."""
    idle: Duration = Field(default_factory=lambda: parse_duration("30m"))
    """How long a sidecar keeps a destination that it does not use; open connections are use.
    Default: 30m."""
    floor: Annotated[int, Field(ge=0, le=2000)] = 10
    """So many destinations a sidecar keeps, however long they are idle. Default: 10."""
    ceiling: Annotated[int, Field(ge=1, le=2000)] = 500
    """Above so many destinations the least recently used leave a sidecar. Default: 500."""


class MeshConfigSpec(Model):
    """Settings of the whole mesh. Only the object `default` in plait-system takes effect."""

    trust_domain: Annotated[
        str, Field(min_length=1, max_length=255, pattern=r"^[a-z0-9._-]{1,255}$")
    ] = "cluster.local"
    """SPIFFE trust domain of the workloads. Default: cluster.local."""
    cluster_domain: Domain = "cluster.local"
    """DNS domain of Services: <svc>.<ns>.svc.<clusterDomain>. Default: cluster.local."""
    service_range: AddressRange = "240.0.0.0/16"
    """Files mode: addresses for Services that have no clusterIP. Default: 240.0.0.0/16."""
    mesh_ranges: Annotated[tuple[AddressRange, ...], Field(max_length=64)] = ()
    """Address ranges of the mesh beside ServiceCIDR objects and Node podCIDRs."""
    outside: OutsidePolicy = OutsidePolicy.ALLOW
    """Whether sidecars may reach destinations outside the mesh. Default: Allow."""
    certificates: CertificateSettings = Field(default_factory=CertificateSettings)
    """Certificates of workloads."""
    on_demand: OnDemandSettings = Field(default_factory=OnDemandSettings)
    """Destinations that sidecars ask for when they are first used."""


class MutualTLSMode(StrEnum):
    PERMISSIVE = "Permissive"
    STRICT = "Strict"


class MutualTLSSpec(Model):
    """Whether inbound connections must be mTLS. Default: Permissive."""

    selector: Selector | None = None
    """Pods of this namespace; absent: the namespace; absent in plait-system: the mesh."""
    mode: MutualTLSMode = MutualTLSMode.PERMISSIVE
    """Strict refuses plain-text connections; Permissive accepts both. Default: Permissive."""
