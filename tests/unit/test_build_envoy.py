"""Two real Envoys speak to each other with what `xds.build` makes for them."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import aiohttp
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.unit.envoy_under_test import (
    DEADLINE,
    Envoy,
    FixedAds,
    echo_application,
    free_port,
    get,
    run,
    serve,
)
from xds import names
from xds.build import clusters, endpoints, listeners, routes, secrets
from xds.ir.cluster import EdsCluster, StaticCluster, UpstreamTls, Wire
from xds.ir.endpoint import Endpoint
from xds.ir.listener import Chain, Codec, Direction, DownstreamTls, Http, Listener, Tcp
from xds.ir.route import (
    Backend,
    Forward,
    HeaderEdits,
    Match,
    Origin,
    Route,
    RouteTable,
    VirtualHost,
)
from xds.ir.secret import LeafSecret, PrivateBytes, RootsSecret
from xds.wire.resource import Resource

pytestmark = pytest.mark.envoy

MINUTE = timedelta(minutes=1)
CLIENT = names.spiffe_id("cluster.local", "shop", "client")
SERVER = names.spiffe_id("cluster.local", "shop", "server")


class Authority:
    """A P-256 certificate authority for one test."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        self.root = self._sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0))

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> bytes:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1))
        builder = builder.not_valid_after(now + timedelta(hours=1))
        for each in extensions:
            builder = builder.add_extension(each, critical=True)
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def leaf(self, identity: str) -> tuple[bytes, bytes]:
        """A chain and its key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self._sign(x509.Name([]), key, uri), pem

    def secrets(self, identity: str) -> tuple[Resource, Resource]:
        chain, key = self.leaf(identity)
        return (
            secrets.leaf(LeafSecret("identity", chain, PrivateBytes(key), "leaf|1")),
            secrets.roots(RootsSecret("roots|cluster.local", self.root)),
        )


def forward(name: str, cluster: str) -> VirtualHost:
    action = Forward((Backend(cluster),))
    origin = Origin("shop/web", "0", ("RoutePolicy shop/slow",))
    domains = (name,) if name == "*" else (name, f"{name}:80")
    return VirtualHost(name, domains, (Route(name, Match(), action, origin),))


def inbound_chain(kind: str, codec: Codec, app: str) -> Chain:
    """An inbound chain that says in a header which chain it is."""
    edits = HeaderEdits(set=(("x-chain", kind),))
    action = Forward((Backend(app),), response_headers=edits)
    table = RouteTable(kind, (VirtualHost("app", ("*",), (Route("app", Match(), action),)),))
    http = Http(f"in_{kind}", codec, table, Direction.INBOUND, forward_client_identity=True)
    return Chain(kind, http, (kind,), DownstreamTls(("cluster.local",), (kind,)))


class Ports(NamedTuple):
    """Of the server's sidecar."""

    strict: int
    permissive: int
    permissive_tcp: int


@dataclass
class Pair:
    """A client's sidecar and a server's; addresses of what a test dials."""

    ads: FixedAds
    client: Envoy
    server: Envoy
    proxy: str
    forward_port: int
    inbound: Ports
    authority: Authority


async def start_apps(stack: AsyncExitStack) -> dict[str, int]:
    """An HTTP/1.1 application, a gRPC one, and a TCP one that speaks first."""
    http = await stack.enter_async_context(echo_application())

    async def echo(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        return request[::-1]

    grpc_server = grpc.aio.server()
    method = {"Reverse": grpc.unary_unary_rpc_method_handler(echo)}
    grpc_server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", method),))
    grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
    await grpc_server.start()
    stack.push_async_callback(grpc_server.stop, None)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"welcome\n")
        while line := await reader.readline():
            writer.write(b"echo " + line)
        writer.close()
        await writer.wait_closed()

    tcp = await stack.enter_async_context(await asyncio.start_server(greet, "127.0.0.1", 0))
    return {"h1": http, "h2": grpc_port, "tcp": tcp.sockets[0].getsockname()[1]}


def server_side(ports: Ports, apps: dict[str, int]) -> list[Resource]:
    wires = {"h1": Wire.HTTP1, "h2": Wire.HTTP2, "tcp": Wire.TCP}
    tls = DownstreamTls(("cluster.local",), ("plait-tcp",))
    chains = (
        inbound_chain("plait-h1", Codec.HTTP2, "in|80|h1"),
        inbound_chain("plait-h2", Codec.HTTP2, "in|80|h2"),
        inbound_chain("plait-w1", Codec.HTTP1, "in|80|h1"),
        Chain("tcp", Tcp("in_tcp", "in|80|tcp", Direction.INBOUND), ("plait-tcp",), tls),
    )
    strict = Listener("in|80", "127.0.0.1", ports.strict, Direction.INBOUND, chains, True)
    table = RouteTable("plain", (forward("*", "in|80|h1"),))
    http = Chain("plain", Http("in_plain", Codec.AUTO, table, Direction.INBOUND))
    tcp = Chain("plain", Tcp("in_plain_tcp", "in|80|tcp", Direction.INBOUND))
    permissive = {
        "in|81": (ports.permissive, (*chains[:3], http)),
        "in|82": (ports.permissive_tcp, (chains[3], tcp)),
    }
    open_to_all = [
        Listener(name, "127.0.0.1", port, Direction.INBOUND, found, inspect_tls=True)
        for name, (port, found) in permissive.items()
    ]
    made = [
        clusters.cluster(StaticCluster(f"in|80|{kind}", "127.0.0.1", apps[kind], wire))
        for kind, wire in wires.items()
    ]
    return [*made, *(listeners.listener(each, MINUTE) for each in (strict, *open_to_all))]


def client_side(port: int, proxy: int, loop: int, forward_port: int) -> list[Resource]:
    tls = UpstreamTls("p80.web.shop.cluster.local", "cluster.local", (SERVER,))
    stranger = UpstreamTls("p80.web.shop.cluster.local", "cluster.local", (CLIENT,))
    tcp = UpstreamTls("p80.web.shop.cluster.local", "cluster.local", (SERVER,), ("plait-tcp",))
    nobody = UpstreamTls("p80.web.shop.cluster.local", "cluster.local", ())
    eds = "e|shop|web|80"
    known = [
        routes.host_fragment(forward("web", "h|shop|web|80")),
        routes.host_fragment(forward("mixed", "m|shop|web|80")),
        routes.host_fragment(forward("stranger", "h|shop|stranger|80")),
        routes.host_fragment(forward("nobody", "h|shop|nobody|80")),
    ]
    proxy_http = Http("proxy", Codec.AUTO, "px", Direction.OUTBOUND, asks=True)
    loop_http = Http("ploop", Codec.AUTO, "pxfc", Direction.OUTBOUND)
    outbound = Direction.OUTBOUND
    plain = {
        "proxy": Listener("proxy", "127.0.0.1", proxy, outbound, (Chain("p", proxy_http),)),
        "ploop": Listener("ploop", "127.0.0.1", loop, outbound, (Chain("p", loop_http),)),
        "tcp": Listener(
            "q|shop|web|80",
            "127.0.0.1",
            forward_port,
            outbound,
            (Chain("t", Tcp("q", "t|shop|web|80", outbound)),),
        ),
    }
    return [
        clusters.cluster(EdsCluster("h|shop|web|80", eds, Wire.HTTP2, tls)),
        clusters.cluster(EdsCluster("m|shop|web|80", eds, Wire.HTTP1, tls)),
        clusters.cluster(EdsCluster("h|shop|stranger|80", eds, Wire.HTTP2, stranger)),
        clusters.cluster(EdsCluster("h|shop|nobody|80", eds, Wire.HTTP2, nobody)),
        clusters.cluster(EdsCluster("t|shop|web|80", eds, Wire.TCP, tcp)),
        endpoints.assignment(
            eds, [endpoints.fragment((Endpoint("127.0.0.1", port, tls=True, zone="a"),))]
        ),
        *(listeners.listener(each, MINUTE) for each in plain.values()),
        routes.join_proxy_routes("px", known),
        routes.join_proxy_routes("pxfc", known),
    ]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        apps = await start_apps(stack)
        ads = await stack.enter_async_context(serve())
        inbound = Ports(free_port(), free_port(), free_port())
        proxy, loop, tcp = (free_port() for _ in range(3))
        authority = Authority()
        ads.hold("server", *server_side(inbound, apps), *authority.secrets(SERVER))
        ads.hold(
            "client", *client_side(inbound.strict, proxy, loop, tcp), *authority.secrets(CLIENT)
        )

        def answer(name: str) -> list[Resource]:
            asked = names.parse_asked(name)
            if asked is None or asked.target != "late.shop":
                return []
            host = routes.host_fragment(forward("late.shop", "h|shop|web|80"))
            return [
                routes.join_proxy_routes("pxfc", [host]),
                routes.join_proxy_routes("px", [host]),
                clusters.asked_cluster(name, "127.0.0.1", loop),
            ]

        ads.answer = answer
        server = await stack.enter_async_context(run("server", ads, tmp_path / "server"))
        client = await stack.enter_async_context(run("client", ads, tmp_path / "client"))
        yield Pair(ads, client, server, f"127.0.0.1:{proxy}", tcp, inbound, authority)
        assert ads.rejections == []


async def test_http1_travels_as_h2_and_is_spoken_to_the_app_as_http1(pair: Pair) -> None:
    status, headers, body = await get(pair.proxy, "web", "/path?token=secret")
    assert (status, headers["x-chain"]) == (200, "plait-h1"), body
    assert f"URI={CLIENT}" in body
    assert "x-plait-ask" not in body.lower()
    line = await pair.client.logged(lambda each: each["listener"] == "proxy")
    assert line["route"] == "shop/web"
    assert line["policies"] == ["RoutePolicy shop/slow"]
    assert line["path"] == "/path"
    assert (line["status"], line["upstream_peer"]) == (200, SERVER)
    line = await pair.server.logged(lambda each: each["listener"] == "in_plait-h1")
    assert (line["peer"], line["protocol"]) == (CLIENT, "HTTP/2")
    assert line["peer_serial"]


async def test_a_cluster_of_mixed_pods_speaks_http1_on_the_wire(pair: Pair) -> None:
    status, headers, body = await get(pair.proxy, "mixed")
    assert (status, headers["x-chain"]) == (200, "plait-w1"), body
    line = await pair.server.logged(lambda each: each["listener"] == "in_plait-w1")
    assert line["protocol"] == "HTTP/1.1"


async def test_clients_of_both_protocols_share_a_cluster(pair: Pair) -> None:
    options = [("grpc.default_authority", "web")]
    async with grpc.aio.insecure_channel(pair.proxy, options=options) as channel:
        call = channel.unary_unary("/Test/Reverse")
        for _ in range(3):
            assert await call(b"abc", timeout=DEADLINE) == b"cba"
            status, headers, _body = await get(pair.proxy, "web")
            assert (status, headers["x-chain"]) == (200, "plait-h1")
    await pair.server.logged(lambda each: each["listener"] == "in_plait-h2")


@pytest.mark.parametrize("host", ["web", "mixed"])
async def test_websockets_cross_both_sidecars(pair: Pair, host: str) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://{pair.proxy}/chat"
        async with session.ws_connect(url, headers={"Host": host}) as socket:
            await socket.send_str("hello")
            assert await socket.receive_str(timeout=DEADLINE) == "echo hello"


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def test_tcp_where_the_server_speaks_first(pair: Pair) -> None:
    async with connection(pair.forward_port) as (reader, writer), asyncio.timeout(DEADLINE):
        writer.write(b"early\n")
        assert await reader.readline() == b"welcome\n"
        assert await reader.readline() == b"echo early\n"
        line = await pair.server.logged(lambda each: each["listener"] == "in_tcp")
        assert (line["event"], line["peer"]) == ("TcpUpstreamConnected", CLIENT)
    line = await pair.server.logged(lambda each: each.get("event") == "TcpConnectionEnd")
    assert line["bytes_received"] == len(b"early\n")


@pytest.mark.parametrize("host", ["stranger", "nobody"])
async def test_a_peer_with_another_identity_is_refused(pair: Pair, host: str) -> None:
    status, _headers, _body = await get(pair.proxy, host)
    assert status == 503
    line = await pair.client.logged(lambda each: each["authority"] == host)
    assert "CERTIFICATE_VERIFY_FAILED" in line["upstream_failure"]


async def test_an_unknown_authority_is_asked_for_once_and_then_known(pair: Pair) -> None:
    for _ in range(3):
        status, headers, body = await get(pair.proxy, "late.shop")
        assert (status, headers["x-chain"]) == (200, "plait-h1"), body
    asked = [name for name in pair.ads.asked if name.startswith("a|late.shop|")]
    assert len(asked) == 1
    assert asked[0].rpartition("|")[2].isdecimal()


async def test_an_authority_that_does_not_exist_is_refused_at_once(pair: Pair) -> None:
    status, _headers, _body = await asyncio.wait_for(get(pair.proxy, "nowhere"), 2)
    assert status == 503


async def test_connect_is_refused_with_a_reason(pair: Pair) -> None:
    async with connection(int(pair.proxy.partition(":")[2])) as (reader, writer):
        writer.write(b"CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(2048), DEADLINE)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"mesh.plait.dev/tcp-forwards" in answer


async def test_a_stranger_in_plain_text_is_refused(pair: Pair) -> None:
    with pytest.raises(aiohttp.ClientError):
        await get(f"127.0.0.1:{pair.inbound.strict}", "web")
    line = await pair.server.logged(lambda each: each.get("event") == "refused")
    assert (line["listener"], line["response_flags"]) == ("in|80", "NR")


async def test_a_stranger_with_another_root_is_refused(pair: Pair, tmp_path: Path) -> None:
    chain, key = Authority().leaf(CLIENT)
    pem = tmp_path / "stranger.pem"
    pem.write_bytes(chain + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["plait-h1"])
    context.load_cert_chain(pem)
    with pytest.raises(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session:
            await session.get(f"https://127.0.0.1:{pair.inbound.strict}", ssl=context)
    line = await pair.server.logged(lambda each: each.get("event") == "refused")
    assert "CERTIFICATE_VERIFY_FAILED" in line["downstream_failure"]


async def test_plain_text_is_served_where_it_may(pair: Pair) -> None:
    status, _headers, body = await get(f"127.0.0.1:{pair.inbound.permissive}", "web")
    assert status == 200
    assert "x-forwarded-client-cert" not in body
    line = await pair.server.logged(lambda each: each["listener"] == "in_plain")
    assert "peer" not in line


async def test_a_silent_client_in_plain_text_hears_a_server_that_speaks_first(pair: Pair) -> None:
    async with connection(pair.inbound.permissive_tcp) as (reader, _writer):
        assert await asyncio.wait_for(reader.readline(), DEADLINE) == b"welcome\n"
