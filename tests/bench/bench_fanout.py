"""One endpoint change to 1,000 delta streams over TLS with bearer tokens, until the last ACK.

The server is `plait serve` as it is run; the change is a file. CPU is user and system time of the
whole process, per push and ACK, against the bare server in interleaved rounds. Wall time is
reported: the clients share the machine, and it holds the debounce (see `bench_change`).
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager

from tests.bench.figures import Figure, compared, limited, note
from tests.bench.plane import plane
from tests.bench.process import cpu_seconds
from tests.bench.served import Loads, Served, bare, loads, resident

STREAMS = 1000
ROUNDS = 12
WARM_UP = 2
CPU_RATIO = 1.5
KB_PER_STREAM = 150


async def one_round(load: Loads, name: str, server: Served) -> tuple[float, float]:
    """(CPU µs per push and ACK, wall ms until the last ACK was written)."""
    last = await load.arm(name)
    used = cpu_seconds(server.pid)
    begun = time.monotonic()
    server.change()
    ended = await last()
    await server.acked()
    return (cpu_seconds(server.pid) - used) / STREAMS * 1e6, (ended - begun) * 1e3


async def measure(serve: Callable[[], AbstractAsyncContextManager[Served]]) -> list[Figure]:
    async with serve() as server, bare() as baseline, loads() as load:
        empty = resident(server)
        await load.open("plait", server, STREAMS)
        memory = (resident(server) - empty) / STREAMS / 1024
        await load.open("bare", baseline, STREAMS)
        cpu: list[tuple[float, float]] = []
        wall: list[tuple[float, float]] = []
        for number in range(WARM_UP + ROUNDS):
            ours = await one_round(load, "plait", server)
            theirs = await one_round(load, "bare", baseline)
            note(f"round {number}: {ours[0]:.0f} µs against {theirs[0]:.0f} µs")
            if number >= WARM_UP:
                cpu.append((ours[0], theirs[0]))
                wall.append((ours[1], theirs[1]))
        return [
            compared("fanout", "server CPU per push and ACK", cpu, "us", CPU_RATIO),
            compared("fanout", "wall time to the last ACK", wall, "ms"),
            limited("fanout", "memory per stream", memory, "KB", KB_PER_STREAM),
        ]


def main(
    serve: Callable[[], AbstractAsyncContextManager[Served]] = plane,
) -> Iterable[Figure]:
    return asyncio.run(measure(serve))
