"""Clients outside the mesh's own code: HTTP/1.1 and HTTP/2 that never retry, and TCP lines."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h2.config
import h2.connection
import h2.events

from tests.envoy import place

DEADLINE = 30.0
"""Seconds for one request: generous, because the machine may run many tests at once."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def seen(self) -> dict[str, Any]:
        """What the application saw."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def app(self) -> str:
        """Which application answered; the status where the mesh did."""
        return self.headers.get("x-app", f"status {self.status}")


class Http1:
    """One kept connection to an address, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.usable = True

    @classmethod
    async def open(cls, address: str, port: int, tls: ssl.SSLContext | None = None) -> "Http1":
        return cls(*await place.connect(address, port, tls))

    @property
    def ended(self) -> bool:
        """The other side has closed it."""
        return self._reader.at_eof()

    async def ask(
        self,
        authority: str,
        path: str = "/",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Reply:
        """One request. OSError or EOFError when the connection breaks."""
        self.usable = False
        fields = {"host": authority, "content-length": str(len(body)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        reply = await self._read(method)
        self.usable = reply.headers.get("connection") != "close"
        return reply

    async def _read(self, method: str) -> Reply:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(first.split(" ", 2)[1])
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, await self._chunks())
        length = 0 if method == "HEAD" else int(headers.get("content-length", "0"))
        return Reply(status, headers, await self._reader.readexactly(length))

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            body += (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()
        return body

    def close(self) -> None:
        self._writer.close()


async def http1(
    address: str, port: int, authority: str, path: str = "/", method: str = "GET", **options: Any
) -> Reply:
    """One HTTP/1.1 request on a connection of its own. ``tls``: a context to speak TLS with."""
    tls = options.pop("tls", None)
    async with asyncio.timeout(DEADLINE):
        connection = await Http1.open(address, port, tls)
        try:
            return await connection.ask(authority, path, method, **options)
        finally:
            connection.close()


async def http2(
    address: str,
    port: int,
    authority: str,
    path: str = "/",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One HTTP/2 request with prior knowledge, on a connection of its own."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await place.connect(address, port)
        try:
            return await _http2(reader, writer, authority, path, method, headers or {})
        finally:
            writer.close()


async def _http2(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    authority: str,
    path: str,
    method: str,
    headers: Mapping[str, str],
) -> Reply:
    state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    state.initiate_connection()
    fields = {":method": method, ":scheme": "http", ":authority": authority, ":path": path}
    state.send_headers(1, [*fields.items(), *headers.items()], end_stream=True)
    answer: dict[str, str] = {}
    body = b""
    frames = _Frames()
    while True:
        writer.write(state.data_to_send())
        data = await reader.read(65536)
        if not data:
            raise EOFError("the connection was closed before the reply was complete")
        for event in state.receive_data(frames.without_goaway(data)):
            if isinstance(event, h2.events.ResponseReceived):
                answer = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
                state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                raise ConnectionResetError(f"stream reset: {event.error_code}")
            elif isinstance(event, h2.events.StreamEnded):
                return Reply(int(answer[":status"]), answer, body)


class _Frames:
    """Cuts HTTP/2 frames (RFC 9113, section 4.1) out of a stream of bytes."""

    HEAD, GOAWAY = 9, 7

    def __init__(self) -> None:
        self._data = b""

    def without_goaway(self, data: bytes) -> bytes:
        """The whole frames up to here, GOAWAY left out: after it the library takes no more frames
        of streams that the server still answers (section 6.8 says that it goes on with them)."""
        self._data += data
        kept = b""
        while len(self._data) >= self.HEAD:
            end = self.HEAD + int.from_bytes(self._data[:3], "big")
            if len(self._data) < end:
                break
            frame, self._data = self._data[:end], self._data[end:]
            if frame[3] != self.GOAWAY:
                kept += frame
        return kept


async def say(address: str, port: int, *lines: bytes, banner: bool = False) -> list[bytes]:
    """Send lines over one TCP connection and return the answers, the banner first."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await place.connect(address, port)
        try:
            answers = [await reader.readline()] if banner else []
            for line in lines:
                writer.write(line)
                answers.append(await reader.readline())
            return answers
        finally:
            writer.close()


async def refused(address: str, port: int, tls: ssl.SSLContext | None = None) -> str:
    """How a request on its own connection ends without a reply; empty when there was one."""
    try:
        await http1(address, port, "anyone", "/stranger", tls=tls)
    except (OSError, EOFError, ssl.SSLError) as error:
        return f"{type(error).__name__}: {error}"
    return ""
