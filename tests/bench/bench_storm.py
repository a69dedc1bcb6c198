"""2,000 sidecars connect to `plait serve` at once, over TLS with tokens: none is lost.

Reported is the time to the first response of the last one, and to the last one at rest; and what
one turn of the event loop took meanwhile, in processor time.
"""

import asyncio
import time
from collections.abc import Iterable

from tests.bench.figures import Figure, limited
from tests.bench.mesh import Shape
from tests.bench.plane import plane
from tests.bench.served import loads

STREAMS = 2000


async def measure() -> list[Figure]:
    async with plane(Shape(STREAMS)) as server, loads() as load:
        await server.metric("plait_loop_work_seconds")
        begun = time.monotonic()
        told = await load.open("plait", server, STREAMS, at_once=STREAMS)
        turn = await server.metric("plait_loop_work_seconds")
        served = await server.metric("plait_xds_streams")
        lost = sum(each["lost"] for each in told) + STREAMS - served
        first = max(each["first"] for each in told) - begun
        rest = max(each["at"] for each in told) - begun
        return [
            limited("storm", f"streams lost of {STREAMS}", lost, "", 0),
            Figure("storm", "time to the last first response", first, "s"),
            Figure("storm", "time to the last sidecar at rest", rest, "s"),
            Figure("storm", "longest turn of the event loop", turn * 1e3, "ms"),
        ]


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
