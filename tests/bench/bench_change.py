"""An endpoint changed on disk, until the last of 1,000 ACKs.

`plait serve` as it is run, 1,000 other files beside the changed one, which is replaced by rename;
the clock starts before the rename. Allowed is what is configured, the step of the watcher and the
debounce of endpoints, and one and a half times the bare server's fan-out of the same round.
"""

import asyncio
import inspect
import time
from collections.abc import Iterable
from statistics import median

from controlplane.app.settings import DEFAULT_DEBOUNCE
from controlplane.sources.files import FilesSource
from tests.bench.bench_fanout import ROUNDS, STREAMS, WARM_UP, one_round
from tests.bench.figures import Figure, note
from tests.bench.mesh import Shape
from tests.bench.plane import Plane, plane
from tests.bench.served import Loads, bare, loads

FILES = 1000
FAN_OUTS = 1.5
CONFIGURED = (
    inspect.signature(FilesSource).parameters["debounce"].default.total_seconds()
    + DEFAULT_DEBOUNCE.endpoint_quiet
) * 1e3
"""Milliseconds from a change to its evaluation."""


async def one_change(load: Loads, server: Plane) -> float:
    """Milliseconds from before the rename to the last ACK."""
    last = await load.arm("plait")
    begun = time.monotonic()
    server.change()
    ended = await last()
    await server.acked()
    return (ended - begun) * 1e3


async def measure() -> list[Figure]:
    async with plane(Shape(STREAMS, others=FILES)) as server, bare() as baseline, loads() as load:
        await load.open("plait", server, STREAMS)
        await load.open("bare", baseline, STREAMS)
        before = await server.metric("plait_xds_acks_total", type="eds")
        rounds: list[tuple[float, float]] = []
        for number in range(WARM_UP + ROUNDS):
            ours = await one_change(load, server)
            _, bare_wall = await one_round(load, "bare", baseline)
            note(f"round {number}: {ours:.0f} ms, allowed {CONFIGURED + FAN_OUTS * bare_wall:.0f}")
            if number >= WARM_UP:
                rounds.append((ours, CONFIGURED + FAN_OUTS * bare_wall))
        acks = await server.metric("plait_xds_acks_total", type="eds") - before
        expected = STREAMS * (WARM_UP + ROUNDS)
        ratio = median(ours / allowed for ours, allowed in rounds)
        return [
            Figure(
                "change",
                f"rename to the last of {STREAMS} ACKs, of {CONFIGURED:.0f} ms + 1.5 fan-outs",
                median(ours for ours, _ in rounds),
                "ms",
                median(allowed for _, allowed in rounds),
                ratio,
                "ratio <= 1",
                ratio <= 1,
            ),
            Figure(
                "change",
                "ACKs that the control plane counted",
                acks,
                "",
                expected,
                goal=f"{expected}",
                met=acks == expected,
            ),
        ]


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
