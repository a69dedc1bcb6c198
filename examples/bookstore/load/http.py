"""HTTP load on the front page: kept connections, or (``--fresh``) a new one for every request.

The path is web → reviews → ratings. A reply counts when it is 200, names a known version of
reviews, and every service saw the SPIFFE id of its caller.
"""

import argparse
import asyncio
import json

from examples.bookstore.http1 import BadReply, Connection, Reply, parse_address
from examples.bookstore.load.clients import Client, Fresh, Kept, run
from examples.bookstore.load.report import Answer, Recorder, Unexpected, report

VERSIONS = ("v1", "v2")


def judge(reply: Reply, trust_domain: str) -> Answer:
    """The version of reviews that answered, and who each service saw.

    ``trust_domain`` empty: callers are not checked (no mesh between the programs).
    Raises Unexpected that says what was wrong.
    """
    if reply.status != 200:
        text = reply.body.decode(errors="replace").strip()
        raise Unexpected(f"status {reply.status}: {text[:200]}")
    try:
        body = json.loads(reply.body)
        reviews, ratings = body["reviews"], body["reviews"]["ratings"]
        version, stars = reviews["version"], ratings["stars"]
        named = (body["service"], reviews["service"], ratings["service"])
        seen = {f"reviews-{version}": reviews["caller"], "ratings": ratings["caller"]}
    except (ValueError, KeyError, TypeError) as error:
        raise Unexpected(f"status 200 with another body: {reply.body[:200]!r}") from error
    if named != ("web", "reviews", "ratings") or version not in VERSIONS or stars != 5:
        raise Unexpected(f"status 200 with another body: {reply.body[:200]!r}")
    if trust_domain:
        prefix = f"spiffe://{trust_domain}/ns/shop/sa/"
        expected = {f"reviews-{version}": f"{prefix}web", "ratings": f"{prefix}reviews-{version}"}
        if seen != expected:
            raise Unexpected(f"callers were {seen}, not {expected}")
    return Answer(version, seen)


def main() -> None:
    parser = argparse.ArgumentParser(description="HTTP load on the bookstore's front page")
    parser.add_argument("--name", required=True)
    parser.add_argument("--target", type=parse_address, required=True, metavar="HOST:PORT")
    parser.add_argument("--trust-domain", default="")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--fresh", action="store_true", help="a new connection per request")
    args = parser.parse_args()
    # The front page then asks reviews over a new connection too.
    headers = {"connection": "close"} if args.fresh else {}

    async def connect() -> Connection:
        return await Connection.open(args.target)

    async def use(connection: Connection) -> Answer:
        try:
            reply = await connection.get(str(args.target), "/page", headers)
        except BadReply as error:
            raise Unexpected(str(error)) from error
        return judge(reply, args.trust_domain)

    async def work(recorder: Recorder, stopped: asyncio.Event) -> None:
        kind = Fresh if args.fresh else Kept
        clients: list[Client] = [kind(recorder, connect, use) for _ in range(args.connections)]
        await run(clients, args.rate, stopped)

    asyncio.run(report(args.name, work))


if __name__ == "__main__":
    main()
