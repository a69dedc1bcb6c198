"""Who wins among policies, and what is merged."""

from datetime import timedelta
from typing import Any

import pytest

from controlplane.graph import Graph
from controlplane.translate.policies.mutual_tls import mutual_tls_source, strict
from controlplane.translate.policies.route_policy import fault, request_settings, retry
from controlplane.translate.policies.traffic_policy import (
    balancing,
    breakers,
    connection,
    hash_on,
    outliers,
    traffic_sources,
)
from controlplane.translate.policies.traffic_shift import Share, counterpart, shift_in_effect
from tests.unit.translate.meshes import backend, found, key, mesh, own, pod, port, route, service
from xds.ir.cluster import CircuitBreakers, Hashed, LeastRequest, OutlierDetection, RoundRobin
from xds.ir.route import Abort, Delay, Fault, HashOn, Retry


def limits(**values: int) -> dict[str, Any]:
    return {"circuitBreakers": values}


def on(name: str, section: str = "", kind: str = "Service") -> dict[str, Any]:
    group = "gateway.networking.k8s.io" if kind == "HTTPRoute" else ""
    target = {"group": group, "kind": kind, "name": name}
    return {"targetRefs": [{**target, **({"sectionName": section} if section else {})}]}


def traffic(name: str, spec: dict[str, Any], namespace: str = "shop", created: str = "") -> Any:
    return own("TrafficPolicy", name, spec, namespace, created)


def requests(name: str, spec: dict[str, Any], namespace: str = "shop") -> Any:
    return own("RoutePolicy", name, spec, namespace)


def test_without_any_policy() -> None:
    graph = mesh(service("a"))
    assert graph.read(balancing, port("a")) == LeastRequest()
    assert graph.read(breakers, port("a")) == CircuitBreakers()
    assert graph.read(outliers, port("a")) is None
    assert graph.read(traffic_sources, port("a")) == ()
    assert graph.read(request_settings, port("a"), None, "").retry is None


def test_the_most_specific_policy_that_sets_a_field_wins() -> None:
    graph = mesh(
        service("a"),
        traffic("mesh", limits(maxConnections=1, maxRequests=1, maxRetries=1), "plait-system"),
        traffic("ns", limits(maxRequests=2, maxPendingRequests=2)),
        traffic("svc", {**on("a"), **limits(maxPendingRequests=3)}),
        traffic("port", {**on("a", "http"), **limits(maxRetries=4)}),
        traffic("number", {**on("a", "80"), **limits(maxRetries=5, maxRequests=5)}),
    )
    assert graph.read(breakers, port("a")) == CircuitBreakers(1, 3, 5, 4)
    everywhere = mesh(service("b"), traffic("m", limits(maxRequests=1), "plait-system"))
    assert everywhere.read(breakers, port("b")).max_requests == 1


def test_blocks_that_only_make_sense_together_are_taken_whole() -> None:
    graph = mesh(
        service("a"),
        traffic("ns", {"outlierDetection": {"consecutive5xx": 3, "interval": "1s"}}),
        traffic("svc", {**on("a"), "outlierDetection": {"consecutiveGatewayErrors": 2}}),
    )
    expected = OutlierDetection(consecutive_gateway_errors=2)
    assert graph.read(outliers, port("a")) == expected


def test_limits_of_connections_are_merged_one_by_one() -> None:
    keepalive = {"connection": {"connectTimeout": "1s", "tcpKeepalive": {"time": "9s"}}}
    graph = mesh(
        service("a"),
        traffic("ns", keepalive),
        traffic("svc", {**on("a"), "connection": {"tcpKeepalive": {"probes": 2}}}),
    )
    settings = graph.read(connection, port("a"))
    assert settings.connect_timeout == timedelta(seconds=1)
    assert (settings.keepalive_time, settings.keepalive_probes) == (timedelta(seconds=9), 2)


def test_a_hashed_balancer_says_what_routes_hash() -> None:
    spec = {"algorithm": "RingHash", "hashOn": [{"source": "Header", "name": "x"}]}
    graph = mesh(service("a"), traffic("svc", {**on("a"), "loadBalancing": spec}))
    assert graph.read(balancing, port("a")) == Hashed("ring-hash")
    assert graph.read(hash_on, port("a")) == (HashOn("header", "x"),)


@pytest.mark.parametrize(
    ("created", "winner"),
    [
        (("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"), "b"),
        (("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), "a"),
        (("", ""), "a"),
        (("2026-01-02T00:00:00Z", ""), "a"),
    ],
)
def test_of_equals_the_older_wins_then_the_name(created: tuple[str, str], winner: str) -> None:
    first = traffic("a", {**on("s"), **limits(maxRequests=1, maxRetries=1)}, created=created[0])
    second = traffic("b", {**on("s"), **limits(maxRequests=2)}, created=created[1])
    graph = mesh(service("s"), first, second)
    result = graph.read(breakers, port("s"))
    assert result.max_requests == (1 if winner == "a" else 2)
    assert result.max_retries == 1, "a field that nobody else sets stays"
    loser = "b" if winner == "a" else "a"
    problems = found(graph, "TrafficPolicy", loser)
    assert [p.field for p in problems] == ["spec.circuitBreakers.maxRequests"]
    assert f"TrafficPolicy shop/{winner} sets the same field" in problems[0].message
    assert found(graph, "TrafficPolicy", winner) == ()


def test_a_namespace_named_mesh_is_not_the_mesh() -> None:
    graph = mesh(
        service("a"),
        traffic("x", limits(maxRequests=1), "mesh"),
        own("MutualTLS", "x", {"mode": "Strict"}, "mesh"),
    )
    assert graph.read(breakers, port("a")) == CircuitBreakers()
    assert not graph.read(strict, "shop", ())
    assert graph.read(strict, "mesh", ())


def test_layers_of_a_route_policy() -> None:
    graph = mesh(
        service("a"),
        route("r", "a", {"name": "one", "backendRefs": [backend("a")]}, {"name": "two"}),
        requests("mesh", {"timeout": "9s"}, "plait-system"),
        requests("svc", {**on("a"), "timeout": "5s", "retry": {"attempts": 5}}),
        requests("route", {**on("r", kind="HTTPRoute"), "timeout": "4s"}),
        requests("rule", {**on("r", "one", "HTTPRoute"), "timeout": "3s"}),
    )

    def settings(route_name: str, rule: str) -> tuple[float, int]:
        at = key(route_name) if route_name else None
        read = graph.read(request_settings, port("a"), at, rule)
        assert read.timeout is not None
        assert read.retry is not None
        return read.timeout.total_seconds(), read.retry.attempts

    assert settings("r", "one") == (3, 5)
    assert settings("r", "two") == (4, 5)
    assert settings("", "") == (5, 5)


def test_retries() -> None:
    spec = {"attempts": 2, "retryOn": ["5xx", "reset"], "perTryTimeout": "1s"}
    graph = mesh(service("a"), requests("a", {**on("a"), "retry": spec}))
    read = graph.read(request_settings, port("a"), None, "")
    made = retry(read.retry, None)
    assert made is not None
    assert made == Retry(2, ("5xx", "reset"), (), timedelta(seconds=1))
    shorter = retry(read.retry, timedelta(milliseconds=100))
    assert shorter is not None
    assert shorter.per_try_timeout == timedelta(milliseconds=100), "the rule's own wins"
    off = mesh(service("a"), requests("a", {**on("a"), "retry": {"attempts": 0}}))
    assert retry(off.read(request_settings, port("a"), None, "").retry, None) is None


def test_a_fault_is_taken_whole() -> None:
    delay = {"duration": "2s", "percent": 0.5}
    abort = {"status": 503, "percent": 33.3333}
    graph = mesh(
        service("a"),
        route("r", "a", {"name": "one", "backendRefs": [backend("a")]}, {"name": "two"}),
        requests("svc", {**on("a"), "timeout": "5s", "fault": {"delay": delay, "abort": abort}}),
        requests("rule", {**on("r", "one", "HTTPRoute"), "fault": {"delay": delay}}),
    )
    read = graph.read(request_settings, port("a"), key("r"), "two")
    wait = Delay(timedelta(seconds=2), 5_000)
    assert fault(read.fault) == Fault(wait, Abort(503, 333_333))
    assert read.sources() == ("RoutePolicy shop/svc",)
    read = graph.read(request_settings, port("a"), key("r"), "one")
    assert fault(read.fault) == Fault(wait), "without the abort of the other"
    assert read.sources() == ("RoutePolicy shop/rule", "RoutePolicy shop/svc")
    assert read.sources(own_timeout=True) == ("RoutePolicy shop/rule",)


def test_a_fault_of_nobody_is_none() -> None:
    def made(**spec: Any) -> Fault | None:
        graph = mesh(service("a"), requests("a", {**on("a"), "fault": spec}))
        return fault(graph.read(request_settings, port("a"), None, "").fault)

    off, always = {"duration": "1s", "percent": 0}, {"grpcStatus": 14, "percent": 100}
    assert made(delay=off) is None
    assert made(delay=off, abort={"status": 503, "percent": 0}) is None
    assert made(delay=off, abort=always) == Fault(None, Abort(14, 1_000_000, grpc=True))
    assert fault(None) is None


def labelled(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def test_mutual_tls_by_pod_then_namespace_then_mesh() -> None:
    graph = mesh(
        own("MutualTLS", "mesh", {"mode": "Strict"}, "plait-system"),
        own("MutualTLS", "ns", {"mode": "Permissive"}),
        own("MutualTLS", "db", {"selector": {"matchLabels": {"app": "db"}}, "mode": "Strict"}),
    )
    assert graph.read(strict, "other", ())
    assert not graph.read(strict, "shop", labelled(app="web"))
    assert graph.read(strict, "shop", labelled(app="db", tier="x"))
    assert graph.read(mutual_tls_source, "shop", labelled(app="db")) == "MutualTLS shop/db"
    assert graph.read(mutual_tls_source, "other", ()) == "MutualTLS plait-system/mesh"
    assert not mesh().read(strict, "shop", ()), "the default is permissive"


def test_a_selector_needs_all_its_labels() -> None:
    selector = {"matchLabels": {"app": "db", "tier": "back"}}
    graph = mesh(own("MutualTLS", "db", {"selector": selector, "mode": "Strict"}))
    assert not graph.read(strict, "shop", labelled(app="db"))
    assert graph.read(strict, "shop", labelled(app="db", tier="back", more="x"))


def shift(name: str, target: str, *weights: tuple[str, int]) -> dict[str, Any]:
    pairs = [{"name": service_name, "weight": weight} for service_name, weight in weights]
    return own("TrafficShift", name, {"targetRef": {"name": target}, "weights": pairs})


def shares(graph: Graph, name: str = "a") -> tuple[Share, ...] | None:
    effect = graph.read(shift_in_effect, port(name))
    return effect.shares if effect else None


def test_a_shift_counts_by_its_status_once_there() -> None:
    asked = shift("s", "a", ("a1", 9), ("a2", 1))
    graph = mesh(service("a"), service("a1"), service("a2"), asked)
    assert shares(graph) == (Share("a1", 9), Share("a2", 1))
    now = {
        **asked,
        "status": {"weights": [{"name": "a1", "weight": 5}, {"name": "a2", "weight": 5}]},
    }
    graph = mesh(service("a"), service("a1"), service("a2"), now)
    assert shares(graph) == (Share("a1", 5), Share("a2", 5))


def test_a_shift_to_a_missing_service_takes_no_effect_unless_its_share_is_zero() -> None:
    both = (service("a"), service("a1"))
    assert shares(mesh(*both, shift("s", "a", ("a1", 9), ("gone", 1)))) is None
    assert shares(mesh(*both, shift("s", "a", ("a1", 9), ("gone", 0)))) is not None
    assert shares(mesh(*both, shift("b", "a", ("a1", 1)), shift("a", "a", ("a", 1)))) == (
        Share("a", 1),
    )


def test_the_port_of_another_service_that_stands_for_one() -> None:
    graph = mesh(
        service("a"),
        service("same"),
        service("named", {"name": "http", "port": 8000}, {"name": "x", "port": 1}),
        service("only", {"name": "y", "port": 7000}),
        service("none", {"name": "x", "port": 1}, {"name": "y", "port": 2}),
    )
    expected = {"same": 80, "named": 8000, "only": 7000}
    for name, number in expected.items():
        assert graph.read(counterpart, port("a"), name) == port(name, number)
    assert graph.read(counterpart, port("a"), "none") is None
    assert graph.read(counterpart, port("a"), "gone") is None


def test_round_robin_and_a_pod_do_not_matter_to_each_other() -> None:
    spec = {"loadBalancing": {"algorithm": "RoundRobin"}}
    graph = mesh(service("a"), pod("a", "10.0.0.1"), traffic("ns", spec))
    assert graph.read(balancing, port("a")) == RoundRobin()
