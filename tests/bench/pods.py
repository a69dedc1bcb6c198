"""A bench with real Envoys: pods in network namespaces behind redirection, and processes in them.

Everything is made for one bench and removed at its end. Needs root.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from statistics import median

from tests.bench.figures import Blocked
from tests.bench.process import Child
from tests.conftest import BLOCKED, lacking
from tests.envoy.netns.mesh import ANY, NetMesh
from tests.envoy.process import EnvoyProcess

APP: dict[str, int] = {"http": 8080, "tcp": 7000}
"""Ports of the application, by the names that Services use."""
HTTP, TCP = (80, "http", "http"), (7000, "tcp", "tcp")
"""Ports of Services."""
_READINGS = 11
_BETWEEN = 0.1


@asynccontextmanager
async def pods(*options: str) -> AsyncIterator[NetMesh]:
    """A mesh without anything in it. ``options`` go to `plait serve`. Raises `Blocked`."""
    if reason := lacking():
        raise Blocked(f"{BLOCKED} ({reason})")
    async with NetMesh(*options) as mesh:
        yield mesh


@asynccontextmanager
async def process_in(mesh: NetMesh, pod: str) -> AsyncIterator[Child]:
    """A process of `tests.bench.pod` in a pod."""
    child = await Child.start("tests.bench.pod", prefix=mesh.network.pods[pod].command())
    try:
        yield child
    finally:
        await child.stop()


@asynccontextmanager
async def application(mesh: NetMesh, pod: str) -> AsyncIterator[None]:
    """The application of a pod, on the ports of `APP`."""
    async with process_in(mesh, pod) as child:
        await child.ask(do="serve", address=ANY, **APP)
        yield


async def allocated(envoy: EnvoyProcess) -> float:
    """Bytes of heap in use, the median of readings of a second."""
    return await median_of(lambda: _allocated(envoy))


async def median_of(read: Callable[[], Awaitable[float]]) -> float:
    readings = []
    for _ in range(_READINGS):
        readings.append(await read())
        await asyncio.sleep(_BETWEEN)
    return median(readings)


async def _allocated(envoy: EnvoyProcess) -> float:
    return (await envoy.memory())["allocated"]
