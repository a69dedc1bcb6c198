"""Endpoints and load assignments, as Plait means them; `xds.build` turns them into EDS."""

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """Health as EDS says it (envoy.config.core.v3.HealthStatus)."""

    HEALTHY = "healthy"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a backend. ``tls`` and ``identity`` come from the pod, never from a stream."""

    address: str
    port: int
    weight: int = 1
    health: Health = Health.HEALTHY
    region: str = ""
    zone: str = ""
    network: str = ""
    gateway: str = ""
    tls: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A load assignment: ``name`` is the EDS service name, endpoints in a deterministic order."""

    name: str
    endpoints: tuple[Endpoint, ...] = ()
