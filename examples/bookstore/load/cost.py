"""What two sidecars cost: the same request to ratings through the mesh and straight to the
program, from one process over one kept connection each, in alternation with a random first."""

import argparse
import asyncio
import json
import random

from examples.bookstore.http1 import Address, BadReply, Connection, Reply, parse_address
from examples.bookstore.load.clients import Kept
from examples.bookstore.load.report import Answer, Recorder, Unexpected, paced, report

MESH, DIRECT = "mesh", "direct"


def judge(reply: Reply, path: str, caller: str) -> Answer:
    """Raises Unexpected unless ratings answered, called by ``caller`` when through the mesh."""
    if reply.status != 200:
        raise Unexpected(f"status {reply.status}: {reply.body[:200]!r}")
    try:
        body = json.loads(reply.body)
        named, seen = (body["service"], body["stars"]), body["caller"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unexpected(f"status 200 with another body: {reply.body[:200]!r}") from error
    if named != ("ratings", 5) or (path == MESH and seen != caller):
        raise Unexpected(f"status 200 with another body: {reply.body[:200]!r}")
    return Answer(path)


def kept(path: str, target: Address, caller: str, recorder: Recorder) -> Kept[Connection]:
    """A client that goes one of the two paths over one kept connection."""

    async def connect() -> Connection:
        return await Connection.open(target)

    async def use(connection: Connection) -> Answer:
        try:
            return judge(await connection.get("ratings", "/ratings"), path, caller)
        except BadReply as error:
            raise Unexpected(str(error)) from error

    return Kept(recorder, connect, use)


def main() -> None:
    parser = argparse.ArgumentParser(description="the same request with and without two sidecars")
    parser.add_argument("--name", required=True)
    parser.add_argument("--proxy", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--direct", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--caller", default="", help="SPIFFE id that ratings must see")
    parser.add_argument("--rate", type=float, default=40.0, help="pairs per second")
    args = parser.parse_args()

    async def work(recorder: Recorder, stopped: asyncio.Event) -> None:
        paths = [
            kept(MESH, args.proxy, args.caller, recorder),
            kept(DIRECT, args.direct, args.caller, recorder),
        ]

        async def pair() -> None:
            for path in random.sample(paths, k=2):
                await path.step()

        await paced(args.rate, stopped, pair)
        for path in paths:
            path.close()

    asyncio.run(report(args.name, work))


if __name__ == "__main__":
    main()
