"""gRPC's own client and server in a pod: they speak over Unix sockets, bridged into its namespace.

A library that makes its own sockets cannot be told where; bytes can be carried.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tests.envoy import place
from tests.envoy.netns.network import Namespace

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _join(one: Streams, two: Streams) -> None:
    await asyncio.gather(_pump(one[0], two[1]), _pump(two[0], one[1]))


@contextlib.asynccontextmanager
async def out_of(namespace: Namespace, path: Path, address: str, port: int) -> AsyncIterator[str]:
    """Connections to the Unix socket ``path`` go on to an address as a pod's; the target."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with namespace.inside():
                onward = await place.connect(address, port)
        except OSError:
            writer.close()
            return
        await _join((reader, writer), onward)

    server = await asyncio.start_unix_server(carry, path)
    try:
        yield f"unix:{path}"
    finally:
        server.close()
        path.unlink()


@contextlib.asynccontextmanager
async def into(namespace: Namespace, port: int, path: Path) -> AsyncIterator[None]:
    """Connections to a port of a pod go on to the Unix socket ``path``."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join((reader, writer), await asyncio.open_unix_connection(path))

    with namespace.inside():
        sock = place.bound("0.0.0.0", port)
    server = await asyncio.start_server(carry, sock=sock)
    try:
        yield
    finally:
        server.close()
