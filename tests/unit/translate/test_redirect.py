"""Redirect mode: what a sidecar always holds, and what its outbound and inbound listeners take."""

from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.graph import Graph
from controlplane.translate.redirect import outbound_listener
from controlplane.translate.redirect_inbound import inbound_listener_of, profile
from controlplane.translate.resources import fixed
from tests.unit.translate.meshes import found, key, mesh, own, pod, put, redirected, service
from xds.ir.listener import Chain, FirstContact, Http, Listener, Tcp

MESH = ("plait-h1", "plait-h2", "plait-w1", "plait-tcp")
PORTS = [("http", 8080), ("grpc-x", 9090), ("tcp-x", 9000), ("x", 7000), ("https", 8443)]
STRICT = own("MutualTLS", "m", {"mode": "Strict"})
GUARDED = (15001, 15002, 15003, 15006)


def config(**spec: Any) -> dict[str, Any]:
    return own("MeshConfig", "default", spec, "plait-system")


def inbound(graph: Graph, name: str = "a") -> Listener:
    return inbound_listener_of(graph.read(profile, key(name), "cluster.local", False))


def cluster_of(chain: Chain) -> str:
    if isinstance(chain.filters, Tcp):
        return chain.filters.cluster
    assert isinstance(chain.filters, Http)
    assert not isinstance(chain.filters.routes, str)
    action = chain.filters.routes.hosts[0].routes[0].action
    return action.backends[0].cluster  # type: ignore[union-attr]


def taken_by(
    listener: Listener, port: int, alpn: str = "", transport: str = "raw_buffer", address: str = ""
) -> Chain | None:
    """The chain that Envoy gives a connection without SNI: port first, then the rest, never
    back."""
    named = [c for c in listener.chains if c.destination_port == port]
    level = named or [c for c in listener.chains if c.destination_port is None]
    level = [c for c in level if not c.server_names and (not c.ranges or address)]
    exact = [c for c in level if (transport == "tls") == (c.tls is not None) and _transport(c)]
    level = exact or [c for c in level if not _transport(c)]
    fitting = [c for c in level if alpn in c.alpn] or [c for c in level if not c.alpn]
    return fitting[0] if fitting else listener.default


def _transport(chain: Chain) -> str:
    return "tls" if chain.tls else chain.transport


def test_what_a_sidecar_always_holds() -> None:
    graph = mesh(redirected("a", "10.0.0.1"), service("a"), service("b"))
    assert [wanted.name for wanted in graph.read(fixed, key("a"))] == [
        "BlackHole", "local", "Passthrough", "in", "in-h2", "outbound", "loop", "detect", "in",
    ]  # fmt: skip


def test_replicas_share_all_of_it() -> None:
    labels = {"app": "a"}
    graph = mesh(
        redirected("a-1", "10.0.0.1", labels=labels, account="a"),
        redirected("a-2", "10.0.0.2", labels=labels, account="a"),
    )
    assert graph.read(fixed, key("a-1")) == graph.read(fixed, key("a-2"))


def test_a_pod_needs_the_annotation_and_an_address() -> None:
    new = redirected("new", "10.0.0.2")
    del new["status"]["podIP"], new["status"]["podIPs"]
    graph = mesh(pod("plain", "10.0.0.1", sidecar=False), new)
    assert graph.read(fixed, key("plain")) == ()
    assert graph.read(fixed, key("new")) == ()


def chains(listener: Listener) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for chain in listener.chains:
        if isinstance(chain.filters, FirstContact):
            yield chain.name, chain.ranges, "asks"
        else:
            assert isinstance(chain.filters, Tcp)
            yield chain.name, chain.ranges, chain.filters.cluster


def test_outbound_asks_for_the_mesh_alone() -> None:
    ranges = ["10.0.0.0/8", "10.1.2.3/8", "fd00::/64"]
    graph = mesh(config(meshRanges=ranges), service("kubernetes", namespace="default"))
    made = graph.read(outbound_listener, False)
    assert list(chains(made))[4:] == [
        ("first", ("10.0.0.0/8", "240.0.0.0/16", "fd00::/64"), "asks")
    ], "each range once: Envoy refuses a chain that has one twice"
    assert made.default is not None
    assert cluster_of(made.default) == "Passthrough"
    assert not made.inspect_tls, "a server that speaks first would wait"
    assert made.use_original_dst
    put(graph, service("kubernetes", namespace="default", address="10.96.0.1"))
    found = list(chains(graph.read(outbound_listener, False)))
    assert ("api", ("10.96.0.1/32",), "Passthrough") in found


def test_outbound_refuses_what_is_outside_where_the_mesh_may_not_be_left() -> None:
    made = mesh(config(outside="Refuse")).read(outbound_listener, False)
    assert made.default is not None
    assert cluster_of(made.default) == "BlackHole"


def test_the_sidecars_own_ports_lead_nowhere() -> None:
    graph = mesh(redirected("a", "10.0.0.1", ports=[("http", 15006), ("http", 8080)]))
    for made in (graph.read(outbound_listener, False), inbound(graph)):
        for port in GUARDED:
            for transport in ("raw_buffer", "tls"):
                chain = taken_by(made, port, "plait-h1", transport, "10.0.0.1")
                assert chain is not None
                assert cluster_of(chain) == "BlackHole"


@pytest.mark.parametrize("dual", [False, True])
def test_addresses_of_listeners(dual: bool) -> None:
    more = ("fd00::1",) if dual else ("fe80::1",)
    graph = mesh(redirected("a", "10.0.0.1", *more))
    by_name = {(w.type_url[-8:], w.name): w.args for w in graph.read(fixed, key("a"))}
    assert by_name["Listener", "outbound"] == (dual,)
    assert graph.read(outbound_listener, dual).address == ("::" if dual else "0.0.0.0")
    assert graph.read(outbound_listener, dual).ipv4_compat is dual


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (8080, ("in", "in", "in", "in")),
        (9090, ("in-h2", "in-h2", "in-h2", "in")),
        (9000, ("in", "in-h2", "in", "in")),
        (7000, ("in", "in-h2", "in", "in")),
        (1234, ("in", "in-h2", "in", "in")),
    ],
)
def test_other_sidecars_reach_every_port(
    strict: bool, port: int, expected: tuple[str, ...]
) -> None:
    graph = mesh(redirected("a", "10.0.0.1", ports=PORTS), *([STRICT] if strict else []))
    found = [taken_by(inbound(graph), port, alpn, "tls") for alpn in MESH]
    assert tuple(cluster_of(chain) for chain in found if chain) == expected
    for chain in found:
        assert chain is not None
        assert chain.tls is not None
        if isinstance(chain.filters, Http):
            assert chain.filters.max_connection_duration is not None


@pytest.mark.parametrize(
    ("port", "alpn", "expected"),
    [
        (8080, "http/1.1", "in"), (9090, "h2c", "in-h2"), (9000, "", "in"), (1234, "", "in"),
        (7000, "http/1.1", "in"), (7000, "h2c", "in-h2"), (7000, "", "in"), (8443, "", "in"),
    ],
)  # fmt: skip
def test_plain_text_is_taken_unless_strict(port: int, alpn: str, expected: str) -> None:
    graph = mesh(redirected("a", "10.0.0.1", ports=PORTS))
    chain = taken_by(inbound(graph), port, alpn)
    assert chain is not None
    assert cluster_of(chain) == expected
    own_tls = taken_by(inbound(graph), port, "h2", "tls")
    assert own_tls is not None
    assert (own_tls.name, cluster_of(own_tls)) == ("plain", "in"), "the application's own TLS"
    put(graph, STRICT)
    assert taken_by(inbound(graph), port, alpn) is None
    assert taken_by(inbound(graph), port, "h2", "tls") is None


def test_http_is_looked_for_on_undeclared_ports_alone() -> None:
    graph = mesh(redirected("a", "10.0.0.1", ports=PORTS))
    made = inbound(graph)
    assert (made.inspect_http, made.inspect_http_ports) == (True, (7000,))
    put(graph, STRICT)
    assert not inbound(graph).inspect_http


def test_readiness_is_answered_in_every_mode() -> None:
    graph = mesh(redirected("a", "10.0.0.1"))
    for _ in range(2):
        chain = taken_by(inbound(graph), 15021)
        assert chain is not None
        assert chain.name == "ready"
        put(graph, STRICT)


def test_names_of_chains_are_unique() -> None:
    for made in (inbound(mesh(redirected("a", "10.0.0.1", ports=PORTS))),):
        names = [chain.name for chain in made.chains]
        assert len(set(names)) == len(names)


def test_problems_of_redirected_pods() -> None:
    graph = mesh(
        redirected("own", "10.0.0.1", ports=[("http", 15001)]),
        redirected("forwards", "10.0.0.2", annotations={"mesh.plait.dev/tcp-forwards": "1:a:80"}),
        redirected("both", "10.0.0.3", annotations={"mesh.plait.dev/app-address": "10.9.0.3"}),
        pod("typo", "10.0.0.4", sidecar=False, annotations={"mesh.plait.dev/capture": "redirct"}),
        redirected("good", "10.0.0.5"),
        service("a", {"port": 15006}, {"name": "good", "port": 15021}),
    )
    texts = {
        name: [each.message for each in found(graph, "Pod", name)]
        for name in ("own", "forwards", "both", "typo", "good")
    }
    assert "sidecar's own" in texts["own"][0]
    assert any("belong to proxy mode" in text for text in texts["forwards"])
    assert "is in proxy mode" in texts["both"][0]
    assert "'redirct' is no way" in texts["typo"][0]
    assert texts["good"] == []
    assert [each.field for each in found(graph, "Service", "a")] == ["spec.ports[0].port"]
