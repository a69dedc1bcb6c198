"""Rows of the world: slim, frozen, hashable. What no query reads is not in a row.

Keys carry the cluster from the first day (`Key`), so that a peer's objects are rows like others.
High-volume kinds have rows of their own; the rest is an `Object` round its pydantic spec.
"""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from controlplane.api.base import Meta
from controlplane.api.policy import TrafficShiftStatus

S = TypeVar("S")


class Key(NamedTuple):
    """(cluster, namespace, name); namespace is empty for cluster-scoped kinds."""

    cluster: str
    namespace: str
    name: str


Labels = tuple[tuple[str, str], ...]
"""Sorted (key, value) pairs."""


@dataclass(frozen=True, slots=True)
class Object(Generic[S]):
    """An object whose spec is a frozen pydantic model (routes and the mesh's own kinds)."""

    key: Key
    meta: Meta
    spec: S
    status: TrafficShiftStatus | None = None
    """Only where translation reads a status: TrafficShift."""


@dataclass(frozen=True, slots=True)
class Namespace:
    key: Key
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class ServicePort:
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""
    target: str = ""
    """targetPort: a number or a container port's name; empty means ``port``."""


@dataclass(frozen=True, slots=True)
class Service:
    key: Key
    type: str = "ClusterIP"
    cluster_ips: tuple[str, ...] = ()
    """Empty: none assigned. ``("None",)``: headless."""
    external_name: str = ""
    ports: tuple[ServicePort, ...] = ()
    selector: Labels = ()
    labels: Labels = ()
    annotations: Labels = ()
    created: str = ""


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    addresses: tuple[str, ...]
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zone: str = ""
    node: str = ""
    target: str = ""
    """``namespace/name`` of the pod (targetRef), or empty."""
    hint_zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SlicePort:
    port: int
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str = ""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    key: Key
    service: str
    """Label kubernetes.io/service-name."""
    address_type: str
    endpoints: tuple[SliceEndpoint, ...]
    ports: tuple[SlicePort, ...]


@dataclass(frozen=True, slots=True)
class ContainerPort:
    port: int
    name: str = ""
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class Pod:
    key: Key
    uid: str = ""
    addresses: tuple[str, ...] = ()
    """status.podIPs, or status.podIP."""
    account: str = "default"
    node: str = ""
    labels: Labels = ()
    annotations: Labels = ()
    """Only keys under mesh.plait.dev/."""
    ports: tuple[ContainerPort, ...] = ()
    owner: str = ""
    """Workload owner by decisions: controller owner (a ReplicaSet's without its hash), else label
    app.kubernetes.io/name, app, else the pod's name."""
    sidecar: bool = False
    """Has the injected container plait-proxy, or annotation mesh.plait.dev/app-address, or
    mesh.plait.dev/capture: redirect."""
    ready: bool = True
    deleting: bool = False
    host_network: bool = False
    phase: str = ""
