"""A TCP service that speaks first: a banner, then every line comes back as it was sent."""

import asyncio
import signal

from examples.bookstore.apps.service import arguments
from examples.bookstore.http1 import Address


def banner(version: str) -> bytes:
    return f"ledger {version} ready\n".encode()


class Ledger(asyncio.Protocol):
    """One connection. What has no line feed yet waits for it, 64 KiB at most."""

    LIMIT = 65_536

    def __init__(self, version: str) -> None:
        self._banner = banner(version)
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._banner)

    def data_received(self, data: bytes) -> None:
        lines, feed, self._rest = (self._rest + data).rpartition(b"\n")
        self._transport.write(lines + feed)
        if len(self._rest) > self.LIMIT:
            self._transport.abort()

    def pause_writing(self) -> None:
        """The client does not read: read no more from it either."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()


async def serve(listen: Address, version: str) -> None:
    """Serve until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = await loop.create_server(lambda: Ledger(version), *listen)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    args = arguments("the bookstore's ledger")
    asyncio.run(serve(args.listen, args.version))
