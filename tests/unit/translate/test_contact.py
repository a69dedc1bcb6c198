"""Redirect mode: what a connection to ``IP:port`` leads to, by virtual address and by pod."""

from typing import Any

import pytest

from controlplane.graph import Graph
from controlplane.translate.redirect_contact import (
    Backend,
    Contact,
    Loop,
    Nothing,
    addresses_of_port,
    answer,
    contact,
    contact_host,
)
from controlplane.translate.redirect_promoted import PodPlace, listener_of, place_routes
from controlplane.translate.resources import fixed
from controlplane.translate.simulate import Simulation, simulate
from tests.unit.translate.meshes import (
    SCOPE,
    backend,
    endpoint,
    key,
    mesh,
    own,
    pod,
    port,
    put,
    redirected,
    remove,
    route,
    service,
    slice_of,
)
from xds.ir.cluster import EdsCluster, OriginalDstCluster
from xds.ir.listener import Http, Tcp
from xds.ir.route import Forward
from xds.names import parse_asked, parse_promoted, parse_socket, promoted_listener, socket_address

RANGES = own("MeshConfig", "default", {"meshRanges": ["10.0.0.0/8", "fd00::/8"]}, "plait-system")
VIP = "10.96.0.1"
TCP = {"name": "tcp", "port": 9000}
TLS = {"name": "x", "port": 8443, "appProtocol": "tls"}
BARE = {"name": "bare", "port": 7000}
GRPC = {"name": "grpc", "port": 9090}
HTTP = {"name": "http", "port": 80, "targetPort": 8080}


def world(*more: dict[str, Any]) -> Graph:
    return mesh(
        RANGES,
        redirected("web", "10.0.0.1", ports=[("http", 8080), ("bare", 7000)]),
        service("web", HTTP, TCP, TLS, BARE, GRPC, address=VIP),
        *more,
    )


def ask(graph: Graph, address: str, number: int, namespace: str = "shop") -> Contact:
    return graph.read(contact, namespace, address, number, SCOPE)


def names(found: Contact) -> list[str]:
    return [wanted.name for wanted in found.needs]


@pytest.mark.parametrize(
    ("number", "kind", "needs"),
    [
        (80, "http", ["h|", "e|", "r|"]),
        (9090, "http", ["h|", "e|", "r|"]),
        (9000, "tcp", ["t|", "e|"]),
        (8443, "tcp", ["t|", "e|"]),
        (7000, "undeclared", ["h|", "e|", "t|", "d|", "r|"]),
    ],
)
def test_a_service_by_its_virtual_address(number: int, kind: str, needs: list[str]) -> None:
    found = ask(world(), VIP, number)
    assert (found.kind, found.target, found.pod) == (kind, port("web", number), None)
    assert [name[:2] for name in names(found)] == [*needs, "p|"]
    assert names(found)[-1] == f"p|{VIP}:{number}", "the listener comes last"
    assert (found.fragment is None) == (kind == "tcp")
    expected = {"http": Loop(15002), "undeclared": Loop(15003)}.get(kind)
    if expected:
        assert found.answer == expected
    else:
        assert isinstance(found.answer, Backend)
        assert isinstance(found.answer.cluster, EdsCluster)
        assert found.answer.endpoints == f"e|shop|web|{number}"


@pytest.mark.parametrize(
    ("address", "number", "reason"),
    [
        (VIP, 81, "Service shop/web has no port 81; its ports: 80, 9000, 8443, 7000, 9090"),
        ("10.96.0.9", 80, "no Service, pod or endpoint is at 10.96.0.9:80"),
        ("fd00::9", 80, "no Service, pod or endpoint is at [fd00::9]:80"),
    ],
)
def test_where_nothing_is_a_listener_closes(address: str, number: int, reason: str) -> None:
    found = ask(world(), address, number)
    assert (found.kind, found.reason, found.answer) == ("nothing", reason, Nothing())
    assert names(found) == [promoted_listener(address, number)]


def test_a_service_that_comes_takes_the_place_of_nothing() -> None:
    graph = world()
    before = ask(graph, "10.96.0.9", 80)
    late = service("late", address="10.96.0.9")
    put(graph, late)
    after = ask(graph, "10.96.0.9", 80)
    assert (before.kind, after.kind) == ("nothing", "http")
    assert before.needs[-1].name == after.needs[-1].name
    assert before.needs[-1].args != after.needs[-1].args
    remove(graph, late)
    assert ask(graph, "10.96.0.9", 80) == before


def test_outside_is_passed_through_and_never_promoted() -> None:
    graph = world()
    found = ask(graph, "192.0.2.1", 443)
    assert (found.kind, found.needs) == ("outside", ())
    assert isinstance(found.answer, Backend)
    assert found.answer.cluster.name == "Passthrough"
    put(graph, own("MeshConfig", "default", {"outside": "Refuse"}, "plait-system"))
    refused = ask(graph, "192.0.2.1", 443)
    assert (refused.kind, refused.answer, refused.needs) == ("nothing", Nothing(), ())
    assert ask(graph, "nonsense", 0).kind == "nothing"


def test_first_contact_has_the_routes_of_the_promoted_table() -> None:
    rules = [{"backendRefs": [backend("web", 9), backend("b", 1)]}]
    graph = world(service("b"), route("r", "web", *rules))
    found = ask(graph, VIP, 80)
    assert found.fragment is not None
    host = graph.read(contact_host, *found.fragment.args)
    assert host.domains == (f"{VIP}:80",)
    assert host.routes == graph.read(place_routes, "shop", port("web"))
    assert host.routes[0].name == "shop/r/0"
    assert "h|shop|b|80" in names(found)


def test_a_consumers_routes_make_another_table_under_the_same_name() -> None:
    own_route = route(
        "ours", "web", {"backendRefs": [backend("web")]}, namespace="x", parent_namespace="shop"
    )
    graph = world(own_route)
    here, there, third = (ask(graph, VIP, 80, namespace) for namespace in ("shop", "x", "y"))
    tables = [found.needs[-2] for found in (here, there, third)]
    assert {each.name for each in tables} == {"r|shop|web|80"}
    assert len({each.args for each in tables}) == 3
    assert here.needs[-1] == there.needs[-1], "the listener is shared"


def test_two_addresses_of_one_service_share_all_but_the_listener() -> None:
    both = service("dual", HTTP)
    both["spec"]["clusterIPs"] = ["10.96.0.7", "fd00:96::7"]
    graph = world(both)
    four, six = ask(graph, "10.96.0.7", 80), ask(graph, "fd00:96::7", 80)
    assert four.fragment == six.fragment
    assert four.needs[:-1] == six.needs[:-1]
    assert four.fragment is not None
    assert graph.read(contact_host, *four.fragment.args).domains == (
        "10.96.0.7:80",
        "[fd00:96::7]:80",
    )
    expected = (("10.96.0.7", 80), ("fd00:96::7", 80))
    assert graph.read(addresses_of_port, "shop", "dual", 80) == expected
    assert graph.read(addresses_of_port, "shop", "dual", 81) == ()
    assert graph.read(addresses_of_port, "shop", "gone", 80) == ()


def test_of_two_services_with_one_address_one_has_it() -> None:
    graph = world(service("copy", HTTP, address=VIP))
    assert ask(graph, VIP, 80).target == port("copy")
    assert graph.read(addresses_of_port, "shop", "web", 80) == ()


def pods(*more: dict[str, Any]) -> Graph:
    """A headless Service of two pods, an account's pod, and one without a sidecar."""
    labels = {"app": "store"}
    return world(
        redirected("store-0", "10.0.1.1", labels=labels, account="store"),
        redirected("store-1", "10.0.1.2", labels=labels, account="store"),
        service("store", HTTP, {"name": "redis", "port": 6379}, address="None"),
        pod("old", "10.0.2.1", sidecar=False),
        *more,
    )


def test_pods_of_a_headless_service_share_a_cluster_and_a_table() -> None:
    graph = pods()
    first, second = ask(graph, "10.0.1.1", 8080), ask(graph, "10.0.1.2", 8080)
    assert (first.kind, first.target, first.pod) == ("http", port("store"), key("store-0"))
    assert names(first) == ["o|shop|store|80|h", "r|shop|store|80", "p|10.0.1.1:8080"]
    assert first.needs[:-1] == second.needs[:-1]
    assert first.fragment != second.fragment, "each pod is a destination of its own"
    tcp = ask(graph, "10.0.1.1", 6379)
    assert (tcp.kind, names(tcp)) == ("tcp", ["o|shop|store|6379|t", "p|10.0.1.1:6379"])


def test_a_client_that_dials_a_pod_means_that_pod() -> None:
    rules = [
        {"matches": [{"path": {"value": "/b"}}], "backendRefs": [backend("web")]},
        {"backendRefs": [backend("store", 1), backend("web", 1)]},
    ]
    graph = pods(route("r", "store", *rules))
    found = ask(graph, "10.0.1.1", 8080)
    place = PodPlace("10.0.1.1", 8080, "o|shop|store|80|h", port("store"))
    routes = graph.read(place_routes, "shop", place)
    clusters = [
        [each.cluster for each in made.action.backends]
        for made in routes
        if isinstance(made.action, Forward)
    ]
    assert clusters == [["h|shop|web|80"], ["o|shop|store|80|h", "h|shop|web|80"]]
    assert names(found) == [
        "o|shop|store|80|h", "h|shop|web|80", "e|shop|web|80", "r|shop|store|80",
        "p|10.0.1.1:8080",
    ]  # fmt: skip


def test_a_pod_behind_a_virtual_address_is_known_by_its_account() -> None:
    graph = pods()
    found = ask(graph, "10.0.0.1", 8080)
    assert (found.kind, found.target, found.pod) == ("http", None, key("web"))
    assert names(found) == ["o|shop|web|h", "p|10.0.0.1:8080"]
    query, args = found.needs[0].query, found.needs[0].args
    assert b"spiffe://cluster.local/ns/shop/sa/web" in graph.read(query, *args).entry
    bare = ask(graph, "10.0.0.1", 7000)
    assert (bare.kind, names(bare)) == (
        "undeclared",
        ["o|shop|web|h", "o|shop|web|t", "d|10.0.0.1:7000", "p|10.0.0.1:7000"],
    )
    unknown = ask(graph, "10.0.0.1", 12345)
    assert (unknown.kind, names(unknown)) == ("tcp", ["o|shop|web|t", "p|10.0.0.1:12345"])


def test_a_pod_without_a_sidecar_is_spoken_to_as_if_there_were_no_mesh() -> None:
    found = ask(pods(), "10.0.2.1", 8080)
    assert names(found) == ["p|10.0.2.1:8080"]
    assert found.direct is not None
    assert found.direct.cluster.name == "Passthrough"


def test_above_a_ceiling_the_asked_for_name_alone_serves_a_pod() -> None:
    found = ask(pods(), "10.0.1.1", 8080)
    assert found.direct is not None
    cluster = found.direct.cluster
    assert isinstance(cluster, OriginalDstCluster)
    assert (cluster.name, cluster.tls and cluster.tls.alpn) == ("o|shop|store|80|t", ("plait-tcp",))
    assert ask(pods(), VIP, 80).direct is None


def test_an_endpoint_that_is_no_pod_is_found_by_its_slice() -> None:
    vm = service("vm", {"name": "http", "port": 8080}, address="None", selector={"app": "none"})
    found = ask(world(vm, slice_of("vm", endpoint("10.0.3.1"))), "10.0.3.1", 8080)
    assert (found.kind, found.target, found.pod) == ("http", port("vm", 8080), None)
    assert names(found) == ["r|shop|vm|8080|plain", "p|10.0.3.1:8080"]


def test_a_pod_that_goes_leaves_nothing() -> None:
    graph = pods()
    remove(graph, redirected("store-0", "10.0.1.1"))
    assert ask(graph, "10.0.1.1", 8080).kind == "nothing"


def test_the_answer_bears_the_name_that_was_asked_for() -> None:
    graph = pods()
    asked = [(VIP, 80), (VIP, 9000), (VIP, 7000), (VIP, 81), ("10.0.1.1", 6379)]
    for address, number in asked:
        name = f"f|{address}:{number}|202601010000"
        assert answer(ask(graph, address, number), name).name == name


def test_promoted_listeners_inspect_only_what_is_undeclared() -> None:
    graph = world()
    for number, kinds in ((80, [Http]), (9000, [Tcp]), (7000, [Http, Tcp])):
        made = listener_of(*ask(graph, VIP, number).needs[-1].args)
        filters = [type(chain.filters) for chain in made.chains]
        filters += [type(made.default.filters)] if made.default else []
        assert filters == kinds
        assert made.inspect_http == (number == 7000)
        assert not made.bind_to_port


@pytest.mark.parametrize(
    "text", ["10.0.0.1:80", "[fd00::1]:8080", "255.255.255.255:65535", "[::]:1"]
)
def test_reads_addresses_as_envoy_prints_them(text: str) -> None:
    found = parse_socket(text)
    assert found is not None
    assert socket_address(*found) == text
    assert parse_promoted(promoted_listener(*found)) == text
    asked = parse_asked(f"f|{text}|1")
    assert asked is not None
    assert asked.target == text


@pytest.mark.parametrize(
    "text",
    [
        "", "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:080",
        "fd00::1:80", "[fd00:0::1]:80", "[FD00::1]:80", "[10.0.0.1]:80", "name:80", "10.0.0.01:80",
        "10.0.0.1:80 ", "[fe80::1%eth0]:80:1", "10.0.0.1:٣",
    ],
)  # fmt: skip
def test_reads_nothing_else(text: str) -> None:
    assert parse_socket(text) is None
    assert parse_promoted(f"p|{text}") is None


def simulated(graph: Graph, authority: str, path: str = "/", source: str = "web") -> Simulation:
    return graph.read(simulate, key(source), authority, "GET", path, ())


@pytest.mark.parametrize(
    ("authority", "outcome", "promotion"),
    [
        ("web", "forward", f"listener p|{VIP}:80"),
        (f"{VIP}:7000", "forward", f"listener p|{VIP}:7000"),
        ("web.shop:9000", "tcp", f"listener p|{VIP}:9000"),
        ("web:81", "refused", f"listener p|{VIP}:81"),
        ("store", "forward", "listener p|10.0.1.1:8080"),
        ("store:6379", "tcp", "listener p|10.0.1.1:6379"),
        ("10.0.0.1:8080", "forward", "listener p|10.0.0.1:8080"),
        ("10.99.0.1", "refused", "listener p|10.99.0.1:80"),
        ("192.0.2.1", "passthrough", "no: 192.0.2.1 is outside the mesh's ranges"),
        ("api.example.com", "passthrough", "no: it is no address of the mesh"),
        ("alias", "passthrough", "no: it is no address of the mesh"),
        ("wbe", "refused", "no: it is no address of the mesh"),
        ("a b", "refused", "no: it is no address of the mesh"),
    ],
)
def test_a_simulation_says_what_is_promoted(authority: str, outcome: str, promotion: str) -> None:
    result = simulated(pods(service("alias", external="api.example.com")), authority)
    assert (result.outcome, result.promotion) == (outcome, promotion)


def test_a_simulation_of_tcp_names_the_backend() -> None:
    result = simulated(world(), "web:9000")
    assert [(share.cluster, share.mtls) for share in result.split] == [("t|shop|web|9000", "mTLS")]


def test_a_simulation_in_proxy_mode_names_the_virtual_host() -> None:
    graph = world(pod("proxied", "10.0.5.1"))
    assert simulated(graph, "web", source="proxied").promotion == "virtual host r|shop|web|80"
    assert simulated(graph, "wbe", source="proxied").promotion == "virtual host n|wbe"
    assert simulated(graph, "*", source="proxied").promotion.startswith("no: ")


def test_a_text_that_is_no_address_costs_itself_alone() -> None:
    odd = service("odd", HTTP)
    odd["spec"]["clusterIPs"] = ["here", "FD00:0::7"]
    graph = world(odd, service("kubernetes", namespace="default", address="there"))
    put(graph, redirected("astray", "10.0.0.7", "nowhere"))
    assert graph.read(addresses_of_port, "shop", "odd", 80) == (("fd00::7", 80),)
    assert ask(graph, "fd00::7", 80).target == port("odd")
    for name in ("astray", "web"):
        for wanted in graph.read(fixed, key(name)):
            assert graph.read(wanted.query, *wanted.args) is not None
