"""Uses a destination for the first time: how long that took, and the next new connection.

Prints ``{"first": SECONDS, "next": SECONDS}``. The next one is tried until the sidecar takes it to
a listener of its own, where a reply no longer says ``connection: close``.
"""

import argparse
import asyncio
import json
import time

from examples.bookstore.http1 import Address, Connection, parse_address
from examples.bookstore.load.tcp import LedgerConnection

PATIENCE = 10.0
"""Seconds for the destination's own listener to come."""


async def http(target: Address, path: str) -> tuple[float, bool]:
    """Seconds of one GET on a new connection, and whether that connection may be kept."""
    began = time.perf_counter()
    connection = await Connection.open(target)
    try:
        reply = await connection.get(str(target), path)
        if reply.status != 200:
            raise SystemExit(f"{target}{path}: status {reply.status}: {reply.body[:200]!r}")
        return time.perf_counter() - began, connection.usable
    finally:
        connection.close()


async def tcp(target: Address) -> tuple[float, bool]:
    """Seconds until a new connection has brought the banner."""
    began = time.perf_counter()
    connection = await LedgerConnection.open(target, "v1")
    took = time.perf_counter() - began
    connection.close()
    return took, True


async def run(target: Address, path: str) -> dict[str, float]:
    """``path`` empty: TCP."""
    first, kept = await (http(target, path) if path else tcp(target))
    end = time.monotonic() + PATIENCE
    while True:
        after, kept = await (http(target, path) if path else tcp(target))
        if kept or time.monotonic() > end:
            return {"first": first, "next": after}


def main() -> None:
    parser = argparse.ArgumentParser(description="first contact with a destination")
    parser.add_argument("--target", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--path", default="", help="GET this; default: read the ledger's banner")
    args = parser.parse_args()
    print(json.dumps(asyncio.run(run(args.target, args.path))))


if __name__ == "__main__":
    main()
