"""What a sidecar always holds: inbound ports and chains, forwards, and who the workload is."""

import pytest

from controlplane.api.problem import Reason, Severity
from controlplane.graph import Graph
from controlplane.translate.forwards import forward_faults, forwards, parse
from controlplane.translate.inbound import inbound_listener_ir, inbound_ports
from controlplane.translate.protocols import Protocol
from controlplane.translate.resources import fixed, workload
from controlplane.translate.workloads import Capture
from tests.unit.translate.meshes import found, key, mesh, own, pod, put, service
from xds.ir.listener import Http, Tcp


def test_ports_come_from_containers_and_selecting_services() -> None:
    graph = mesh(
        pod("a", "10.0.0.1", ports=[("web", 8080), ("grpc-x", 9090)]),
        service("a", {"name": "http", "port": 80, "targetPort": "web"}),
        service("b", {"name": "tcp", "port": 7000}, selector={"app": "a"}),
        service("c", {"name": "http", "port": 1, "targetPort": 2}, selector={"app": "other"}),
        service("d", {"name": "http", "port": 1, "targetPort": "none"}, selector={"app": "a"}),
    )
    assert graph.read(inbound_ports, key("a")) == (
        (7000, Protocol.TCP),
        (8080, Protocol.HTTP),
        (9090, Protocol.HTTP2),
    )


def listener_chains(protocol: str, strict: bool) -> dict[str, object]:
    declared = {"port": 80, "targetPort": 8080}
    if protocol:
        declared["appProtocol"] = protocol  # type: ignore[assignment]
    objects = [own("MutualTLS", "m", {"mode": "Strict"})] if strict else []
    graph = mesh(pod("a", "10.0.0.1", ports=[("", 8080)]), service("a", declared), *objects)
    found_listener = graph.read(inbound_listener_ir, key("a"), 8080)
    assert found_listener is not None
    result: dict[str, object] = {}
    default = found_listener.default
    for chain in (*found_listener.chains, *((default,) if default else ())):
        assert (chain.tls is not None) == chain.name.startswith("plait-")
        if isinstance(chain.filters, Tcp):
            result[chain.name] = chain.filters.cluster
        else:
            table = chain.filters.routes
            assert not isinstance(table, str)
            result[chain.name] = table.hosts[0].routes[0].action.backends[0].cluster  # type: ignore[union-attr]
    return result


MESH = ("plait-h1", "plait-h2", "plait-w1", "plait-tcp")


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("http", {"plain": "h1", **dict(zip(MESH, ("h1", "h1", "h1", "tcp"), strict=True))}),
        (
            "grpc",
            {
                "plain": "h2",
                "plait-grpc": "h2",
                **dict(zip(MESH, ("h2", "h2", "h2", "tcp"), strict=True)),
            },
        ),
        ("tcp", {"plain": "tcp", **dict(zip(MESH, ("h1", "h2", "h1", "tcp"), strict=True))}),
        (
            "",
            {"plain-h1": "h1", "plain-h2": "h2", "plain": "tcp",
             **dict(zip(MESH, ("h1", "h2", "h1", "tcp"), strict=True))},
        ),
    ],
)  # fmt: skip
def test_chains(protocol: str, expected: dict[str, str]) -> None:
    permissive = listener_chains(protocol, strict=False)
    assert permissive == {name: f"in|8080|{wire}" for name, wire in expected.items()}
    strict = listener_chains(protocol, strict=True)
    mutual = {name: made for name, made in permissive.items() if name.startswith("plait-")}
    assert mutual.keys() >= set(MESH)
    assert strict == mutual, "nothing but mTLS"


def test_only_connections_between_sidecars_have_a_longest_life() -> None:
    graph = mesh(pod("a", "10.0.0.1"), service("a"))
    made = graph.read(inbound_listener_ir, key("a"), 8080)
    assert made is not None
    for chain in made.chains:
        if isinstance(chain.filters, Http):
            limit = chain.filters.max_connection_duration
            assert (limit is not None) == (chain.tls is not None)


def names(graph: Graph, pod_name: str = "a") -> list[str]:
    return [wanted.name for wanted in graph.read(fixed, key(pod_name))]


def test_what_a_sidecar_always_holds() -> None:
    forward = {"mesh.plait.dev/tcp-forwards": "5000:b:9000, 5001:b.shop:9001"}
    graph = mesh(
        pod("a", "10.0.0.1", annotations=forward),
        service("b", {"name": "tcp", "port": 9000}),
    )
    assert names(graph) == [
        "BlackHole", "local", "proxy", "ploop", "in|8080|h1", "in|8080|tcp", "in|8080",
        "q|shop|b|9000", "t|shop|b|9000", "e|shop|b|9000", "q|shop|b|9001",
    ]  # fmt: skip
    put(graph, service("b", {"name": "tcp", "port": 9000}, {"name": "x", "port": 9001}))
    assert names(graph)[-3:] == ["q|shop|b|9001", "t|shop|b|9001", "e|shop|b|9001"]


def test_only_proxy_mode_has_anything_fixed() -> None:
    graph = mesh(pod("a", "10.0.0.1", sidecar=False))
    assert names(graph) == []
    assert names(graph, "gone") == []


def test_a_workload_is_what_its_row_says() -> None:
    config = own("MeshConfig", "default", {"trustDomain": "x.example"}, "plait-system")
    graph = mesh(config, pod("a-1", "10.0.0.1", labels={"app": "a"}, account="acc"))
    work = graph.read(workload, key("a-1"))
    assert work is not None
    assert (work.namespace, work.pod, work.owner, work.account) == ("shop", "a-1", "a", "acc")
    assert work.spiffe_id == "spiffe://x.example/ns/shop/sa/acc"
    assert (work.capture, work.scope.trust_domain) == (Capture.PROXY, "x.example")
    assert graph.read(workload, key("gone")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5000:ledger.shop:9000", (5000, "shop", "ledger", 9000)),
        (" 1:Ledger:65535 ", (1, "here", "ledger", 65535)),
        ("1:l.s.svc.cluster.local:2", (1, "s", "l", 2)),
        ("", None),
        ("5000:ledger", None),
        ("x:ledger:1", None),
        ("0:ledger:1", None),
        ("1:ledger:65536", None),
        ("1::2", None),
        ("1:.shop:2", None),
        pytest.param("9" * 5000 + ":ledger:1", None, id="endless"),
    ],
)
def test_parses_forwards(text: str, expected: tuple[int, str, str, int] | None) -> None:
    assert parse(text, "here") == expected


def test_a_bad_forward_costs_itself_alone() -> None:
    text = "8080:b:1, 15080:b:1, 1:b:9000, 1:c:9000, 2:b:9000, x, 3:gone:1, 4:e:1"
    graph = mesh(
        pod("a", "10.0.0.1", annotations={"mesh.plait.dev/tcp-forwards": text}),
        service("b", {"name": "tcp", "port": 9000}),
        service("c", {"name": "tcp", "port": 9000}),
        service("e", external="e.example.com"),
    )
    assert [f.local for f in graph.read(forwards, key("a")) if f.target] == [1]
    assert len(graph.read(forward_faults, key("a"))) == 7
    assert len(found(graph, "Pod", "a")) == 7


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("mesh.plait.dev/app-adress", "Did you mean mesh.plait.dev/app-address?"),
        ("mesh.plait.dev/captur", "Did you mean mesh.plait.dev/capture?"),
        ("mesh.plait.dev/zzz", "Known: mesh.plait.dev/app-address, mesh.plait.dev/capture, "),
    ],
)
def test_an_unknown_annotation_of_ours_is_a_warning(name: str, remedy: str) -> None:
    graph = mesh(pod("a", "10.0.0.1", annotations={name: "127.0.0.1", "example.org/x": "y"}))
    [problem] = found(graph, "Pod", "a")
    assert (problem.reason, problem.severity) == (Reason.UNKNOWN_FIELD, Severity.WARNING)
    assert problem.field == f"metadata.annotations[{name}]"
    assert problem.remedy.startswith(remedy)
