"""Redirect mode: every protocol through two sidecars, at first contact and promoted.

The applications dial addresses and know nothing of the mesh. Proof of promotion is the listener
that took the connection, in the client's access log; proof of mTLS the peers in both.
"""

import asyncio
import datetime
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.envoy import place
from tests.envoy.mesh import manifests
from tests.envoy.mesh.apps import App
from tests.envoy.mesh.clients import Reply
from tests.envoy.mesh.manifests import spiffe
from tests.envoy.mesh.mesh import Line
from tests.envoy.mesh.test_protocols import Echo
from tests.envoy.netns.bridge import into, out_of
from tests.envoy.netns.mesh import NetMesh, service, settings, vip

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("netns-protocols"),
]

PORTS = {
    **{"http": 8080, "h2": 8081, "any": 8082, "grpc": 9090, "tcp": 7000, "banner": 7001},
    **{"lines": 7002, "speaks": 7003, "socket": 8086, "tls": 7443, "sniffed": 7444},
}
BANNER = b"ledger ready\n"
SILENCE = 0.2
"""Seconds that the inspectors of an undeclared port wait for the client."""
BACKEND = 10


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh() as mesh:
        backend = {"app": "backend"}
        mesh.write(
            "mesh",
            settings(),
            mesh.add(2, "web"),
            mesh.add(3, "backend", ports=PORTS),
            manifests.mutual_tls("strict", "Strict"),
            service(
                "backend",
                BACKEND,
                (80, "http", "http"),
                (81, "h2", "kubernetes.io/h2c"),
                (82, "any", ""),
                (83, "any", ""),
                (84, "lines", ""),
                (85, "speaks", ""),
                (86, "socket", "kubernetes.io/ws"),
                (9090, "grpc", "grpc"),
                (7000, "tcp", "tcp"),
                (7001, "banner", "tcp"),
                (7443, "tls", "tls"),
                (7444, "sniffed", ""),
                selector=backend,
            ),
        )
        await mesh.serve()
        await mesh.bring_up("web", "backend")
        await mesh.serve_lines("backend", 7000)
        await mesh.serve_lines("backend", 7001, BANNER)
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(mesh: NetMesh) -> App:
    return await mesh.serve_http("backend", 8080, 8081, 8082)


def assert_seen(reply: Reply, protocol: str) -> None:
    assert reply.status == 200, reply.text
    assert reply.seen["protocol"] == protocol
    element = reply.seen["headers"]["x-forwarded-client-cert"]
    assert dict(part.split("=", 1) for part in element.split(";"))["URI"] == spiffe("web")


async def contacted(mesh: NetMesh, port: int, **first: Any) -> Line:
    """The log line of the client's sidecar for the first contact with a port."""
    local = f"{vip(BACKEND)}:{port}"
    line = (await mesh.sidecars["web"].logged(downstream_local=local, **first))[-1]
    assert line["upstream_peer"] == spiffe("backend")
    return line


async def promoted(mesh: NetMesh, port: int, **more: Any) -> Line:
    """The log line of the client's sidecar for a connection to a port's own listener."""
    return await contacted(mesh, port, listener="p", **more)


async def received(mesh: NetMesh, **fields: Any) -> Line:
    """The log line of the server's sidecar, of a connection whose peer was web."""
    line = (await mesh.sidecars["backend"].logged(**fields))[-1]
    assert line["peer"] == spiffe("web")
    return line


async def known(mesh: NetMesh, port: int) -> None:
    await mesh.until_promoted("web", vip(BACKEND), port)


async def test_http1(mesh: NetMesh, app: App) -> None:
    first = await mesh.http1("web", vip(BACKEND), "/h1-first", authority="backend")
    assert_seen(first, "HTTP/1.1")
    assert first.headers["connection"] == "close", "the next connection is the promoted one"
    assert first.seen["authority"] == "backend"
    assert "x-plait-dst" not in first.seen["headers"]
    await known(mesh, 80)
    second = await mesh.http1("web", vip(BACKEND), "/h1-second", authority="backend")
    assert_seen(second, "HTTP/1.1")
    assert "connection" not in second.headers
    contact = await contacted(mesh, 80, listener="fc", path="/h1-first")
    later = await promoted(mesh, 80, path="/h1-second")
    assert contact["upstream_cluster"] == later["upstream_cluster"] == "h|shop|backend|80"
    for path in ("/h1-first", "/h1-second"):
        assert (await received(mesh, path=path))["protocol"] == "HTTP/2"


async def test_http2(mesh: NetMesh, app: App) -> None:
    assert_seen(await mesh.http2("web", vip(BACKEND), "/h2-first", 81), "HTTP/2")
    await known(mesh, 81)
    assert_seen(await mesh.http2("web", vip(BACKEND), "/h2-second", 81), "HTTP/2")
    await contacted(mesh, 81, listener="fc", path="/h2-first")
    await promoted(mesh, 81, path="/h2-second")
    await received(mesh, path="/h2-second")


async def test_a_declared_protocol_is_spoken_whatever_the_client_speaks(
    mesh: NetMesh, app: App
) -> None:
    assert_seen(await mesh.http2("web", vip(BACKEND), "/down"), "HTTP/1.1")
    assert_seen(await mesh.http1("web", vip(BACKEND), "/up", 81), "HTTP/2")


async def test_an_undeclared_port_hears_what_the_client_speaks(mesh: NetMesh, app: App) -> None:
    assert_seen(await mesh.http1("web", vip(BACKEND), "/any1-first", 82), "HTTP/1.1")
    await known(mesh, 82)
    assert_seen(await mesh.http1("web", vip(BACKEND), "/any1-second", 82), "HTTP/1.1")
    assert_seen(await mesh.http2("web", vip(BACKEND), "/any2-second", 82), "HTTP/2")
    await contacted(mesh, 82, listener="detect", path="/any1-first")
    await promoted(mesh, 82, path="/any1-second")
    assert_seen(await mesh.http2("web", vip(BACKEND), "/any2-first", 83), "HTTP/2")
    await contacted(mesh, 83, listener="detect", path="/any2-first")
    await received(mesh, path="/any2-first")


@pytest.mark.parametrize("banner", [b"", BANNER])
async def test_tcp_on_an_undeclared_port(mesh: NetMesh, banner: bytes) -> None:
    """A server that speaks first is heard after the inspectors' silence."""
    port, inner = (84, 7002) if not banner else (85, 7003)
    await mesh.serve_lines("backend", inner, banner)
    for _ in range(2):
        answers = await mesh.say("web", vip(BACKEND), port, b"one\n", banner=bool(banner))
        assert answers == [*([banner] if banner else []), b"ONE\n"]
        await known(mesh, port)
    await contacted(mesh, port, listener="detect", event="TcpConnectionEnd")
    await promoted(mesh, port, event="TcpConnectionEnd")


async def test_websocket(mesh: NetMesh, app: App) -> None:
    """Also as the very first use of a destination."""
    await mesh.serve_http("backend", 8086)

    def made(info: Any) -> socket.socket:
        sock = mesh.network.pods["web"].socket(info[0])
        sock.setblocking(False)
        return sock

    for path in ("/ws-first", "/ws-second"):
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=made)) as session,
            session.ws_connect(f"http://{vip(BACKEND)}:86{path}") as websocket,
        ):
            for text in ("hello", "again"):
                await websocket.send_str(text)
                assert await websocket.receive_str(timeout=30) == f"backend: {text}"
        await received(mesh, path=path)
        await known(mesh, 86)
    await contacted(mesh, 86, listener="fc", path="/ws-first")
    await promoted(mesh, 86, path="/ws-second")


async def test_grpc(mesh: NetMesh) -> None:
    echo = Echo()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((echo,))
    path = mesh.base / "grpc-server"
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    pods = mesh.network.pods
    options = [("grpc.default_authority", "backend.shop:9090"), ("grpc.enable_http_proxy", 0)]
    try:
        async with into(pods["backend"], 9090, path):
            for _ in range(2):
                out = out_of(pods["web"], mesh.base / "grpc-client", vip(BACKEND), 9090)
                async with out as target, grpc.aio.insecure_channel(target, options) as channel:
                    await converse(channel)
                await known(mesh, 9090)
    finally:
        await server.stop(0)
    assert set(echo.peers) == {spiffe("web")}
    await contacted(mesh, 9090, listener="fc")
    await promoted(mesh, 9090)


async def converse(channel: grpc.aio.Channel) -> None:
    """Unary calls, one that fails, and a stream both ways."""
    say = channel.unary_unary("/plait.test.Echo/Say")
    assert await say(b"hello", timeout=30) == b"HELLO"
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await say(b"fail", timeout=30)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    many = channel.stream_stream("/plait.test.Echo/Many")(timeout=30)
    for text in (b"one", b"two"):
        await many.write(text)
        assert [await many.read() for _ in range(3)] == [text.upper()] * 3
    await many.done_writing()
    assert await many.read() is grpc.aio.EOF


@pytest.mark.parametrize(("port", "banner"), [(7000, b""), (7001, BANNER)])
async def test_tcp(mesh: NetMesh, port: int, banner: bytes) -> None:
    expected = [*([banner] if banner else []), b"ONE\n", b"TWO\n"]
    for _ in range(2):
        said = await mesh.say("web", vip(BACKEND), port, b"one\n", b"two\n", banner=bool(banner))
        assert said == expected
        await known(mesh, port)
    await contacted(mesh, port, listener="first", event="TcpConnectionEnd")
    later = await promoted(mesh, port, event="TcpConnectionEnd")
    assert later["upstream_cluster"] == f"t|shop|backend|{port}"
    await received(mesh, listener="in", event="TcpConnectionEnd")


async def test_a_server_that_speaks_first_is_heard_at_once(mesh: NetMesh) -> None:
    """No inspector of a declared TCP port waits for the client to speak."""
    await mesh.say("web", vip(BACKEND), 7001, banner=True)
    await known(mesh, 7001)
    took = []
    for _ in range(8):
        began = time.monotonic()
        await mesh.say("web", vip(BACKEND), 7001, banner=True)
        took.append(time.monotonic() - began)
    assert sorted(took)[3] < SILENCE / 2, took


@pytest.mark.parametrize("port", [7443, 7444], ids=["declared tcp", "undeclared"])
async def test_the_applications_own_tls_is_passed_through(mesh: NetMesh, port: int) -> None:
    server, client = own_tls(mesh.base)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        writer.close()

    with mesh.inside("backend"):
        sock = place.bound("0.0.0.0", port)
    serving = await asyncio.start_server(serve, sock=sock, ssl=server)
    for _ in range(2):
        with mesh.inside("web"):
            reader, writer = await place.connect(vip(BACKEND), port, client)
        writer.write(b"secret\n")
        assert await reader.readline() == b"SECRET\n"
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert shown == ssl.PEM_cert_to_DER_cert((mesh.base / "own.pem").read_text())
        writer.close()
        await known(mesh, port)
    serving.close()
    await promoted(mesh, port, event="TcpConnectionEnd")


def own_tls(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of an application's own TLS, with a certificate of nobody's mesh."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "backend")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (directory / "own.pem").write_bytes(certificate.public_bytes(pem))
    path = directory / "own-key.pem"
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / "own.pem", path)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # compared by the test
    return server, client
