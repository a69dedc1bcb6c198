"""A real Envoy takes the shapes of redirect mode, and does what they say, as far as can be seen
without redirection: where a connection was going is said by a PROXY header, or is the listener."""

import asyncio
import ipaddress
import json
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.envoy_under_test import (
    DEADLINE,
    Envoy,
    FixedAds,
    echo_application,
    free_port,
    run,
    serve,
)
from tests.unit.test_build_envoy import Authority
from xds import types
from xds.build import clusters, endpoints, listeners, routes, secrets
from xds.ir import cluster as ir
from xds.ir.endpoint import Endpoint
from xds.ir.listener import (
    ByDestination,
    Chain,
    Codec,
    Direction,
    DownstreamTls,
    FirstContact,
    Http,
    Listener,
    Tcp,
)
from xds.ir.route import Backend, Forward, Match, Route, RouteTable, VirtualHost
from xds.ir.secret import LeafSecret, PrivateBytes, RootsSecret
from xds.names import detected, parse_asked, promoted_listener
from xds.wire.resource import Resource

pytestmark = pytest.mark.envoy

SECOND = timedelta(seconds=1)
HOST = "127.0.0.1"
OUT = Direction.OUTBOUND
PLACE = ("10.96.0.5", 80)
PLACE6 = ("fd00::5", 80)
OTHER = ("10.96.0.6", 7000)
BANNER = b"220 ready\r\n"


def contact_http(stat_prefix: str) -> Http:
    return Http(
        stat_prefix, Codec.AUTO, "fc", OUT, stamp_destination=True, max_requests_per_connection=1
    )


def table(domain: str) -> VirtualHost:
    return VirtualHost(domain, (domain,), (Route("all", Match(), Forward((Backend("app"),))),))


def fragment(domain: str) -> bytes:
    return routes.host_fragment(table(domain))


def identity() -> tuple[Resource, Resource]:
    authority = Authority()
    chain, key = authority.leaf("spiffe://cluster.local/ns/a/sa/test")
    return (
        secrets.leaf(LeafSecret("identity", chain, PrivateBytes(key), "leaf|1")),
        secrets.roots(RootsSecret("roots|cluster.local", authority.root)),
    )


@dataclass
class Ports:
    first: int
    loop: int
    detect: int
    limited: int
    many: int
    inbound: int


def fixed_listeners(ports: Ports) -> list[Listener]:
    """Those with a socket; a chain for each thing that a chain may match."""
    hole = Tcp("hole", "BlackHole", OUT, timedelta(0))
    detect = Chain(
        "http", contact_http("detect"), ("http/1.0", "http/1.1", "h2c"), transport="raw_buffer"
    )
    matching = (
        Chain("guard", hole, destination_port=1),
        Chain("api", hole, ranges=("10.96.0.1/32",)),
        Chain("ranges", hole, ranges=("10.96.0.0/12", "fd00::/8", "10.7.7.7/16")),
        Chain("raw", hole, destination_port=2, transport="raw_buffer"),
        Chain("tls", hole, ("plait-tcp",), destination_port=2, transport="tls"),
    )
    many = Listener("many", HOST, ports.many, OUT, matching, True, True, (1, 2))
    tcp = Tcp("in", "t|app", Direction.INBOUND)
    mtls = DownstreamTls(("cluster.local",), ("plait-tcp",))
    return [
        Listener(
            "in",
            HOST,
            ports.inbound,
            Direction.INBOUND,
            (Chain("mesh", tcp, mtls.alpn, mtls),),
            inspect_tls=True,
            default=Chain("plain", tcp),
        ),
        Listener("first", HOST, ports.first, OUT, (Chain("first", FirstContact("first", OUT)),)),
        Listener(
            "limited",
            HOST,
            ports.limited,
            OUT,
            (Chain("first", FirstContact("limited", OUT, per_second=1, burst=2)),),
        ),
        Listener(
            "loop", HOST, ports.loop, OUT, (Chain("l", contact_http("fc")),), proxy_protocol=True
        ),
        Listener(
            "detect",
            HOST,
            ports.detect,
            OUT,
            (detect,),
            inspect_tls=True,
            inspect_http=True,
            silence=SECOND / 5,
            default=Chain("tcp", ByDestination("detect", OUT)),
            proxy_protocol=True,
        ),
        replace(many, original_dst=True, use_original_dst=True, default=Chain("rest", hole)),
        replace(many, name="one", port=free_port(), inspect_http_ports=(1,)),
        replace(many, name="dual", address="::", port=free_port(), ipv4_compat=True),
    ]


def promoted() -> list[Listener]:
    """Those without a socket; several may have one address and port."""
    http = Http("p", Codec.AUTO, "r|app", OUT)
    chain = Chain("http", http)
    places = (PLACE, PLACE6)
    return [
        Listener(promoted_listener(*each), *each, OUT, (chain,), bind_to_port=False)
        for each in places
    ]


def every_cluster() -> list[ir.Cluster]:
    tls = ir.UpstreamTls("", "cluster.local", ("spiffe://cluster.local/ns/a/sa/b",))
    return [
        ir.OriginalDstCluster("in", ir.Wire.HTTP1, sources=("127.0.0.6", "::1")),
        ir.OriginalDstCluster("in-h2", ir.Wire.HTTP2, sources=("127.0.0.6",)),
        ir.OriginalDstCluster("Passthrough", ir.Wire.AS_CLIENT),
        ir.StaticCluster("BlackHole", "", 0, ir.Wire.TCP),
        ir.EdsCluster("t|app", "e|app", ir.Wire.TCP),
        ir.OriginalDstCluster("plain", ir.Wire.TCP, tls=None, stat_name="in"),
        replace(ir.OriginalDstCluster("o|a|b|h", ir.Wire.HTTP2), tls=tls),
    ]


@dataclass
class Edge:
    envoy: Envoy
    ads: FixedAds
    ports: Ports

    async def stat(self, name: str) -> int:
        found = json.loads(await self.envoy.admin(f"/stats?format=json&filter=^{name}$"))
        return int(found["stats"][0]["value"]) if found["stats"] else 0


@asynccontextmanager
async def banner_server() -> AsyncIterator[int]:
    """A server that speaks first, then echoes a line."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BANNER)
        writer.write(b"echo " + await reader.readline())
        writer.close()

    server = await asyncio.start_server(talk, HOST, 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(echo_application())
        server = await stack.enter_async_context(banner_server())
        ads = await stack.enter_async_context(serve())
        ports = Ports(*(free_port() for _ in range(6)))
        known = [fragment("10.96.0.5:80"), fragment("[fd00::5]:80")]
        behind = ir.EdsCluster("t|app", "e|app", ir.Wire.TCP)
        ads.hold(
            "edge",
            *(clusters.cluster(each) for each in every_cluster()),
            clusters.cluster(ir.StaticCluster("app", HOST, app, ir.Wire.AS_CLIENT)),
            clusters.cluster(replace(behind, name=detected(*PLACE), stat_name="t|app")),
            endpoints.assignment("e|app", [endpoints.fragment((Endpoint(HOST, server),))]),
            *(listeners.listener(each, SECOND) for each in (*fixed_listeners(ports), *promoted())),
            routes.join_first_contact(known),
            routes.route_table(RouteTable("r|app", (table("*"),))),
            *identity(),
        )
        envoy = await stack.enter_async_context(run("edge", ads, tmp_path))
        yield Edge(envoy, ads, ports)


def proxy_header(destination: tuple[str, int]) -> bytes:
    """PROXY protocol, version 2: from a client of the same family to ``destination``."""
    address = ipaddress.ip_address(destination[0])
    source = ipaddress.ip_address("10.0.0.9" if address.version == 4 else "fd00::9")
    body = source.packed + address.packed + struct.pack("!HH", 4000, destination[1])
    family = 0x11 if address.version == 4 else 0x21
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes((0x21, family)) + struct.pack("!H", len(body)) + body


async def talk(port: int, sent: bytes) -> bytes:
    """Send, and read until the other side closes."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(sent)
        received = b""
        try:
            while data := await reader.read(65536):
                received += data
        except ConnectionResetError:
            received += b"<reset>"
        writer.close()
        return received


def request(path: str, headers: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: Shop.Example:80\r\n{headers}\r\n".encode()


def answered(received: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


async def test_envoy_holds_every_shape(edge: Edge) -> None:
    assert edge.ads.rejections == []
    dump = json.loads(await edge.envoy.admin("/config_dump"))["configs"]
    listening = [each for part in dump for each in part.get("dynamic_listeners", [])]
    active = {each["name"] for each in listening if "active_state" in each}
    assert active == {each.name for each in fixed_listeners(edge.ports)} | {
        "p|10.96.0.5:80",
        "p|[fd00::5]:80",
    }


@pytest.mark.parametrize("place", [PLACE, PLACE6])
async def test_the_loop_goes_by_the_destination_and_by_nothing_that_a_client_says(
    edge: Edge, place: tuple[str, int]
) -> None:
    lie = "x-plait-dst: 10.96.0.6:7000\r\nx-plait-dst: 10.96.0.7:7000\r\n"
    status, headers, body = answered(
        await talk(edge.ports.loop, proxy_header(place) + request("/a", lie))
    )
    assert status == 200
    assert headers["connection"] == "close", "the next connection finds the promoted listener"
    seen = json.loads(body)["headers"]
    assert seen["host"] == "Shop.Example:80"
    assert "x-plait-dst" not in seen


async def test_the_loop_knows_no_other_destination(edge: Edge) -> None:
    lie = "x-plait-dst: 10.96.0.5:80\r\nconnection: close\r\n"
    received = await talk(edge.ports.loop, proxy_header(OTHER) + request("/", lie))
    assert answered(received)[0] == 404


@pytest.mark.parametrize("sent", [request("/"), b"x" * 20])
async def test_the_loop_takes_nothing_without_a_header(edge: Edge, sent: bytes) -> None:
    received = await talk(edge.ports.loop, sent)
    assert received in (b"", b"<reset>")


async def test_first_contact_with_http_goes_round_the_loop(edge: Edge) -> None:
    place = f"{HOST}:{edge.ports.first}"

    def answer(name: str) -> Sequence[Resource]:
        table = routes.join_first_contact([fragment(place)])
        return (table, clusters.asked_loop(name, edge.ports.loop))

    edge.ads.answer = answer
    status, headers, _ = answered(await talk(edge.ports.first, request("/first")))
    assert (status, headers["connection"]) == (200, "close")
    (name,) = edge.ads.asked
    asked = parse_asked(name)
    assert asked is not None
    assert (asked.capture, asked.target) == ("f", place)
    assert edge.ads.rejections == []


async def test_first_contact_with_tcp_reaches_the_backend_itself(edge: Edge) -> None:
    backend = ir.EdsCluster("t|app", "e|app", ir.Wire.TCP)
    # A cluster that joins an assignment which others have is given it only when it is sent again.
    load = edge.ads.tables["edge"][types.ENDPOINT]["e|app"]
    edge.ads.answer = lambda name: (clusters.asked_backend(name, backend), load)
    assert await talk(edge.ports.first, b"hello\n") == BANNER + b"echo hello\n"
    assert await edge.stat(r"cluster\.t\|app\.upstream_cx_total") == 1, "it counts as use"


async def test_first_contact_with_nothing_is_closed(edge: Edge) -> None:
    edge.ads.answer = lambda name: (clusters.asked_nothing(name),)
    assert await talk(edge.ports.first, b"hello\n") in (b"", b"<reset>")


async def test_a_scan_asks_no_more_than_the_limit_allows(edge: Edge) -> None:
    edge.ads.answer = lambda name: (clusters.asked_nothing(name),)
    for _ in range(20):
        await talk(edge.ports.limited, b"")
    assert await edge.stat(r"local_rate_limit\.limited\.rate_limited") >= 10


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"", BANNER), (b"hello\n", BANNER + b"echo hello\n"), (b"\x16\x03\x01\n", BANNER)],
)
async def test_an_undeclared_port_may_speak_anything(
    edge: Edge, sent: bytes, expected: bytes
) -> None:
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(HOST, edge.ports.detect)
        writer.write(proxy_header(PLACE) + sent)
        assert await reader.readexactly(len(expected)) == expected
        writer.close()
        await writer.wait_closed()


async def test_an_undeclared_port_finds_http(edge: Edge) -> None:
    status, headers, _ = answered(await talk(edge.ports.detect, proxy_header(PLACE) + request("/")))
    assert (status, headers["connection"]) == (200, "close")


async def test_tcp_to_an_unknown_destination_asks_nothing(edge: Edge) -> None:
    received = await talk(edge.ports.detect, proxy_header(OTHER) + b"hello\n")
    assert received in (b"", b"<reset>")
    assert edge.ads.asked == []


@pytest.mark.parametrize("alpn", [[], ["h2", "http/1.1"]])
async def test_the_applications_own_tls_reaches_it_as_it_came(edge: Edge, alpn: list[str]) -> None:
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(alpn)
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="app")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection(HOST, edge.ports.inbound)
        writer.write(sent.read())
        assert await reader.readexactly(len(BANNER)) == BANNER
        writer.close()


def test_a_chain_with_tls_matches_tls() -> None:
    tls = DownstreamTls(("cluster.local",), ("plait-tcp",))
    chain = Chain("c", Tcp("t", "BlackHole", Direction.INBOUND), ("plait-tcp",), tls)
    made = Listener("in", HOST, 1, Direction.INBOUND, (replace(chain, destination_port=8080),))
    assert b"tls" in listeners.listener(made, SECOND).entry
