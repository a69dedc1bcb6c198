"""Simulations: what a request would meet, in the words of `meshctl simulate`."""

from typing import Any

from controlplane.graph import Graph
from controlplane.translate.simulate import Simulation, simulate
from tests.unit.translate.meshes import backend, key, mesh, own, pod, route, service


def run(
    graph: Graph, authority: str, path: str = "/", source: str = "web", **headers: str
) -> Simulation:
    pairs = tuple(headers.items())
    return graph.read(simulate, key(source), authority, "GET", path, pairs)


def bookstore(*more: dict[str, Any]) -> Graph:
    return mesh(
        pod("web", "10.0.0.1"),
        pod("stranger", "10.0.0.9", sidecar=False),
        pod("reviews-v1", "10.0.0.2", labels={"app": "reviews", "version": "v1"}),
        pod("reviews-v2", "10.0.0.3", labels={"app": "reviews", "version": "v2"}),
        service("reviews"),
        service("reviews-v1", selector={"app": "reviews", "version": "v1"}),
        service("reviews-v2", selector={"app": "reviews", "version": "v2"}),
        own("MutualTLS", "strict", {"mode": "Strict"}),
        *more,
    )


def test_a_request_without_any_route() -> None:
    result = run(bookstore(), "reviews")
    assert (result.outcome, result.service) == ("forward", "shop/reviews:80")
    assert [(s.service, s.percent, s.mtls, s.endpoints) for s in result.split] == [
        ("shop/reviews:80", 100.0, "mTLS", 2)
    ]
    assert any("strict by MutualTLS shop/strict" in line for line in result.lines)
    assert any("spiffe://cluster.local/ns/shop/sa/web" in line for line in result.lines)


def test_one_endpoint_is_not_endpoints() -> None:
    [said] = [line for line in run(bookstore(), "reviews-v1").lines if "endpoint" in line]
    assert said == "100 % to shop/reviews-v1:80: 1 endpoint, HTTP/2, mTLS"


def test_a_fault() -> None:
    delay = {"duration": "1m30s", "percent": 0.25}
    fault = {"delay": delay, "abort": {"status": 503, "percent": 10}}
    result = run(bookstore(own("RoutePolicy", "p", {"fault": fault})), "reviews")
    assert result.fault == "0.25 % wait 1m30s, 10 % get 503"
    assert result.policies == ("RoutePolicy shop/p",)
    assert (result.outcome, result.status) == ("forward", 0)
    assert f"fault made by the caller's sidecar: {result.fault}" in result.lines
    one = {"abort": {"grpcStatus": 14, "percent": 100}}
    assert run(bookstore(own("RoutePolicy", "p", {"fault": one})), "reviews").fault == (
        "100 % get gRPC status 14"
    )
    none = run(bookstore(), "reviews")
    assert none.fault == ""
    assert not [line for line in none.lines if "fault made" in line]


def test_a_split_with_policies_and_a_header_that_decides() -> None:
    rules = [
        {
            "name": "ann",
            "matches": [{"headers": [{"name": "x-user", "value": "ann"}]}],
            "backendRefs": [backend("reviews-v2")],
        },
        {"name": "all", "backendRefs": [backend("reviews-v1", 1), backend("reviews-v2", 0)]},
    ]
    weights = [{"name": "reviews-v1", "weight": 3}, {"name": "reviews-v2", "weight": 1}]
    graph = bookstore(
        route("reviews", "reviews", *rules),
        own("TrafficShift", "reviews", {"targetRef": {"name": "reviews"}, "weights": weights}),
        own("RoutePolicy", "p", {"timeout": "2s", "retry": {"attempts": 3}}),
    )
    result = run(graph, "reviews.shop:80", "/reviews/1")
    assert (result.route, result.rule) == ("shop/reviews", "all")
    assert [s.percent for s in result.split] == [75.0, 25.0]
    assert result.policies == ("RoutePolicy shop/p", "TrafficShift shop/reviews")
    assert result.timeout == "2s"
    assert result.retries.startswith("3 on ")
    keyed = graph.read(simulate, key("web"), "reviews", "GET", "/", (("X-User", "ann"),))
    assert keyed.rule == "ann"


def test_refusals() -> None:
    graph = bookstore(service("ledger", {"name": "tcp", "port": 9000}))
    assert run(graph, "ledger:9000").status == 502
    assert run(graph, "reviws").lines[-1].endswith("did you mean reviews?")
    stranger = run(graph, "reviews", source="stranger")
    assert stranger.outcome == "refused"
    assert "no sidecar" in stranger.lines[-1]
    assert run(graph, "reviews", source="nobody").outcome == "refused"
    assert run(graph, "*").status == 400


def test_replies_redirects_and_the_outside() -> None:
    moved = {"type": "RequestRedirect", "requestRedirect": {"statusCode": 301, "hostname": "x.y"}}
    graph = bookstore(
        route(
            "r",
            "reviews",
            {"matches": [{"path": {"value": "/moved"}}], "filters": [moved]},
            {"matches": [{"path": {"value": "/gone"}}],
             "backendRefs": [backend("reviews", 1), backend("gone", 1)]},
        )
    )  # fmt: skip
    redirected = run(graph, "reviews", "/moved/a")
    assert (redirected.outcome, redirected.status) == ("redirect", 301)
    assert run(graph, "reviews", "/nothing").status == 404
    part = run(graph, "reviews", "/gone")
    assert part.outcome == "forward"
    assert any(line.startswith("50 % get 500") for line in part.lines)
    assert [str(p.object) for p in part.problems] == ["HTTPRoute shop/r"]
    assert run(graph, "api.example.com").outcome == "passthrough"


def test_a_service_without_endpoints_says_503() -> None:
    graph = bookstore(service("empty"))
    assert any("503 (UH)" in line for line in run(graph, "empty").lines)
