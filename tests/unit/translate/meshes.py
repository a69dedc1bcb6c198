"""Small meshes for tests of translation: rows from short texts, and a graph that holds them."""

from collections.abc import Iterable
from itertools import count
from typing import Any

from controlplane.api.problem import Problem
from controlplane.graph import Graph
from controlplane.sources.manifests import load
from controlplane.translate.problems import problems
from controlplane.translate.scope import LEVEL, PortRef, Scope
from controlplane.world.intake import Taken
from controlplane.world.rows import Key
from controlplane.world.transaction import Delete, Put

CLUSTER = "default"
SCOPE = Scope("", "cluster.local", LEVEL)


def key(name: str, namespace: str = "shop") -> Key:
    return Key(CLUSTER, namespace, name)


def port(service: str, number: int = 80, namespace: str = "shop") -> PortRef:
    return PortRef(CLUSTER, namespace, service, number)


def rows(*manifests: dict[str, Any]) -> list[Taken]:
    loaded = load(list(manifests))
    assert loaded.problems == []
    return loaded.rows


def put(graph: Graph, *manifests: dict[str, Any]) -> None:
    graph.apply([Put(row.table, row.key, row.row) for row in rows(*manifests)])


def remove(graph: Graph, *manifests: dict[str, Any]) -> None:
    graph.apply([Delete(row.table, row.key) for row in rows(*manifests)])


def mesh(*manifests: dict[str, Any]) -> Graph:
    """A graph that refuses impure queries. Its clock counts calls, so that every run shows."""
    ticks = count()
    graph = Graph(audit=True, clock=lambda: float(next(ticks)))
    put(graph, *manifests)
    return graph


def found(graph: Graph, kind: str, name: str, namespace: str = "shop") -> tuple[Problem, ...]:
    return graph.read(problems, kind, key(name, namespace))


def meta(name: str, namespace: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, **more}


def pod(
    name: str,
    address: str,
    *,
    namespace: str = "shop",
    labels: dict[str, str] | None = None,
    account: str = "",
    sidecar: bool = True,
    ready: bool = True,
    deleting: bool = False,
    ports: Iterable[tuple[str, int]] = (("http", 8080),),
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A pod in proxy mode whose application listens on 127.9.x.y for 10.x.y.z, or a plain one."""
    own = {"mesh.plait.dev/app-address": "127.9" + address[address.index(".", 3) :]}
    metadata = meta(name, namespace, labels=labels or {"app": name})
    metadata["annotations"] = {**(own if sidecar else {}), **(annotations or {})}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    containers = [{"name": "app", "ports": [{"name": n, "containerPort": p} for n, p in ports]}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"serviceAccountName": account or name, "containers": containers},
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


def redirected(name: str, address: str, *more: str, **settings: Any) -> dict[str, Any]:
    """A pod in redirect mode; ``more`` are further addresses."""
    capture = {"mesh.plait.dev/capture": "redirect", **settings.pop("annotations", {})}
    made = pod(name, address, sidecar=False, annotations=capture, **settings)
    made["status"]["podIPs"] = [{"ip": each} for each in (address, *more)]
    return made


def service(
    name: str,
    *ports: dict[str, Any],
    namespace: str = "shop",
    selector: dict[str, str] | None = None,
    address: str = "",
    annotations: dict[str, str] | None = None,
    external: str = "",
) -> dict[str, Any]:
    """A Service of one HTTP port, 80 to 8080, unless ``ports`` say otherwise."""
    http = {"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "http"}
    spec: dict[str, Any] = {"ports": list(ports) or [http]}
    if external:
        spec = {"type": "ExternalName", "externalName": external, "ports": list(ports)}
    else:
        spec["selector"] = selector or {"app": name}
    if address:
        spec["clusterIP"] = address
    metadata = meta(name, namespace, annotations=annotations or {})
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def route(
    name: str,
    parent: str,
    *rules: dict[str, Any],
    namespace: str = "shop",
    parent_namespace: str = "",
    created: str = "",
) -> dict[str, Any]:
    reference = {"group": "", "kind": "Service", "name": parent}
    if parent_namespace:
        reference["namespace"] = parent_namespace
    metadata = meta(name, namespace, **({"creationTimestamp": created} if created else {}))
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {"parentRefs": [reference], "rules": list(rules)},
    }


def backend(name: str, weight: int = 1, number: int = 80) -> dict[str, Any]:
    return {"name": name, "port": number, "weight": weight}


def own(
    kind: str, name: str, spec: dict[str, Any], namespace: str = "shop", created: str = ""
) -> dict[str, Any]:
    """An object of group mesh.plait.dev."""
    metadata = meta(name, namespace, **({"creationTimestamp": created} if created else {}))
    return {
        "apiVersion": "mesh.plait.dev/v1alpha1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    }


def slice_of(
    service_name: str,
    *endpoints: dict[str, Any],
    name: str = "",
    number: int = 8080,
    family: str = "IPv4",
) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": service_name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta(name or f"{service_name}-1", "shop", labels=labels),
        "addressType": family,
        "ports": [{"name": "http", "port": number, "protocol": "TCP"}],
        "endpoints": list(endpoints),
    }


def endpoint(
    address: str,
    *,
    ready: bool = True,
    serving: bool | None = None,
    terminating: bool = False,
    target: str = "",
    zones: tuple[str, ...] = (),
) -> dict[str, Any]:
    conditions = {
        "ready": ready,
        "serving": ready if serving is None else serving,
        "terminating": terminating,
    }
    result: dict[str, Any] = {"addresses": [address], "conditions": conditions}
    if target:
        result["targetRef"] = {"kind": "Pod", "namespace": "shop", "name": target}
    if zones:
        result["hints"] = {"forZones": [{"name": zone} for zone in zones]}
    return result
