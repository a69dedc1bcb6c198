"""What an authority means, and that no two virtual hosts claim one domain."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.translate.authority import (
    MALFORMED,
    Authority,
    Outside,
    Refused,
    parse,
    resolve,
    split_service,
)
from controlplane.translate.hosts import dead_host, outside_host, port_host
from controlplane.translate.resources import destination, host_fragment
from controlplane.translate.scope import PortRef
from tests.unit.translate.meshes import SCOPE, mesh, own, pod, port, put, route, service

TCP = {"name": "tcp", "port": 9000}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("reviews", Authority("reviews", None)),
        ("Reviews.Shop:8080", Authority("reviews.shop", 8080)),
        ("127.0.0.1:80", Authority("127.0.0.1", 80)),
        ("[::1]", Authority("::1", None)),
        ("[FD00::1]:9000", Authority("fd00::1", 9000)),
        ("a_b.c", Authority("a_b.c", None)),
        ("trailing.", Authority("trailing.", None)),
    ],
)
def test_parses(text: str, expected: Authority) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.shop", "a*", ":80", "a:", "a:0", "a:65536", "a:1:2", "a:x", "a b", "a/b", "a@b",
     "[fe80::1%eth0]",
     "a|b", "..", "a..b", "-a", "[a]", "[::1", "[::1]x", "[::1]:", "[127.0.0.1]", "a" * 256, "é"],
)  # fmt: skip
def test_refuses_what_can_be_no_domain(text: str) -> None:
    assert parse(text) is None


@settings(deadline=None)
@given(st.text(max_size=40))
def test_parsing_is_total_and_its_text_parses_again(text: str) -> None:
    found = parse(text)
    if found is not None:
        assert parse(str(found)) == found


@pytest.mark.parametrize("slip", ["reviws", "eviews", "reviewss", "rewiews", "r-eviews"])
def test_one_slip_of_the_finger_is_understood_among_many(slip: str) -> None:
    many = [service(f"service-{number:03}") for number in range(300)]
    found = mesh(*many, service("reviews")).read(resolve, "shop", slip)
    assert isinstance(found, Refused)
    assert "did you mean reviews?" in found.text


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("reviews", ("here", "reviews")),
        ("reviews.shop", ("shop", "reviews")),
        ("reviews.shop.svc", ("shop", "reviews")),
        ("reviews.shop.svc.cluster.local", ("shop", "reviews")),
        ("pod.reviews.shop", None),
        ("pod.reviews.shop.svc", None),
        ("reviews.svc", ("svc", "reviews")),
        ("svc", ("here", "svc")),
    ],
)
def test_splits_the_names_of_a_service(host: str, expected: tuple[str, str] | None) -> None:
    assert split_service(host, "here", "cluster.local") == expected


@pytest.mark.parametrize(
    "text",
    ["reviews", "reviews:80", "REVIEWS.shop", "reviews.shop:80", "reviews.shop.svc",
     "reviews.shop.svc:80", "reviews.shop.svc.cluster.local", "10.96.0.1", "10.96.0.1:80"],
)  # fmt: skip
def test_all_names_of_a_port_are_one_destination(text: str) -> None:
    graph = mesh(service("reviews", address="10.96.0.1"))
    found = graph.read(destination, "shop", text, SCOPE)
    assert found.target == port("reviews")
    assert found.fragment == graph.read(destination, "shop", "reviews", SCOPE).fragment
    assert text.lower() in graph.read(port_host, "shop", port("reviews")).domains


def test_short_names_belong_to_the_clients_namespace() -> None:
    graph = mesh(service("reviews"), service("reviews", namespace="other"))
    assert graph.read(resolve, "shop", "reviews") == port("reviews")
    assert graph.read(resolve, "other", "reviews") == port("reviews", namespace="other")
    assert "reviews" not in graph.read(port_host, "", port("reviews")).domains


@pytest.mark.parametrize(
    ("text", "status", "part"),
    [
        ("reviews:81", 502, "its ports: 80"),
        ("admin", 502, "has no port 80, which is meant without one; its ports: 8080"),
        ("ledger:9000", 502, "mesh.plait.dev/tcp-forwards: 'LOCALPORT:ledger.shop:9000'"),
        ("reviws", 502, "did you mean reviews?"),
        ("x.shop", 502, "no Service 'x' in namespace 'shop'"),
        ("x.nowhere.svc", 502, "Check the namespace"),
        ("p.reviews.shop.svc", 502, "single pods"),
        ("reviews.shop.", 502, "ends with a dot"),
        ("10.0.0.1:8080", 502, "the address of pod shop/a"),
        ("[fd00:0::1]:80", 502, "ask for fd00::1"),
        ("240.0.0.1", 502, "the mesh's range 240.0.0.0/16"),
    ],
)
def test_what_leads_nowhere_says_why(text: str, status: int, part: str) -> None:
    admin = {"name": "http", "port": 8080}
    graph = mesh(
        service("reviews"), service("admin", admin), service("ledger", TCP), pod("a", "10.0.0.1")
    )
    meaning = graph.read(resolve, "shop", text)
    assert isinstance(meaning, Refused)
    assert meaning.status == status
    assert part in meaning.text
    found = graph.read(destination, "shop", text, SCOPE)
    assert found.target is None
    assert found.needs == ()
    assert part.encode() in graph.read(host_fragment, *found.fragment.args)


def test_outside_is_let_through_or_refused_by_the_mesh() -> None:
    graph = mesh()
    assert graph.read(resolve, "shop", "api.example.com") == Outside("api.example.com", 80)
    assert graph.read(resolve, "shop", "192.0.2.1:8000") == Outside("192.0.2.1", 8000)
    refuse = own("MeshConfig", "default", {"outside": "Refuse"}, "plait-system")
    closed = mesh(refuse, service("pay", external="pay.example.com"))
    meaning = closed.read(resolve, "shop", "api.example.com")
    assert isinstance(meaning, Refused)
    assert meaning.status == 403
    assert closed.read(resolve, "shop", "pay:443") == port("pay", 443), "an object of the mesh"


def test_a_malformed_authority_has_no_virtual_host() -> None:
    graph = mesh()
    assert graph.read(resolve, "shop", "*") == MALFORMED
    found = graph.read(destination, "shop", "*", SCOPE)
    assert graph.read(host_fragment, *found.fragment.args) == b""


def test_a_dead_name_that_came_alive_still_answers() -> None:
    graph = mesh()
    dead = graph.read(destination, "shop", "reviews", SCOPE).fragment.args[1]
    assert graph.read(dead_host, dead).routes[0].action.status == 502
    put(graph, service("reviews"))
    assert graph.read(dead_host, dead).routes[0].action.status == 503
    assert graph.read(destination, "shop", "reviews", SCOPE).target == port("reviews")


NAMES = st.sampled_from(["a", "b", "svc"])
HOSTS = st.one_of(
    NAMES,
    st.tuples(NAMES, NAMES).map(".".join),
    st.tuples(NAMES, NAMES).map(lambda pair: f"{pair[0]}.{pair[1]}.svc"),
    st.tuples(NAMES, NAMES).map(lambda pair: f"{pair[0]}.{pair[1]}.svc.cluster.local"),
    st.sampled_from(
        ["10.96.0.1", "10.96.0.2", "api.example.com", "[fd00::1]", "[fd00:0::1]", "a.b.c"]
    ),
)
AUTHORITIES = st.tuples(HOSTS, st.sampled_from(["", ":80", ":8080", ":9000"])).map("".join)
SERVICES = st.lists(
    st.tuples(NAMES, NAMES, st.sampled_from(["", "10.96.0.1", "10.96.0.2"]), st.booleans()),
    max_size=5,
    unique_by=lambda each: each[:2],
)


@settings(deadline=None)
@given(SERVICES, st.lists(AUTHORITIES, min_size=2, max_size=8), NAMES, st.booleans())
def test_no_domain_stands_twice_in_a_table(
    services: list[tuple[str, str, str, bool]], asked: list[str], client: str, consumer: bool
) -> None:
    second = {"name": "alt", "port": 8080}
    http = {"name": "http", "port": 80}
    objects = [
        service(name, http, *([second] if two else [TCP]), namespace=ns, address=address)
        for name, ns, address, two in services
    ]
    if consumer:
        objects.append(route("r", "a", {}, namespace=client, parent_namespace="b"))
    graph = mesh(*objects)
    fragments = {graph.read(destination, client, text, SCOPE).fragment for text in asked}
    domains: list[str] = []
    for text in asked:
        found = graph.read(destination, client, text, SCOPE)
        host = _host(graph, found.fragment.args)
        assert host is not None
        assert text in host.domains, "what was asked for is served by what is given"
    for fragment in fragments:
        host = _host(graph, fragment.args)
        domains.extend(host.domains)
    assert len(domains) == len(set(domains))


def _host(graph, args):  # type: ignore[no-untyped-def]
    view, target, _ = args
    if isinstance(target, PortRef):
        return graph.read(port_host, view, target)
    if isinstance(target, Outside):
        return graph.read(outside_host, *target)
    return graph.read(dead_host, target)
