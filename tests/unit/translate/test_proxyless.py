"""What gRPC's own client is told: its targets, routes in its terms, clusters, localities."""

from typing import Any

import pytest

from controlplane.graph import Graph
from controlplane.translate.proxyless import Target, target
from controlplane.translate.scope import LEVEL, PortRef, Scope
from tests.unit.translate.meshes import mesh, own, pod, route, service
from xds.types import SHORT
from xds.wire.dump import readable

SCOPE = Scope("", "cluster.local", LEVEL)
GRPC = {"name": "grpc", "port": 9000, "targetPort": 9090}
NAME = "api.shop.svc.cluster.local:9000"


def asked(graph: Graph, name: str = NAME, *, secure: bool = False) -> Target:
    found = graph.read(target, "shop", name, SCOPE, "", secure)
    assert isinstance(found, Target)
    return found


def held(graph: Graph, name: str = NAME, *, secure: bool = False) -> dict[tuple[str, str], Any]:
    """Bodies of everything that a target needs, by short type and name."""
    result: dict[tuple[str, str], Any] = {}
    for each in asked(graph, name, secure=secure).needs:
        resource = graph.read(each.query, *each.args)
        assert resource is not None
        assert (resource.type_url, resource.name) == (each.type_url, each.name)
        result[SHORT[each.type_url], each.name] = readable(resource)["resource"]
    return result


def routes(graph: Graph) -> list[Any]:
    hosts = held(graph)["rds", NAME]["virtual_hosts"]
    assert [host["domains"] for host in hosts] == [["*"]]
    return list(hosts[0]["routes"])


def api(*objects: dict[str, Any], **options: Any) -> Graph:
    return mesh(pod("api", "10.0.0.1", **options), service("api", GRPC), *objects)


def test_a_target_is_a_listener_routes_a_cluster_and_endpoints() -> None:
    graph = api()
    found = held(graph)
    assert list(found) == [
        ("cds", "h|shop|api|9000"),
        ("eds", "e|shop|api|9000"),
        ("lds", NAME),
        ("rds", NAME),
    ]
    manager = found["lds", NAME]["api_listener"]["api_listener"]
    assert manager["rds"]["route_config_name"] == NAME
    assert asked(graph).target == PortRef("default", "shop", "api", 9000)
    assert found["cds", "h|shop|api|9000"]["eds_cluster_config"]["service_name"] == (
        "e|shop|api|9000"
    )


@pytest.mark.parametrize("name", ["api:9000", "api.shop:9000", "api.shop.svc:9000"])
def test_every_authority_of_a_port_is_a_target(name: str) -> None:
    assert ("lds", name) in held(api(), name)


def test_localities_have_weights() -> None:
    graph = mesh(
        pod("a", "10.0.0.1", labels={"app": "api", "topology.kubernetes.io/zone": "z1"}),
        pod("b", "10.0.0.2", labels={"app": "api", "topology.kubernetes.io/zone": "z1"}),
        pod("c", "10.0.0.3", labels={"app": "api"}),
        service("api", GRPC),
    )
    places = held(graph)["eds", "e|shop|api|9000"]["endpoints"]
    assert [
        (each["locality"].get("zone", ""), each["load_balancing_weight"], len(each["lb_endpoints"]))
        for each in places
    ] == [("", 1, 1), ("z1", 2, 2)]


def test_matches_in_the_terms_of_grpc() -> None:
    graph = api(
        route(
            "r",
            "api",
            {
                "matches": [
                    {"path": {"type": "PathPrefix", "value": "/shop.Api"}},
                    {"path": {"type": "Exact", "value": "/shop.Api/Get"}},
                    {"method": "GET"},
                    {"method": "POST", "headers": [{"name": "user", "value": "me"}]},
                    {"queryParams": [{"name": "a", "value": "b"}]},
                ],
                "backendRefs": [{"name": "api", "port": 9000}],
            },
        )
    )
    found = [each["match"] for each in routes(graph)]
    assert found == [
        {"path": "/shop.Api/Get"},
        {"safe_regex": {"regex": r"/shop\.Api(/.*)?"}},
        {"prefix": "/", "headers": [{"name": "user", "string_match": {"exact": "me"}}]},
        {"prefix": "/"},
    ]


def test_refusals_are_clusters_that_say_why() -> None:
    graph = api(
        route("r", "api", {"matches": [{"path": {"value": "/a"}}], "backendRefs": []}),
    )
    for each in routes(graph):
        name = each["route"]["cluster"]
        assert name.startswith("n|")
        assert held(graph)["cds", name]["eds_cluster_config"]["service_name"] == name
        assert not held(graph)["eds", name].get("endpoints")


def test_timeouts_and_retries_in_the_terms_of_grpc() -> None:
    policy = {
        "targetRefs": [{"kind": "Service", "name": "api"}],
        "timeout": "3s",
        "retry": {"attempts": 9, "retryOn": ["5xx", "connect-failure", "resource-exhausted"]},
    }
    action = routes(api(own("RoutePolicy", "p", policy)))[0]["route"]
    assert action["max_stream_duration"] == {"max_stream_duration": "3s"}
    assert action["retry_policy"]["retry_on"] == "resource-exhausted,unavailable"
    assert action["retry_policy"]["num_retries"] == 4


def test_a_fault_in_the_terms_of_grpc() -> None:
    delay = {"duration": "2s", "percent": 50}
    fault = {"delay": delay, "abort": {"grpcStatus": 14, "percent": 1.5}}
    graph = api(own("RoutePolicy", "p", {"fault": fault}))
    name = "envoy.filters.http.fault"
    manager = held(graph)["lds", NAME]["api_listener"]["api_listener"]
    assert [each["name"] for each in manager["http_filters"]] == [
        name,
        "envoy.filters.http.router",
    ]
    [made] = [each for each in routes(graph) if "typed_per_filter_config" in each]
    found = made["typed_per_filter_config"][name]
    assert found["delay"]["fixed_delay"] == "2s"
    million = {"denominator": "MILLION"}
    assert found["delay"]["percentage"] == {"numerator": 500_000, **million}
    assert found["abort"] == {"grpc_status": 14, "percentage": {"numerator": 15_000, **million}}
    with_none = routes(api())
    assert not [each for each in with_none if each.get("typed_per_filter_config")]


def test_a_shift_is_weights() -> None:
    shift = {
        "targetRef": {"kind": "Service", "name": "api"},
        "weights": [{"name": "v1", "weight": 1}, {"name": "v2", "weight": 3}],
    }
    graph = api(service("v1", GRPC), service("v2", GRPC), own("TrafficShift", "api", shift))
    weights = routes(graph)[0]["route"]["weighted_clusters"]["clusters"]
    assert [(each["name"], each["weight"]) for each in weights] == [
        ("h|shop|v1|9000", 1),
        ("h|shop|v2|9000", 3),
    ]


@pytest.mark.filterwarnings("ignore:.*match_subject_alt_names:DeprecationWarning")
def test_mutual_tls_needs_certificates_sidecars_and_a_declared_protocol() -> None:
    name = "h|shop|api|9000"
    graph = api()
    socket = held(graph, secure=True)["cds", name]["transport_socket"]["typed_config"]
    assert socket["sni"] == "p9000.api.shop.proxyless.clusterset.local"
    common = socket["common_tls_context"]
    assert common["tls_certificate_provider_instance"] == {"instance_name": "default"}
    assert common["validation_context"]["match_subject_alt_names"] == [
        {"exact": "spiffe://cluster.local/ns/shop/sa/api"}
    ]
    assert "transport_socket" not in held(graph)["cds", name]
    mixed = mesh(
        pod("api", "10.0.0.1"),
        pod("b", "10.0.0.2", labels={"app": "api"}, sidecar=False),
        service("api", GRPC),
    )
    assert "transport_socket" not in held(mixed, secure=True)["cds", name]
    undeclared = mesh(pod("api", "10.0.0.1"), service("api", {**GRPC, "name": "x"}))
    assert "transport_socket" not in held(undeclared, secure=True)["cds", name]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("apj.shop:9000", "did you mean api?"),
        ("api.shop", "no port 80"),
        ("example.com:443", "ask for dns:///example.com:443"),
        ("*", "no authority"),
    ],
)
def test_what_leads_nowhere_is_answered(name: str, reason: str) -> None:
    graph = api()
    assert asked(graph, name).target is None
    assert reason in asked(graph, name).reason
    table = held(graph, name)["rds", name]
    assert reason in table["virtual_hosts"][0]["routes"][0]["route"]["cluster"]
