"""A mesh in motion for ten minutes: memory stays, everybody ends with what is right.

500 services, 200 sidecars with 20 destinations each; 50 endpoint changes and a route change each
second, all through files. Ten minutes, or as ``PLAIT_SOAK_SECONDS`` says, or one in CI. In the end
every sidecar has acknowledged all that is meant for it, and holds the very versions that a control
plane gives which starts from the files alone.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterable
from statistics import median

from controlplane.app.views import Proxies
from controlplane.meshctl.client import Client
from tests.bench import manifests
from tests.bench.figures import Figure, limited, note
from tests.bench.mesh import Shape, service_name
from tests.bench.plane import Plane, plane
from tests.bench.process import cpu_seconds, resident_bytes
from tests.bench.served import loads
from xds.types import SECRET

SHAPE = Shape(200, services=500, endpoints=10, owners=50)
CHANGES = 50
"""Of endpoints, a second."""
RATIO = 1.03
PATIENCE = 60.0

Held = dict[str, dict[str, dict[str, str]]]


def duration() -> float:
    default = "60" if os.environ.get("CI") else "600"
    return float(os.environ.get("PLAIT_SOAK_SECONDS", default))


class Motion:
    """Changes the files of a mesh, at random and on time."""

    def __init__(self, server: Plane) -> None:
        self._server = server
        self._random = random.Random(1)
        self._versions = {n: [0] * SHAPE.endpoints for n in range(SHAPE.services)}
        self.changes = 0

    def endpoint(self) -> None:
        service = self._random.randrange(SHAPE.services)
        place = self._random.randrange(SHAPE.endpoints)
        self._versions[service][place] += 1
        SHAPE.write_service(self._server.home, service, self._versions[service])
        self.changes += 1

    def route(self) -> None:
        name = service_name(self._random.randrange(SHAPE.services))
        path = self._server.home / "tree" / f"route-{name}.yaml"
        manifests.replace(path, [manifests.route(name, self._random.randrange(1, 60))])
        self.changes += 1


async def soak(server: Plane, seconds: float) -> tuple[list[int], int]:
    """Resident bytes each second, and how many changes there were."""
    motion = Motion(server)
    resident: list[int] = []
    begun = time.monotonic()
    for step in range(int(seconds * CHANGES)):
        await asyncio.sleep(max(0.0, begun + step / CHANGES - time.monotonic()))
        motion.endpoint()
        if step % CHANGES == 0:
            motion.route()
            resident.append(resident_bytes(server.pid))
            if step % (CHANGES * 30) == 0:
                note(f"{step // CHANGES} s: {resident[-1] / 2**20:.1f} MB")
    return resident, motion.changes


async def behind(server: Plane) -> int:
    """Sidecars that have not acknowledged everything, once nothing moves any more."""
    until = time.monotonic() + PATIENCE
    async with Client(server.home / "state") as client:
        while True:
            await server.acked()
            found = (await client.get(Proxies, "/v1/proxies")).proxies
            late = sum(1 for each in found if not each.connected or each.acked < each.resources)
            late += sum(1 for each in found if each.waiting or each.rejected)
            if not late or time.monotonic() > until:
                return late
            await asyncio.sleep(0.2)


def configuration(held: Held) -> Held:
    """All but leaves, which belong to one process's clock."""
    return {
        node: {kind: names for kind, names in types.items() if kind != SECRET}
        for node, types in held.items()
    }


async def measure() -> list[Figure]:
    async with plane(SHAPE) as server, loads() as load:
        await load.open("plait", server, SHAPE.sidecars)
        used, begun = cpu_seconds(server.pid), time.monotonic()
        resident, changes = await soak(server, duration())
        busy = (cpu_seconds(server.pid) - used) / (time.monotonic() - begun)
        late = await behind(server)
        lived = configuration(await load.held("plait"))
        async with plane(keys_of=server) as anew:
            await load.open("scratch", anew, SHAPE.sidecars)
            fresh = configuration(await load.held("scratch"))
    third = len(resident) // 3
    middle, last = median(resident[third : 2 * third]), median(resident[2 * third :])
    other = sum(lived[node] != fresh[node] for node in fresh)
    return [
        Figure(
            "soak",
            f"resident memory over {duration():g} s, last third beside the middle one",
            last / 2**20,
            "MB",
            middle / 2**20,
            last / middle,
            f"ratio <= {RATIO}",
            last <= RATIO * middle,
        ),
        limited("soak", "sidecars without an ACK of the last version", late, "", 0),
        limited("soak", "sidecars that hold other than from scratch", other, "", 0),
        Figure("soak", "changes", changes, ""),
        Figure("soak", "processor use", busy * 100, "%"),
    ]


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
