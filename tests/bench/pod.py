"""What runs in a pod of a bench: an application, or the clients of one, as a process of its own.

Commands (JSON lines): ``serve`` answers HTTP/1.1 with 1 KB and TCP lines in capitals, ``open``
makes kept connections, ``run`` sends a number of requests over them, one at a time on each,
``once`` one request on a connection of its own. The clients do no more than they must: they share
the machine with what is measured. Nothing is tried twice; a failed request ends the process.
"""

import asyncio
import json
import time
from typing import Any, Final

from tests.bench.process import messages, say

BODY: Final = 1024
_END: Final = b"\r\n\r\n"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BODY + b"x" * BODY
_LINE: Final = b"hello\n"


def request(authority: str) -> bytes:
    return f"GET /bench HTTP/1.1\r\nhost: {authority}\r\n\r\n".encode()


class _Web(asyncio.Protocol):
    """Answers requests without a body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._kept = b""

    def data_received(self, data: bytes) -> None:
        *requests, self._kept = (self._kept + data).split(_END)
        self._transport.write(_ANSWER * len(requests))


class _Lines(asyncio.Protocol):
    """Answers in capitals."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data.upper())


class Connections:
    """Kept connections to one address that share a number of requests."""

    def __init__(self, authority: str) -> None:
        self.request = request(authority)
        self._kept: list[_Kept] = []
        self.left = 0
        self._busy = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, address: str, port: int, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, made = await loop.create_connection(lambda: _Kept(self), address, port)
            self._kept.append(made)

    async def run(self, requests: int) -> float:
        """Send them; the seconds that it took."""
        self._done = asyncio.get_running_loop().create_future()
        self._busy, self.left = len(self._kept), requests - len(self._kept)
        begun = time.monotonic()
        for each in self._kept:
            each.ask()
        await self._done
        return time.monotonic() - begun

    def rests(self) -> None:
        """A connection has no further request to send."""
        self._busy -= 1
        if not self._busy:
            self._done.set_result(None)

    def fails(self, why: str) -> None:
        if not self._done.done():
            self._done.set_exception(ConnectionError(why))


class _Kept(asyncio.Protocol):
    def __init__(self, owner: Connections) -> None:
        self._owner = owner
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self) -> None:
        self._transport.write(self._owner.request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head = self._got.find(_END)
        if head < 0:
            return
        if not self._got.startswith(b"HTTP/1.1 200 "):
            self._owner.fails(repr(self._got[:200]))
        elif len(self._got) >= head + len(_END) + BODY:
            self._got = b""
            if self._owner.left > 0:
                self._owner.left -= 1
                self.ask()
            else:
                self._owner.rests()

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.fails(f"connection lost: {error}")


async def once(address: str, port: int, authority: str, *, tcp: bool) -> float:
    """Milliseconds from before the connect to the whole answer."""
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(address, port)
    if tcp:
        writer.write(_LINE)
        answer = await reader.readexactly(len(_LINE))
        good = answer == _LINE.upper()
    else:
        writer.write(request(authority))
        answer = await reader.readuntil(_END)
        good = answer.startswith(b"HTTP/1.1 200 ")
        await reader.readexactly(BODY if good else 0)
    took = (time.monotonic() - begun) * 1e3
    writer.close()
    if not good:
        raise ConnectionError(repr(answer[:200]))
    return took


async def main() -> None:
    loop = asyncio.get_running_loop()
    commands = await messages()
    connections: dict[str, Connections] = {}
    servers: list[asyncio.Server] = []
    while line := await commands.readline():
        message = _parsed(line)
        address = message.get("address", "")
        match message["do"]:
            case "serve":
                servers.append(await loop.create_server(_Web, address, message["http"]))
                servers.append(await loop.create_server(_Lines, address, message["tcp"]))
                say(serving=True)
            case "open":
                made = connections[message["name"]] = Connections(message["authority"])
                await made.open(address, message["port"], message["count"])
                say(open=message["count"])
            case "run":
                say(seconds=await connections[message["name"]].run(message["requests"]))
            case "once":
                authority, tcp = message["authority"], message["tcp"]
                say(ms=await once(address, message["port"], authority, tcp=tcp))


def _parsed(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found


if __name__ == "__main__":
    asyncio.run(main())
