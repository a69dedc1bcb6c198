"""A TCP service that speaks first: a banner, then every line comes back as it was sent."""

import asyncio
import contextlib
import signal

from examples.bookstore.apps.service import arguments
from examples.bookstore.http1 import Address


def banner(version: str) -> bytes:
    return f"ledger {version} ready\n".encode()


async def serve(listen: Address, version: str, stopped: asyncio.Event) -> None:
    """Serve until ``stopped`` is set. A line is at most 64 KiB."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            writer.write(banner(version))
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, *listen)
    await stopped.wait()
    server.close()


async def main() -> None:
    args = arguments("the bookstore's ledger")
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await serve(args.listen, args.version, stopped)


if __name__ == "__main__":
    asyncio.run(main())
