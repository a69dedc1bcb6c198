"""The manifests of a bench's mesh: Services with their EndpointSlices, and pods with sidecars."""

import json
from collections.abc import Iterable
from pathlib import Path

NAMESPACE = "default"
PORT = 80
APP = 8080


def replace(path: Path, documents: Iterable[object]) -> None:
    """Write documents to a file, by rename. JSON is YAML, and cheap to read."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text("---\n".join(json.dumps(each) + "\n" for each in documents))
    beside.rename(path)


def _meta(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "namespace": NAMESPACE, **more}


def service(name: str) -> dict[str, object]:
    port = {"name": "http", "port": PORT, "targetPort": APP, "appProtocol": "http"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(name),
        "spec": {"ports": [port]},
    }


def endpoint_slice(service: str, addresses: Iterable[str]) -> dict[str, object]:
    """The one slice of a Service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _meta(f"{service}-1", labels={"kubernetes.io/service-name": service}),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": APP, "protocol": "TCP"}],
        "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
    }


def pod(name: str, address: str, owner: str) -> dict[str, object]:
    """A pod in proxy mode without ports of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _meta(
            name, labels={"app": owner}, annotations={"mesh.plait.dev/app-address": address}
        ),
        "spec": {"serviceAccountName": "client", "containers": [{"name": "app", "image": "app"}]},
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def route(service: str, timeout: int) -> dict[str, object]:
    """A route of a Service to itself with a request timeout in seconds."""
    rule = {
        "backendRefs": [{"name": service, "port": PORT}],
        "timeouts": {"request": f"{timeout}s"},
    }
    parent = {"group": "", "kind": "Service", "name": service}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _meta(service),
        "spec": {"parentRefs": [parent], "rules": [rule]},
    }


def mesh_config(bucket: str) -> dict[str, object]:
    """MeshConfig with the length of an on-demand bucket."""
    return {
        "apiVersion": "mesh.plait.dev/v1alpha1",
        "kind": "MeshConfig",
        "metadata": {"name": "default", "namespace": "plait-system"},
        "spec": {"onDemand": {"bucket": bucket}},
    }


def address(number: int) -> str:
    return f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"
