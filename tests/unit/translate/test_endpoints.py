"""Endpoints: from slices or pods, health, identity, order; and what clusters make of the pods."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.translate.clusters import http_kind, service_cluster
from controlplane.translate.endpoints import endpoints, hinted_zone, zones_hinted
from controlplane.translate.members import accounts
from controlplane.translate.protocols import Protocol, protocol_of
from controlplane.translate.resources import assignment
from tests.unit.translate.meshes import (
    SCOPE,
    endpoint,
    key,
    mesh,
    pod,
    port,
    put,
    remove,
    service,
    slice_of,
)
from xds.ir.cluster import Wire
from xds.ir.endpoint import Endpoint, Health

A = "spiffe://cluster.local/ns/shop/sa/a"


def read(graph, name="a", zone=""):  # type: ignore[no-untyped-def]
    return graph.read(endpoints, port(name), SCOPE, zone)


def test_ready_pods_where_there_are_no_slices() -> None:
    graph = mesh(
        service("a"),
        pod("a-1", "10.0.0.1", labels={"app": "a"}, account="a"),
        pod("a-2", "10.0.0.2", labels={"app": "a"}, account="a", ready=False),
        pod("a-3", "10.0.0.3", labels={"app": "a"}, account="a", deleting=True),
        pod("a-4", "10.0.0.4", labels={"app": "a"}, account="old", sidecar=False),
        pod("b", "10.0.0.5"),
        pod("a-5", "10.0.0.6", labels={"app": "a"}, namespace="other"),
    )
    assert read(graph) == (
        Endpoint("10.0.0.1", 8080, tls=True, identity=A),
        Endpoint("10.0.0.3", 8080, health=Health.DRAINING, tls=True, identity=A),
        Endpoint("10.0.0.4", 8080),
    )


def test_slices_count_alone_where_there_are_any() -> None:
    graph = mesh(
        service("a"),
        pod("a", "10.0.0.1"),
        pod("a-2", "10.0.0.2", labels={"app": "a"}),
        slice_of("a", endpoint("10.0.0.1")),
    )
    assert [each.address for each in read(graph)] == ["10.0.0.1"]
    remove(graph, slice_of("a"))
    assert [each.address for each in read(graph)] == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize(
    ("ready", "serving", "terminating", "deleting", "expected"),
    [
        (True, True, False, False, Health.HEALTHY),
        (True, True, False, True, Health.DRAINING),
        (False, True, True, False, Health.DRAINING),
        (False, False, True, True, Health.DRAINING),
        (False, False, False, False, None),
        (False, False, False, True, None),
    ],
)
def test_health(
    ready: bool, serving: bool, terminating: bool, deleting: bool, expected: Health | None
) -> None:
    graph = mesh(
        service("a"),
        pod("a", "10.0.0.1", deleting=deleting),
        slice_of(
            "a",
            endpoint("10.0.0.1", ready=ready, serving=serving, terminating=terminating, target="a"),
        ),
    )
    found = read(graph)
    assert [each.health for each in found] == ([expected] if expected else [])


def test_identity_by_target_or_by_address_and_never_by_a_hosts_address() -> None:
    graph = mesh(
        service("a"),
        pod("a", "10.0.0.1"),
        slice_of("a", endpoint("10.0.0.1"), endpoint("10.0.0.9"), endpoint("10.0.0.1", target="x")),
    )
    assert read(graph) == (
        Endpoint("10.0.0.1", 8080, tls=True, identity=A),
        Endpoint("10.0.0.9", 8080),
    )


def test_a_reused_address_belongs_to_the_pod_that_stays() -> None:
    graph = mesh(
        service("a"),
        pod("a", "10.0.0.1", labels={"app": "a"}),
        pod("0-leaving", "10.0.0.1", deleting=True),
        slice_of("a", endpoint("10.0.0.1")),
    )
    assert read(graph)[0].identity == A


def test_a_service_or_port_that_is_gone_has_an_empty_assignment() -> None:
    graph = mesh(service("a"), pod("a", "10.0.0.1"))
    full = graph.read(assignment, port("a"), SCOPE, "")
    remove(graph, service("a"))
    empty = graph.read(assignment, port("a"), SCOPE, "")
    assert (empty.name, full.name) == ("e|shop|a|80",) * 2
    assert b"10.0.0.1" in full.entry
    assert b"10.0.0.1" not in empty.entry
    assert read(mesh(service("a")), "a") == ()


def test_topology_hints_make_a_variant_only_where_all_have_them() -> None:
    both = (
        endpoint("10.0.0.1", zones=("z1",)),
        endpoint("10.0.0.2", zones=("z2", "z1")),
    )
    graph = mesh(service("a"), slice_of("a", *both))
    assert graph.read(zones_hinted, key("a")) == ("z1", "z2")
    assert [each.address for each in read(graph, zone="z2")] == ["10.0.0.2"]
    assert [each.address for each in read(graph, zone="")] == ["10.0.0.1", "10.0.0.2"]
    mixed = mesh(service("a"), slice_of("a", *both, endpoint("10.0.0.3")))
    assert mixed.read(zones_hinted, key("a")) == ()


def test_a_zone_nobody_hints_is_not_in_a_key() -> None:
    graph = mesh(service("a"), slice_of("a", endpoint("10.0.0.1", zones=("z1",))))
    from controlplane.graph import Reader, query

    @query
    def folded(q: Reader, zone: str) -> str:
        return hinted_zone(q, key("a"), zone)

    assert graph.read(folded, "z1") == "z1"
    assert graph.read(folded, "z9") == ""
    assert graph.read(folded, "") == ""


@pytest.mark.parametrize(
    ("app_protocol", "name", "expected"),
    [
        ("http", "grpc", Protocol.HTTP),
        ("kubernetes.io/h2c", "", Protocol.HTTP2),
        ("kubernetes.io/ws", "", Protocol.HTTP),
        ("HTTPS", "", Protocol.TLS),
        ("mysql", "http", Protocol.TCP),
        ("example.com/own", "", Protocol.TCP),
        ("", "http", Protocol.HTTP),
        ("", "http-web", Protocol.HTTP),
        ("", "http2-api", Protocol.HTTP2),
        ("", "GRPC-web", Protocol.HTTP2),
        ("", "tcp-x", Protocol.TCP),
        ("", "httpx", Protocol.UNDECLARED),
        ("", "web", Protocol.UNDECLARED),
        ("", "", Protocol.UNDECLARED),
    ],
)
def test_protocols(app_protocol: str, name: str, expected: Protocol) -> None:
    assert protocol_of(app_protocol, name) is expected


GRPC = {"name": "grpc", "port": 80, "targetPort": 8080}
BARE = {"port": 80, "targetPort": 8080}


@pytest.mark.parametrize(
    ("declared", "sidecars", "kind", "wire"),
    [
        ([], (True, True), "h", Wire.HTTP2),
        ([], (True, False), "m", Wire.HTTP1),
        ([GRPC], (True, False), "h", Wire.HTTP2),
        ([BARE], (True, True), "h", Wire.HTTP2),
        ([BARE], (False, False), "m", Wire.HTTP1),
        ([], (), "h", Wire.HTTP2),
    ],
)
def test_what_is_spoken_on_the_wire(declared, sidecars, kind, wire) -> None:  # type: ignore[no-untyped-def]
    pods = [
        pod(f"a-{i}", f"10.0.0.{i + 1}", labels={"app": "a"}, sidecar=sidecar)
        for i, sidecar in enumerate(sidecars)
    ]
    graph = mesh(service("a", *declared), *pods)
    assert graph.read(http_kind, port("a")) == kind
    cluster = graph.read(service_cluster, port("a"), kind, SCOPE)
    assert cluster.wire is wire
    assert (cluster.tls is not None) == any(sidecars)


def test_a_cluster_knows_every_account_also_of_pods_that_are_not_ready() -> None:
    graph = mesh(
        service("a"),
        pod("a", "10.0.0.1"),
        pod("b", "10.0.0.2", labels={"app": "a"}, ready=False),
        pod("c", "10.0.0.3", labels={"app": "a"}, deleting=True),
        pod("d", "10.0.0.4", labels={"app": "a"}, sidecar=False),
    )
    before = graph.read(service_cluster, port("a"), "t", SCOPE)
    assert before is not None
    assert before.tls is not None
    assert [peer[-1] for peer in before.tls.peers] == ["a", "b", "c"]
    assert before.tls.alpn == ("plait-tcp",)
    assert before.tls.sni == "p80.a.shop.clusterset.local"
    put(graph, pod("b", "10.0.0.2", labels={"app": "a"}, ready=True))
    assert graph.read(service_cluster, port("a"), "t", SCOPE) is before
    remove(graph, pod("c", "10.0.0.3"))
    assert graph.read(accounts, key("a")) == (("shop", "a"), ("shop", "b"))


@settings(deadline=None)
@given(st.permutations([1, 2, 3, 4, 5]), st.integers(1, 4))
def test_the_order_of_slices_and_endpoints_says_nothing(order: list[int], cut: int) -> None:
    made = [endpoint(f"10.0.0.{i}", ready=i != 3, terminating=i == 3) for i in order]
    graph = mesh(
        service("a"), slice_of("a", *made[:cut], name="x"), slice_of("a", *made[cut:], name="y")
    )
    plain = mesh(service("a"), slice_of("a", *sorted(made, key=lambda e: e["addresses"])))
    assert read(graph) == read(plain)
