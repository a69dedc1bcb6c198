"""Manifests as a user writes them, made of few words. Everything lives in namespace ``shop``."""

from collections.abc import Mapping, Sequence
from typing import Any

NAMESPACE = "shop"
API = "mesh.plait.dev/v1alpha1"
TRUST_DOMAIN = "mesh.example"

Document = dict[str, Any]


def spiffe(account: str) -> str:
    """The SPIFFE id of an account."""
    return f"spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/{account}"


def metadata(name: str, **more: Any) -> Document:
    return {"name": name, "namespace": NAMESPACE, **more}


def mesh_config(**spec: Any) -> Document:
    """The MeshConfig, with buckets of a second and this module's trust domain."""
    return {
        "apiVersion": API,
        "kind": "MeshConfig",
        "metadata": {"name": "default", "namespace": "plait-system"},
        "spec": {"trustDomain": TRUST_DOMAIN, "onDemand": {"bucket": "1s"}, **spec},
    }


def pod(
    name: str,
    address: str,
    app_address: str = "",
    *,
    ports: Mapping[str, int] | None = None,
    labels: Mapping[str, str] | None = None,
    account: str = "",
    forwards: str = "",
    ready: bool = True,
    deleting: bool = False,
) -> Document:
    """A running pod. Without ``app_address`` it has no sidecar."""
    annotations = {}
    if app_address:
        annotations["mesh.plait.dev/app-address"] = app_address
    if forwards:
        annotations["mesh.plait.dev/tcp-forwards"] = forwards
    more = {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(
            name, labels=dict(labels or {"app": name}), annotations=annotations, **more
        ),
        "spec": {
            "serviceAccountName": account or name,
            "containers": [
                {
                    "name": "app",
                    "image": "app",
                    "ports": [
                        {"name": port, "containerPort": number}
                        for port, number in (ports or {}).items()
                    ],
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def service(
    name: str, ports: Sequence[tuple[int, str, str]], selector: Mapping[str, str] | None = None
) -> Document:
    """``ports``: (number, name of the target port, appProtocol or empty)."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name),
        "spec": {
            "selector": dict(selector or {"app": name}),
            "ports": [
                {
                    "name": target,
                    "port": number,
                    "targetPort": target,
                    **({"appProtocol": protocol} if protocol else {}),
                }
                for number, target, protocol in ports
            ],
        },
    }


def mutual_tls(name: str, mode: str, selector: Mapping[str, str] | None = None) -> Document:
    spec: Document = {"mode": mode}
    if selector:
        spec["selector"] = {"matchLabels": dict(selector)}
    return {"apiVersion": API, "kind": "MutualTLS", "metadata": metadata(name), "spec": spec}


def policy(kind: str, name: str, **spec: Any) -> Document:
    """A TrafficPolicy or RoutePolicy on the Service ``name``."""
    targets = [{"kind": "Service", "name": name}]
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": metadata(name),
        "spec": {"targetRefs": targets, **spec},
    }


def route(name: str, parent: str, *rules: Document) -> Document:
    """An HTTPRoute on the Service ``parent``."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(name),
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": parent}], "rules": rules},
    }


def to(*backends: tuple[str, int], port: int = 80) -> list[Document]:
    """backendRefs: (Service, weight)."""
    return [{"name": name, "port": port, "weight": weight} for name, weight in backends]
