"""Rows from objects: defaults filled in, noise left out."""

from typing import Any

import pytest
import yaml

from controlplane.sources.manifests import load
from controlplane.world.rows import (
    ContainerPort,
    EndpointSlice,
    Key,
    Pod,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
)


def row(text: str) -> Any:
    loaded = load(text)
    assert loaded.problems == []
    [taken] = loaded.rows
    assert taken.table.name == yaml.safe_load(text)["kind"]
    assert taken.key == taken.row.key
    return taken.row


def test_a_service() -> None:
    found = row(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  creationTimestamp: 2026-01-01\n"
        "  labels: {z: '1', app: a}\n  annotations: {mesh.plait.dev/x: v, other.dev/x: v}\n"
        "spec:\n  clusterIPs: [10.0.0.1, 'fd00::1']\n  selector: {app: a}\n  ports:\n"
        "  - {port: 80}\n"
        "  - {port: 81, name: g, protocol: TCP, appProtocol: grpc, targetPort: web}\n"
    )
    assert found == Service(
        Key("default", "default", "a"),
        cluster_ips=("10.0.0.1", "fd00::1"),
        ports=(ServicePort(80), ServicePort(81, "g", "TCP", "grpc", "web")),
        selector=(("app", "a"),),
        labels=(("app", "a"), ("z", "1")),
        annotations=(("mesh.plait.dev/x", "v"),),
        created="2026-01-01",
    )


def test_a_headless_and_an_external_service() -> None:
    head = "apiVersion: v1\nkind: Service\nmetadata: {name: a, namespace: shop}\n"
    assert row(head + "spec: {clusterIP: None}").cluster_ips == ("None",)
    found = row(head + "spec: {type: ExternalName, externalName: example.org}")
    assert (found.type, found.external_name) == ("ExternalName", "example.org")


def test_an_endpoint_slice() -> None:
    found = row(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
        "metadata: {name: a-1, namespace: shop, labels: {kubernetes.io/service-name: a}}\n"
        "addressType: IPv4\nports: [{port: 80, name: h}, {name: all}]\nendpoints:\n"
        "- {addresses: [10.0.0.1], targetRef: {kind: Pod, name: p}}\n"
        "- {addresses: [10.0.0.2], conditions: {ready: false, terminating: true}}\n"
        "- {addresses: [10.0.0.3], conditions: {ready: false, serving: true}, zone: z,"
        " nodeName: k, hints: {forZones: [{name: x}, {name: z}]}}\n"
    )
    assert found == EndpointSlice(
        Key("default", "shop", "a-1"),
        service="a",
        address_type="IPv4",
        endpoints=(
            SliceEndpoint(("10.0.0.1",), target="shop/p"),
            SliceEndpoint(("10.0.0.2",), ready=False, serving=False, terminating=True),
            SliceEndpoint(("10.0.0.3",), ready=False, zone="z", node="k", hint_zones=("x", "z")),
        ),
        ports=(SlicePort(80, "h"),),
    )


def pod(meta: str = "", spec: str = "", status: str = "") -> Pod:
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p-1, namespace: shop, {meta}}}\n"
    found = row(text + f"spec: {{{spec}}}\nstatus: {{{status}}}\n")
    assert isinstance(found, Pod)
    return found


def test_a_pod() -> None:
    found = pod(
        "uid: u, labels: {app: a}, annotations: {mesh.plait.dev/x: v, z: z}",
        "serviceAccountName: sa, nodeName: k, hostNetwork: true,"
        "containers: [{name: app, ports: [{containerPort: 80, name: h}]}]",
        "podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], phase: Running",
    )
    assert found == Pod(
        Key("default", "shop", "p-1"),
        uid="u",
        addresses=("10.0.0.1", "fd00::1"),
        account="sa",
        node="k",
        labels=(("app", "a"),),
        annotations=(("mesh.plait.dev/x", "v"),),
        ports=(ContainerPort(80, "h"),),
        owner="a",
        host_network=True,
        phase="Running",
    )


@pytest.mark.parametrize(
    ("meta", "owner"),
    [
        ("", "p-1"),
        ("labels: {app: a}", "a"),
        ("labels: {app: a, app.kubernetes.io/name: b}", "b"),
        ("ownerReferences: [{kind: StatefulSet, name: s, controller: true}]", "s"),
        ("labels: {app: a}, ownerReferences: [{kind: Thing, name: s}]", "a"),
        (
            "labels: {app: a, pod-template-hash: 5d6f}, "
            "ownerReferences: [{kind: ReplicaSet, name: web-5d6f, controller: true}]",
            "web",
        ),
        ("ownerReferences: [{kind: ReplicaSet, name: web-5d6f, controller: true}]", "web-5d6f"),
    ],
)
def test_the_owner(meta: str, owner: str) -> None:
    assert pod(meta).owner == owner


@pytest.mark.parametrize(
    ("meta", "spec", "sidecar"),
    [
        ("", "containers: [{name: app}]", False),
        ("", "containers: [{name: app}, {name: plait-proxy}]", True),
        ("", "initContainers: [{name: plait-proxy, restartPolicy: Always}]", True),
        ("", "initContainers: [{name: plait-init}]", False),
        ("annotations: {mesh.plait.dev/app-address: 127.0.0.2}", "", True),
    ],
)
def test_the_sidecar(meta: str, spec: str, sidecar: bool) -> None:
    assert pod(meta, spec).sidecar is sidecar


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ("", True),
        ("phase: Running", True),
        ("phase: Pending", False),
        ("phase: Succeeded", False),
        ("conditions: [{type: Ready, status: 'False'}]", False),
        ("phase: Pending, conditions: [{type: Other, status: x}, {type: Ready, status: 'True'}]",
         True),
    ],
)  # fmt: skip
def test_readiness(status: str, ready: bool) -> None:
    assert pod(status=status).ready is ready


def test_ports_of_containers_that_stay() -> None:
    found = pod(
        spec="initContainers: [{name: once, ports: [{containerPort: 1}]},"
        " {name: side, restartPolicy: Always, ports: [{containerPort: 2}]},"
        " {name: plait-proxy, restartPolicy: Always, ports: [{containerPort: 3}]}],"
        " containers: [{name: app, ports: [{containerPort: 4, protocol: UDP}]}]"
    )
    assert found.ports == (ContainerPort(4, "", "UDP"), ContainerPort(2))


def test_an_object_with_a_spec() -> None:
    found = row(
        "apiVersion: mesh.plait.dev/v1alpha1\nkind: TrafficShift\n"
        "metadata: {name: a, namespace: shop, uid: u, generation: 3, deletionTimestamp: x,"
        " creationTimestamp: t, labels: {b: c}, annotations: {mesh.plait.dev/x: v, z: z}}\n"
        "spec: {targetRef: {name: a}, weights: [{name: a, weight: 1}]}\n"
        "status: {weights: [{name: a, weight: 2}]}\n"
    )
    assert found.meta.model_dump() == {
        "name": "a",
        "namespace": "shop",
        "uid": "u",
        "generation": 3,
        "labels": (("b", "c"),),
        "annotations": (("mesh.plait.dev/x", "v"),),
        "created": "t",
        "deleting": True,
    }
    assert found.spec.weights[0].weight == 1
    assert found.status.weights[0].weight == 2
