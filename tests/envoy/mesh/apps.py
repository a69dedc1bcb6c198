"""Applications behind sidecars: one that speaks HTTP/1.1, HTTP/2 and WebSocket on one port, two of
TCP. Each runs in the test's own event loop and remembers what it was asked.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
from aiohttp import WSMsgType, web

from tests.envoy import place

STATUS, DELAY, FAIL, KEY = "x-test-status", "x-test-delay", "x-test-fail", "x-test-key"
"""A request may ask for a status, for seconds of delay, and for 503 to the first N requests of a
key."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    """With the query."""
    headers: Mapping[str, str]
    protocol: str
    """``HTTP/1.1`` or ``HTTP/2``: what the application was spoken to in."""
    authority: str


@dataclass(slots=True)
class App:
    """Answers every request with what it saw of it, as JSON."""

    name: str
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    status: int = 200
    """Answered unless a request asks for another."""
    _keys: Counter[str] = field(default_factory=Counter)
    _servers: list[asyncio.Server] = field(default_factory=list)
    _http1: "web.Server[web.BaseRequest] | None" = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, address: str, port: int) -> None:
        if self._http1 is None:
            self._http1 = web.Server(self._http1_request, access_log=None)
        loop = asyncio.get_running_loop()
        sock = place.bound(address, port)
        self._servers.append(await loop.create_server(lambda: _Sniffer(self), sock=sock))

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        if self._http1 is not None:
            await self._http1.shutdown(0.1)  # zero would mean no limit
        for task in tuple(self._tasks):
            task.cancel()

    def seen(self, path: str) -> list[Request]:
        """Requests for a path, queries aside, oldest first."""
        return [each for each in self.requests if each.path.partition("?")[0] == path]

    async def answer(self, request: Request) -> tuple[int, bytes]:
        self.requests.append(request)
        headers = request.headers
        status = int(headers.get(STATUS, self.status))
        if FAIL in headers:
            self._keys[headers[KEY]] += 1
            status = 503 if self._keys[headers[KEY]] <= int(headers[FAIL]) else status
        await asyncio.sleep(float(headers.get(DELAY, 0)))
        seen: dict[str, Any] = {
            "app": self.name,
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "authority": request.authority,
            "headers": dict(headers),
        }
        return status, json.dumps(seen).encode()

    async def _http1_request(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await self._websocket(request)
        await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Request(
            request.method, request.raw_path, headers, "HTTP/1.1", headers.get("host", "")
        )
        status, body = await self.answer(asked)
        return web.Response(status=status, body=body, headers={"x-app": self.name})

    async def _websocket(self, request: web.BaseRequest) -> web.WebSocketResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(
            Request("GET", request.raw_path, headers, "websocket", headers.get("host", ""))
        )
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(f"{self.name}: {message.data}")
        return socket

    def http1_protocol(self) -> asyncio.Protocol:
        assert self._http1 is not None
        return self._http1()

    def spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Sniffer(asyncio.Protocol):
    """Takes a connection until its first bytes tell HTTP/2 from HTTP/1.1."""

    def __init__(self, app: App) -> None:
        self._app = app

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._app.connections += 1

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.Transport)
        two = data.startswith(b"PRI ")
        chosen = _Http2(self._app) if two else self._app.http1_protocol()
        self._transport.set_protocol(chosen)
        chosen.connection_made(self._transport)
        chosen.data_received(data)


class _Http2(asyncio.Protocol):
    """A server connection with prior knowledge."""

    def __init__(self, app: App) -> None:
        self._app = app
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._state = h2.connection.H2Connection(config)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._state.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        for event in self._state.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._app.spawn(self._reply(event.stream_id, dict(event.headers)))
            elif isinstance(event, h2.events.DataReceived):
                self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self._flush()

    async def _reply(self, stream: int, headers: dict[str, str]) -> None:
        plain = {name: value for name, value in headers.items() if not name.startswith(":")}
        authority = headers.get(":authority", "")
        asked = Request(headers[":method"], headers[":path"], plain, "HTTP/2", authority)
        status, body = await self._app.answer(asked)
        if self._transport.is_closing():
            return
        self._state.send_headers(stream, [(":status", str(status)), ("x-app", self._app.name)])
        self._state.send_data(stream, body, end_stream=True)
        self._flush()

    def _flush(self) -> None:
        if data := self._state.data_to_send():
            self._transport.write(data)


@dataclass(slots=True)
class Lines:
    """A TCP server that returns each line in capitals; with a ``banner`` it speaks first."""

    banner: bytes = b""
    connections: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def start(self, address: str, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, sock=place.bound(address, port))

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._open):
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            if self.banner:
                writer.write(self.banner)
            while line := await reader.readline():
                writer.write(line.upper())
        except ConnectionError:
            pass
        finally:
            self._open.discard(writer)
            writer.close()
