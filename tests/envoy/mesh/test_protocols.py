"""What crosses two sidecars: every protocol reaches the application as it was spoken, over mTLS.

Proof of mTLS on both sides: the client's sidecar names the peer it connected to, the server's the
peer whose certificate it verified, and an HTTP application reads it in x-forwarded-client-cert.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.apps import App
from tests.envoy.mesh.clients import Reply, say
from tests.envoy.mesh.manifests import spiffe
from tests.envoy.mesh.mesh import PROXY, Mesh, Sidecar

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]

PORTS = {"http": 8080, "h2": 8081, "any": 8082, "grpc": 9090, "tcp": 7000, "banner": 7001}
BANNER = b"ledger ready\n"
MUTUAL = {"peer": spiffe("web")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        forwards = "5000:backend.shop:7000,5001:backend.shop:7001"
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web", forwards=forwards),
            mesh.pod(2, "backend", ports=PORTS),
            manifests.service(
                "backend",
                [
                    (80, "http", "http"),
                    (81, "h2", "kubernetes.io/h2c"),
                    (82, "any", ""),
                    (9090, "grpc", "grpc"),
                    (7000, "tcp", "tcp"),
                    (7001, "banner", "tcp"),
                ],
            ),
        )
        await mesh.serve()
        await mesh.start_sidecars(web=1, backend=2)
        await mesh.lines(2, 7000)
        await mesh.lines(2, 7001, BANNER)
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(mesh: Mesh) -> App:
    return await mesh.app(2, "backend", 8080, 8081, 8082)


async def assert_mutual(mesh: Mesh, path: str, upstream_cluster: str) -> None:
    """Both sidecars logged the request for ``path``, each with the other's identity."""
    [sent] = await mesh.sidecars["web"].logged(path=path, listener="proxy")
    assert sent["upstream_peer"] == spiffe("backend")
    [received] = await mesh.sidecars["backend"].logged(path=path, direction="inbound")
    assert received["peer"] == spiffe("web")
    assert received["protocol"] == "HTTP/2"
    if not sent["upstream_cluster"].startswith("a|"):
        assert sent["upstream_cluster"] == upstream_cluster


def assert_seen(reply: Reply, protocol: str) -> None:
    assert reply.status == 200, reply.text
    assert reply.seen["protocol"] == protocol
    assert caller(reply.seen["headers"]) == spiffe("web")


def caller(headers: Mapping[str, str]) -> str:
    """The caller's SPIFFE id, as an application reads it."""
    element = headers["x-forwarded-client-cert"]
    return dict(part.split("=", 1) for part in element.split(";"))["URI"]


async def known(web: Sidecar, authority: str) -> None:
    """Let the sidecar learn an authority, so that a later request takes the straight way."""
    assert (await web.get_http1(authority, "/first")).status == 200


async def test_http1(mesh: Mesh, app: App) -> None:
    web = mesh.sidecars["web"]
    await known(web, "backend.shop")
    assert_seen(await web.get_http1("backend.shop", "/http1"), "HTTP/1.1")
    await assert_mutual(mesh, "/http1", "h|shop|backend|80")


async def test_absolute_form(mesh: Mesh, app: App) -> None:
    """As HTTP clients send it that are told of a proxy."""
    web = mesh.sidecars["web"]
    await known(web, "backend.shop")
    assert_seen(await web.get_http1("backend.shop", "http://backend.shop/absolute"), "HTTP/1.1")
    await assert_mutual(mesh, "/absolute", "h|shop|backend|80")


async def test_http2(mesh: Mesh, app: App) -> None:
    web = mesh.sidecars["web"]
    await known(web, "backend.shop:81")
    assert_seen(await web.get_http2("backend.shop:81", "/http2"), "HTTP/2")
    await assert_mutual(mesh, "/http2", "h|shop|backend|81")


async def test_a_declared_protocol_is_spoken_whatever_the_client_speaks(
    mesh: Mesh, app: App
) -> None:
    web = mesh.sidecars["web"]
    await known(web, "backend.shop")
    assert_seen(await web.get_http2("backend.shop", "/down"), "HTTP/1.1")
    assert_seen(await web.get_http1("backend.shop:81", "/up"), "HTTP/2")


async def test_an_undeclared_port_hears_what_the_client_speaks(mesh: Mesh, app: App) -> None:
    web = mesh.sidecars["web"]
    await known(web, "backend.shop:82")
    for n in range(4):
        assert_seen(await web.get_http1("backend.shop:82", f"/any1-{n}"), "HTTP/1.1")
        assert_seen(await web.get_http2("backend.shop:82", f"/any2-{n}"), "HTTP/2")
    await assert_mutual(mesh, "/any1-3", "h|shop|backend|82")
    await assert_mutual(mesh, "/any2-3", "h|shop|backend|82")


class Echo(grpc.GenericRpcHandler):
    """/plait.test.Echo/Say returns the message, Many returns it three times."""

    def __init__(self) -> None:
        self.peers: list[str] = []

    def service(self, handler_call_details: Any) -> Any:
        metadata = dict(handler_call_details.invocation_metadata)
        self.peers.append(caller(metadata))
        if handler_call_details.method.endswith("/Say"):
            return grpc.unary_unary_rpc_method_handler(self._say)
        return grpc.stream_stream_rpc_method_handler(self._many)

    async def _say(self, request: bytes, context: Any) -> bytes:
        if request == b"fail":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
        return request.upper()

    async def _many(self, requests: Any, context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            for _ in range(3):
                yield request.upper()


async def test_grpc(mesh: Mesh) -> None:
    echo = Echo()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((echo,))
    server.add_insecure_port(f"{mesh.app_address(2)}:9090")
    await server.start()
    options = [("grpc.default_authority", "backend.shop:9090"), ("grpc.enable_http_proxy", 0)]
    try:
        async with grpc.aio.insecure_channel(f"{mesh.address(1)}:{PROXY}", options) as channel:
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
    finally:
        await server.stop(0)
    assert set(echo.peers) == {spiffe("web")}
    await assert_mutual(mesh, "/plait.test.Echo/Many", "h|shop|backend|9090")


async def test_websocket(mesh: Mesh, app: App) -> None:
    """In absolute form, as a client does that is told of a proxy, also as the very first use."""
    proxy = f"http://{mesh.address(1)}:{PROXY}"
    for path in ("/ws1", "/ws2"):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://backend.shop{path}", proxy=proxy) as socket,
        ):
            for text in ("hello", "again"):
                await socket.send_str(text)
                assert await socket.receive_str(timeout=30) == f"backend: {text}"
        [seen] = app.seen(path)
        assert caller(seen.headers) == spiffe("web")
        await assert_mutual(mesh, path, "h|shop|backend|80")


async def test_tcp(mesh: Mesh) -> None:
    assert await say(mesh.address(1), 5000, b"one\n", b"two\n") == [b"ONE\n", b"TWO\n"]
    await assert_mutual_tcp(mesh, 7000)


async def test_a_server_that_speaks_first(mesh: Mesh) -> None:
    answers = await say(mesh.address(1), 5001, b"balance\n", banner=True)
    assert answers == [BANNER, b"BALANCE\n"]
    await assert_mutual_tcp(mesh, 7001)


async def assert_mutual_tcp(mesh: Mesh, port: int) -> None:
    name = f"q|shop|backend|{port}"
    sent = (await mesh.sidecars["web"].logged(listener=name, event="TcpConnectionEnd"))[-1]
    assert sent["upstream_peer"] == spiffe("backend")
    assert sent["upstream_cluster"] == f"t|shop|backend|{port}"
    received = await mesh.sidecars["backend"].logged(
        listener=f"in|{port}", event="TcpConnectionEnd"
    )
    assert received[-1]["peer"] == spiffe("web")
