"""1 % of 1,000 sidecars read nothing and 10 % read slowly: the rest must not notice.

One endpoint changes; the time to the last ACK of the well-behaved 89 % with the others misbehaving,
against the same with the others well, in interleaved rounds. What the stalled ones missed reaches
them when they read again: the newest alone.
"""

import asyncio
import time
from collections.abc import Iterable

from tests.bench.bench_fanout import ROUNDS, WARM_UP
from tests.bench.figures import Figure, compared, limited, note
from tests.bench.mesh import Shape
from tests.bench.plane import Plane, plane
from tests.bench.process import resident_bytes
from tests.bench.served import Loads, loads

SHAPE = Shape(1000)
SHARES = (("good", 890), ("slow", 100), ("stalled", 10))
SLOW = 0.2
"""Seconds that a slow one takes for each response."""
RATIO = 1.1


class Part:
    """Some of a plane's sidecars, as a server of their own."""

    def __init__(self, plane: Plane, start: int) -> None:
        self.pid, self.port, self.roots = plane.pid, plane.port, plane.roots
        self.subscriptions, self.learning = plane.subscriptions, plane.learning
        self.change, self.acked, self.stop = plane.change, plane.acked, plane.stop
        self._plane, self._start = plane, start

    def identities(self, count: int) -> list[tuple[str, str, dict[str, list[str]]]]:
        return self._plane.identities(self._start + count)[self._start :]


async def one_round(load: Loads, server: Plane) -> float:
    """Milliseconds until the last ACK of the good ones."""
    last = await load.arm("good")
    begun = time.monotonic()
    server.change()
    ended = await last()
    await server.acked()
    return (ended - begun) * 1e3


async def measure() -> list[Figure]:
    async with plane(SHAPE) as server, loads() as load:
        start = 0
        for name, count in SHARES:
            await load.open(name, Part(server, start), count)
            start += count
        empty = resident_bytes(server.pid)
        rounds: list[tuple[float, float]] = []
        for number in range(WARM_UP + ROUNDS):
            await load.behave("slow", SLOW)
            await load.behave("stalled", None)
            theirs = await one_round(load, server)
            await load.behave("slow", 0.0)
            await load.behave("stalled", 0.0)
            alone = await one_round(load, server)
            note(f"round {number}: {theirs:.0f} ms against {alone:.0f} ms")
            if number >= WARM_UP:
                rounds.append((theirs, alone))
        grown = (resident_bytes(server.pid) - empty) / 2**20
        await server.acked()
        newest = {
            versions["type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"][
                "e|default|svc-0000|80"
            ]
            for name, _ in SHARES[1:]
            for versions in (await load.held(name)).values()
        }
        return [
            compared("stall", "last ACK of the rest", rounds, "ms", RATIO),
            limited("stall", "versions that the others hold in the end", len(newest), "", 1),
            Figure("stall", "memory grown", grown, "MB"),
        ]


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
