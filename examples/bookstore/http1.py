"""An HTTP/1.1 client that never retries, so that every failure of the mesh is seen.

aiohttp's client sends an idempotent request again when a kept connection turns out to be closed;
a demo that counts failures must not. GET only, bodies by Content-Length (RFC 9112, section 6.3).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

MAX_HEAD = 65_536
MAX_BODY = 1 << 26


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """``127.0.0.1:80``. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{text!r} is not HOST:PORT")
    return Address(host, int(port))


class BadReply(Exception):
    """The peer's answer is no HTTP/1.1 response that this client understands."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    """By lower-case name; of a repeated name the last value."""
    body: bytes


class Connection:
    """One connection, one request at a time. After an error or `Reply` with
    ``connection: close`` it is not `usable` any more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._open = True

    @classmethod
    async def open(cls, address: Address) -> "Connection":
        """Raises OSError."""
        return cls(*await asyncio.open_connection(*address, limit=MAX_HEAD))

    @classmethod
    async def open_unix(cls, path: str) -> "Connection":
        """Raises OSError."""
        return cls(*await asyncio.open_unix_connection(path, limit=MAX_HEAD))

    @property
    def usable(self) -> bool:
        return self._open and not self._reader.at_eof()

    async def get(
        self, authority: str, path: str, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one GET with Host ``authority`` and read the reply.

        Raises OSError or EOFError when the connection breaks, BadReply for anything unreadable.
        A cancelled or failed request leaves the connection unusable.
        """
        usable, self._open = self.usable, False
        if not usable:
            raise ConnectionResetError("the peer closed the connection between two requests")
        fields = {"host": authority, **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._writer.write(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode())
        reply = await self._read()
        self._open = reply.headers.get("connection", "").lower() != "close"
        return reply

    async def _read(self) -> Reply:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise BadReply(f"the head of the reply is over {MAX_HEAD} bytes") from error
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        parts = status_line.split(" ", 2)
        if len(parts) < 2 or parts[0] != "HTTP/1.1" or not parts[1].isdecimal():
            raise BadReply(f"not an HTTP/1.1 status line: {status_line[:80]!r}")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return Reply(int(parts[1]), headers, await self._chunks())
        length = headers.get("content-length", "0" if parts[1] == "204" else "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            raise BadReply(f"no usable content-length in a reply of status {parts[1]}")
        return Reply(int(parts[1]), headers, await self._reader.readexactly(int(length)))

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            text = (await self._reader.readline()).partition(b";")[0].strip()
            try:
                size = int(text, 16)
            except ValueError as error:
                raise BadReply(f"not the size of a chunk: {text[:20]!r}") from error
            if len(body) + size > MAX_BODY:
                raise BadReply(f"a body over {MAX_BODY} bytes")
            body += (await self._reader.readexactly(size + 2))[:-2]
            if size == 0:
                return bytes(body)

    def close(self) -> None:
        self._open = False
        self._writer.close()


class Pool:
    """Kept connections, to one address or, with None, to whatever authority is asked for (port 80
    unless it names one). A request takes an idle one or opens its own."""

    def __init__(self, address: Address | None) -> None:
        self._address = address
        self._idle: dict[Address, list[Connection]] = {}

    async def get(
        self,
        authority: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        fresh: bool = False,
    ) -> Reply:
        """As `Connection.get`. ``fresh``: on a connection opened and closed for this request."""
        address = self._address or of_authority(authority)
        connection = None if fresh else self._take(address)
        if connection is None:
            connection = await Connection.open(address)
        try:
            return await connection.get(authority, path, headers)
        finally:
            if connection.usable and not fresh:
                self._idle.setdefault(address, []).append(connection)
            else:
                connection.close()

    def _take(self, address: Address) -> Connection | None:
        idle = self._idle.get(address, [])
        while idle:
            connection = idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return None

    def close(self) -> None:
        for idle in self._idle.values():
            while idle:
                idle.pop().close()


def of_authority(text: str) -> Address:
    """``reviews`` or ``reviews:81``; HTTP's port is 80."""
    host, _, port = text.partition(":")
    return Address(host, int(port) if port else 80)
