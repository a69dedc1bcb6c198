"""Pods as `Instance`: a workload's running copy. Other queries never see a Pod.

Two projections stop a pod's noise: `instance` (labels and annotations that nobody reads, uid,
phase) and `member` (readiness too), which clusters read.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate.addresses import is_address
from controlplane.world.rows import ContainerPort, Key, Labels, Pod
from controlplane.world.schema import PODS, PODS_BY_ADDRESS

APP_ADDRESS: Final = "mesh.plait.dev/app-address"
CAPTURE: Final = "mesh.plait.dev/capture"
TCP_FORWARDS: Final = "mesh.plait.dev/tcp-forwards"
EXCLUSIONS: Final = "mesh.plait.dev/exclude-"
_ZONE: Final = "topology.kubernetes.io/zone"
_REGION: Final = "topology.kubernetes.io/region"
_ENDED: Final = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Instance:
    key: Key
    addresses: tuple[str, ...]
    account: str
    owner: str
    labels: Labels
    ports: tuple[ContainerPort, ...]
    zone: str
    region: str
    network: str
    meshed: bool
    """Has a sidecar: taken from the pod itself, never from a connected stream."""
    ready: bool
    leaving: bool
    """Is being deleted; still serves."""
    app_address: str
    """Proxy mode: where the application listens; empty in redirect mode."""
    forwards: str
    """Proxy mode: the text of the declared TCP forwards."""
    capture: str = ""
    """What the pod's annotation says; empty: it follows from the rest."""
    exclusions: Labels = ()
    """Annotations that take something out of redirection."""


class Member(NamedTuple):
    """What a cluster reads of a pod: it changes when the pod comes, moves account, or goes."""

    namespace: str
    account: str
    meshed: bool


def _instance(pod: Pod) -> Instance | None:
    if pod.phase in _ENDED:
        return None
    labels, annotations = dict(pod.labels), dict(pod.annotations)
    return Instance(
        key=pod.key,
        addresses=tuple(each for each in pod.addresses if is_address(each)),
        account=pod.account,
        owner=pod.owner or pod.key.name,
        labels=pod.labels,
        ports=tuple(port for port in pod.ports if port.protocol == "TCP"),
        zone=labels.get(_ZONE, ""),
        region=labels.get(_REGION, ""),
        network="",
        meshed=pod.sidecar and not pod.host_network,
        ready=pod.ready,
        leaving=pod.deleting,
        app_address=annotations.get(APP_ADDRESS, ""),
        forwards=annotations.get(TCP_FORWARDS, ""),
        capture=annotations.get(CAPTURE, ""),
        exclusions=tuple(each for each in pod.annotations if each[0].startswith(EXCLUSIONS)),
    )


@query
def instance(q: Reader, key: Key) -> Instance | None:
    """The instance of a pod; None when it is gone or has ended."""
    pod = q.get(PODS, key)
    return _instance(pod) if pod else None


@query
def member(q: Reader, key: Key) -> Member | None:
    found = instance(q, key)
    return Member(key.namespace, found.account, found.meshed) if found else None


@query
def pod_at(q: Reader, address: str) -> Key | None:
    """The pod that owns an address. Pods on the host's network share the node's: they own none.

    An address may be reused while its last owner is still listed: one that stays wins.
    """
    owners = [
        pod
        for pod in q.find(PODS_BY_ADDRESS, address)
        if pod.phase not in _ENDED and not pod.host_network
    ]
    best = min(owners, key=lambda pod: (pod.deleting, pod.key), default=None)
    return best.key if best else None


@query
def labels_of(q: Reader, key: Key) -> Labels | None:
    """A pod's labels; None when it is gone."""
    found = instance(q, key)
    return found.labels if found else None


@query
def addresses_of(q: Reader, key: Key) -> tuple[str, ...]:
    found = instance(q, key)
    return found.addresses if found else ()
