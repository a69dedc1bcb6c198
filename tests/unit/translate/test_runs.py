"""Which queries a change runs again, and which resources it changes: memoisation must not die
unseen, and noise must stop at the projections."""

from typing import Any

from controlplane.graph import Graph
from controlplane.translate.resources import destination, fixed
from controlplane.world.transaction import Delete
from tests.unit.translate.meshes import (
    SCOPE,
    backend,
    endpoint,
    key,
    mesh,
    own,
    pod,
    put,
    route,
    rows,
    service,
    slice_of,
)

LABELS = {"app": "a"}
SLICE = [endpoint("10.0.0.1", target="a-1"), endpoint("10.0.0.2", target="a-2")]


def running() -> Graph:
    """Ten Services and a sidecar that holds two of them, a route, a policy; all settled."""
    others = [service(f"s{i}") for i in range(8)]
    graph = mesh(
        *others,
        service("a"),
        service("b"),
        pod("a-1", "10.0.0.1", labels=LABELS),
        pod("a-2", "10.0.0.2", labels=LABELS),
        pod("b-1", "10.0.0.3", labels={"app": "b"}),
        slice_of("a", *SLICE),
        route("r", "a", {"backendRefs": [backend("a")]}),
        own("TrafficPolicy", "t", {"circuitBreakers": {"maxRequests": 5}}),
    )
    graph.subscribe("web", fixed, key("b-1"))
    found = [graph.subscribe("web", destination, "shop", name, SCOPE, "") for name in ("a", "b")]
    graph.settle()
    for node in found:
        for part in (node.value.fragment, *node.value.needs):
            graph.subscribe("web", part.query, *part.args)
    for wanted in graph.read(fixed, key("b-1")):
        graph.subscribe("web", wanted.query, *wanted.args)
    graph.settle()
    return graph


def change(graph: Graph, *manifests: dict[str, Any]) -> tuple[set[str], list[str]]:
    """Apply; the queries that ran again, and the changed roots."""
    graph.engine.counters.longest.clear()
    put(graph, *manifests)
    return settle(graph)


def settle(graph: Graph) -> tuple[set[str], list[str]]:
    changed = sorted(change.node.query.__name__ for change in graph.settle())
    return {name.rpartition(".")[2] for name in graph.metrics().longest}, changed


def test_a_pods_label_that_nobody_reads() -> None:
    graph = running()
    runs, more = graph.metrics().runs, {**LABELS, "noise": "1"}
    ran, changed = change(graph, pod("a-1", "10.0.0.1", labels=more))
    assert changed == []
    assert ran == {"instance", "member", "selected", "standing"}
    assert graph.metrics().runs - runs == 4, "once each: one pod, one selector"


def test_an_annotation_of_a_service() -> None:
    graph = running()
    noise = {"mesh.plait.dev/noise": "1"}
    ran, changed = change(graph, service("a", annotations=noise))
    assert changed == []
    assert ran <= {"shape", "find_service", "services_of"}


def test_an_annotation_of_a_route() -> None:
    graph = running()
    noisy = route("r", "a", {"backendRefs": [backend("a")]})
    noisy["metadata"]["annotations"] = {"mesh.plait.dev/noise": "1"}
    ran, changed = change(graph, noisy)
    assert changed == []
    assert ran <= {"route_spec", "candidates"}


def test_one_endpoint() -> None:
    graph = running()
    leaving = endpoint("10.0.0.1", target="a-1", ready=False, serving=True, terminating=True)
    ran, changed = change(graph, slice_of("a", leaving, SLICE[1]))
    assert changed == ["assignment"]
    assert ran == {"slices", "of_slices", "endpoints", "assignment", "sliced", "pods_of"}


def test_readiness_of_a_pod_behind_slices_changes_nothing() -> None:
    graph = running()
    _, changed = change(graph, pod("a-1", "10.0.0.1", labels=LABELS, ready=False))
    assert changed == []


def test_a_pod_of_an_account_that_is_new_changes_the_cluster_and_its_load() -> None:
    graph = running()
    new = pod("a-2", "10.0.0.2", labels=LABELS, account="new")
    _, changed = change(graph, new)
    assert changed == ["assignment", "service_cluster"] or changed == ["service_cluster"]


def test_one_route() -> None:
    graph = running()
    slower = route("r", "a", {"backendRefs": [backend("a")], "timeouts": {"request": "9s"}})
    ran, changed = change(graph, slower)
    assert changed == ["host_fragment"]
    by_rule = {"rule_count", "rule_matches", "rule_routes", "shifted", "outcome", "upstreams"}
    hosts = {"port_routes", "port_host", "host_fragment"}
    assert ran == {"route_spec", "candidates"} | by_rule | hosts


def test_a_policy_of_another_service() -> None:
    graph = running()
    other = {"targetRefs": [{"kind": "Service", "name": "s1"}], "timeout": "1s"}
    ran, changed = change(graph, own("RoutePolicy", "x", other))
    assert (ran, changed) == (set(), [])


def faulty(percent: float) -> dict[str, Any]:
    return own("RoutePolicy", "x", {"fault": {"abort": {"status": 503, "percent": percent}}})


def test_a_fault_reaches_the_virtual_hosts_alone() -> None:
    """No listener changes, so no connection is cut; nor does a rule that has a fault of its own."""
    graph = running()
    _, changed = change(graph, faulty(1))
    assert changed == ["host_fragment"] * 2
    ran, changed = change(graph, faulty(2))
    assert changed == ["host_fragment"] * 2
    layers = {"route_layer", "route_namespace_layer", "port_settings", "request_settings"}
    rules = {"outcome", "rule_routes", "upstreams", "default_route"}
    assert ran == layers | rules | {"port_routes", "port_host", "host_fragment"}
    mine = {"targetRefs": [{"kind": "Service", "name": "a"}], **faulty(3)["spec"]}
    change(graph, own("RoutePolicy", "mine", mine))
    _, changed = change(graph, faulty(4))
    assert changed == ["host_fragment"], "that of b"
    ran, changed = change(graph, faulty(4.00001))
    assert changed == [], "finer than dice are"


def test_a_service_that_nobody_asked_for() -> None:
    graph = running()
    ran, changed = change(graph, service("s99"))
    assert (ran, changed) == (set(), [])


def test_a_policy_of_the_namespace_reaches_all_its_clusters() -> None:
    graph = running()
    tighter = own("TrafficPolicy", "t", {"circuitBreakers": {"maxRequests": 4}})
    _, changed = change(graph, tighter)
    assert changed == ["service_cluster"] * 2


def test_the_bucket_reaches_the_proxy_listener_alone() -> None:
    graph = running()
    spec = {"onDemand": {"bucket": "10s"}}
    _, changed = change(graph, own("MeshConfig", "default", spec, "plait-system"))
    assert changed == ["proxy_listener"]


def test_strict_reaches_the_inbound_listeners_alone() -> None:
    graph = running()
    _, changed = change(graph, own("MutualTLS", "m", {"mode": "Strict"}))
    assert changed == ["inbound_listener"]


def test_a_shift_changes_the_virtual_host_and_what_it_needs() -> None:
    graph = running()
    spec = {"targetRef": {"name": "b"}, "weights": [{"name": "a", "weight": 1}]}
    _, changed = change(graph, own("TrafficShift", "s", spec))
    assert changed == ["destination", "host_fragment"]


def test_an_object_that_goes_and_comes_back_leaves_the_same_bytes() -> None:
    graph = running()
    before = {node: node.value for node in graph.roots}
    made = rows(service("a"))[0]
    graph.apply([Delete(made.table, made.key)])
    graph.settle()
    put(graph, service("a"))
    graph.settle()
    assert {node: node.value for node in graph.roots} == before
