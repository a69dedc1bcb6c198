"""TCP load on the ledger: long connections that send line after line, or (``--fresh``) a new
connection for every line. The banner must come first and every line must come back unchanged."""

import argparse
import asyncio
import itertools

from examples.bookstore.apps.ledger import banner
from examples.bookstore.http1 import Address, parse_address
from examples.bookstore.load.clients import Client, Fresh, Kept, run
from examples.bookstore.load.report import Answer, Recorder, Unexpected, report


class LedgerConnection:
    """A connection whose banner has been read."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, target: Address, version: str) -> "LedgerConnection":
        """Raises OSError, or Unexpected when something else than the banner comes first."""
        connection = cls(*await asyncio.open_connection(*target))
        try:
            await connection._expect(banner(version))
        except BaseException:
            connection.close()
            raise
        return connection

    async def echo(self, line: bytes) -> None:
        """Send a line (with its line feed) and read it back. Raises as `open` does."""
        self._writer.write(line)
        await self._expect(line)

    async def _expect(self, line: bytes) -> None:
        got = await self._reader.readline()
        if not got:
            raise ConnectionResetError("the connection was closed")
        if got != line:
            raise Unexpected(f"{got[:80]!r} came, not {line[:80]!r}")

    def close(self) -> None:
        self._writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="TCP load on the bookstore's ledger")
    parser.add_argument("--name", required=True)
    parser.add_argument("--target", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--version", default="v1")
    parser.add_argument("--rate", type=float, default=20.0, help="lines per second")
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--fresh", action="store_true", help="a new connection per line")
    args = parser.parse_args()
    numbers = itertools.count()

    async def connect() -> LedgerConnection:
        return await LedgerConnection.open(args.target, args.version)

    async def use(connection: LedgerConnection) -> Answer:
        await connection.echo(b"entry %d\n" % next(numbers))
        return Answer(args.version)

    async def work(recorder: Recorder, stopped: asyncio.Event) -> None:
        kind = Fresh if args.fresh else Kept
        clients: list[Client] = [kind(recorder, connect, use) for _ in range(args.connections)]
        await run(clients, args.rate, stopped)

    asyncio.run(report(args.name, work))


if __name__ == "__main__":
    main()
