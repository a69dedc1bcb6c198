"""A pod as the control plane serves it: who it is, and which shared results it gets."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from controlplane.graph import Reader, query
from controlplane.translate import mesh
from controlplane.translate.instances import Instance, instance
from controlplane.translate.scope import LEVEL, Scope
from controlplane.world.rows import Key
from xds.names import spiffe_id


class Capture(StrEnum):
    """How a sidecar gets its application's traffic."""

    PROXY = "proxy"
    REDIRECT = "redirect"
    PROXYLESS = "proxyless"
    """There is no sidecar: the application's own gRPC library asks."""


PROXY_PORT: Final = 15080
PROXY_LOOP_PORT: Final = 15081
"""Proxy mode: ports of the HTTP proxy and of its loop, on the pod's address."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Everything here comes from our rows, never from what a node says about itself."""

    key: Key
    account: str
    owner: str
    network: str
    scope: Scope
    capture: Capture
    spiffe_id: str
    addresses: tuple[str, ...]
    app_address: str
    region: str
    zone: str
    meshed: bool

    @property
    def namespace(self) -> str:
        return self.key.namespace

    @property
    def pod(self) -> str:
        return self.key.name

    @property
    def address(self) -> str:
        """What the sidecar binds in proxy mode; empty until the pod has an address."""
        return self.addresses[0] if self.addresses else ""


@query
def workload(q: Reader, pod: Key) -> Workload | None:
    """The workload of a pod; None when there is no such pod, or it has ended."""
    found = instance(q, pod)
    return _workload(q, found) if found else None


def _workload(q: Reader, found: Instance) -> Workload:
    domain = mesh.trust_domain(q)
    return Workload(
        key=found.key,
        account=found.account,
        owner=found.owner,
        network=found.network,
        scope=Scope(found.network, domain, LEVEL),
        capture=_capture(found),
        spiffe_id=spiffe_id(domain, found.key.namespace, found.account),
        addresses=found.addresses,
        app_address=found.app_address,
        region=found.region,
        zone=found.zone,
        meshed=found.meshed,
    )


def _capture(found: Instance) -> Capture:
    if found.capture == Capture.PROXYLESS:
        return Capture.PROXYLESS
    return Capture.PROXY if found.app_address else Capture.REDIRECT
