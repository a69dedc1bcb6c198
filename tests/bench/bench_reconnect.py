"""1,000 streams reconnect with the versions they hold, nothing changed: no resource is sent.

To the same process and to a second one that never saw them. As a positive control one endpoint
is changed meanwhile: then exactly one resource goes to each.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager

from tests.bench.figures import Figure, limited
from tests.bench.served import Served, edge, loads

STREAMS = 1000


async def measure(serve: Callable[[], AbstractAsyncContextManager[Served]]) -> list[Figure]:
    async with serve() as first, serve() as second, loads() as load:
        opened = await load.open("plait", first, STREAMS)
        at_start = sum(each["size"] for each in opened)
        same = await load.reconnect("plait", first)
        other = await load.reconnect("plait", second)
        first.change()
        changed = await load.reconnect("plait", first)
        return [
            Figure("reconnect", "resource bytes at the first connect", at_start, "B"),
            limited("reconnect", "resource bytes, same process", same["size"], "B", 0),
            limited("reconnect", "resource bytes, second process", other["size"], "B", 0),
            Figure(
                "reconnect",
                "resources per stream after one change",
                changed["resources"] / STREAMS,
                "",
                goal="1",
                met=changed["resources"] == STREAMS,
            ),
        ]


def main(
    serve: Callable[[], AbstractAsyncContextManager[Served]] = edge,
) -> Iterable[Figure]:
    return asyncio.run(measure(serve))
