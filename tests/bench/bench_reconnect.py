"""1,000 streams reconnect with the versions they hold, nothing changed: no resource is sent.

To the same process, and to a second one on a copy of ``ca/`` and ``tokens/`` that never saw them:
both are `plait serve` as it is run. The clients count bytes, and so does the process itself where
they enter gRPC. As a positive control one endpoint is changed while nobody is connected: then
exactly one resource goes to each.
"""

import asyncio
from collections.abc import Iterable

from tests.bench.figures import Figure, limited
from tests.bench.plane import Plane, plane
from tests.bench.served import Loads, loads

STREAMS = 1000


async def reconnected(load: Loads, server: Plane, where: str) -> list[Figure]:
    """Resource bytes of one reconnect, as both ends count them."""
    before = await sent(server)
    came = await load.reconnect("plait", server)
    return [
        limited("reconnect", f"resource bytes received, {where}", came["size"], "B", 0),
        limited("reconnect", f"resource bytes sent, {where}", await sent(server) - before, "B", 0),
    ]


async def sent(server: Plane) -> float:
    return await server.metric("plait_xds_resource_bytes_total")


async def measure() -> list[Figure]:
    async with plane(asks=True) as first, loads() as load:
        opened = await load.open("plait", first, STREAMS)
        figures = [
            Figure(
                "reconnect",
                "resource bytes at the first connect",
                sum(each["size"] for each in opened),
                "B",
            ),
            *await reconnected(load, first, "same process"),
        ]
        async with plane(asks=True, keys_of=first, learnt=False) as second:
            figures += await reconnected(load, second, "second process")
            figures += await reconnected(load, first, "back to the first")
        await load.leave("plait")
        revision = await first.metric("plait_world_revision")
        first.change()
        async with asyncio.timeout(30):
            while await first.metric("plait_world_revision") == revision:
                await asyncio.sleep(0.05)
        changed = await load.reconnect("plait", first)
        return [
            *figures,
            Figure(
                "reconnect",
                "resources per stream after one change",
                changed["resources"] / STREAMS,
                "",
                goal="1",
                met=changed["resources"] == STREAMS,
            ),
        ]


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
