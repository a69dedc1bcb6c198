"""What a sidecar holds does not depend on the mesh: 10 destinations of 10 services and of 3,000.

A real Envoy behind redirection contacts each destination by its address. Its heap is read when all
are promoted, and nothing that was asked for is left.
"""

import asyncio
from collections.abc import Iterable

from tests.bench import manifests
from tests.bench.figures import Figure, note
from tests.bench.pods import APP, HTTP, allocated, application, pods
from tests.bench.process import resident_bytes
from tests.envoy.mesh.manifests import Document
from tests.envoy.netns.mesh import NetMesh, service, settings

SIZES = (10, 3000)
USED = 10
REQUESTS = 20
"""To each destination."""
RATIO = 1.1
_SUBNET = 250


def address(number: int) -> str:
    """Of Service ``number``."""
    return f"10.96.{number // _SUBNET}.{number % _SUBNET + 1}"


def documents(count: int) -> list[Document]:
    made = []
    for number in range(count):
        each = service(f"svc-{number:04}", 1, HTTP, selector={"app": "backend"})
        each["spec"]["clusterIP"] = address(number)
        made.append(each)
    return made


def used(count: int) -> list[int]:
    """Services that the sidecar uses, spread over all."""
    return list(range(0, count, count // USED))[:USED]


async def contacted(mesh: NetMesh, numbers: list[int]) -> None:
    """Use these Services until all are promoted and nothing asked for is left."""
    for number in numbers:
        for _ in range(REQUESTS):
            reply = await mesh.http1("web", address(number), authority=f"svc-{number:04}.shop")
            assert reply.status == 200, reply
        await mesh.until_promoted("web", address(number), HTTP[0])

    async def none_asked() -> bool:
        return not await mesh.asked("web")

    await mesh.sidecars["web"].until("without names asked for", none_asked)


async def heap(count: int) -> tuple[float, float]:
    """Bytes allocated, and resident, of a sidecar in a mesh of ``count`` services."""
    async with pods() as mesh:
        mesh.write("mesh", settings(), mesh.add(2, "web"), mesh.add(3, "backend", ports=APP))
        manifests.replace(mesh.tree / "services.yaml", documents(count))
        await mesh.serve()
        await mesh.bring_up("web", "backend")
        async with application(mesh, "backend"):
            await contacted(mesh, used(count))
            web = mesh.sidecars["web"]
            found = await allocated(web), resident_bytes(web.pid)
            clusters = len(await web.clusters())
        note(f"{count} services: {found[0] / 2**20:.3f} MB allocated, {clusters} clusters")
        return found


async def measure() -> list[Figure]:
    (small, small_rss), (large, large_rss) = [await heap(size) for size in SIZES]
    sizes = f"{SIZES[1]} services beside {SIZES[0]}"
    return [
        Figure(
            "envoy-heap",
            f"heap of an Envoy that uses {USED} destinations, {sizes}",
            large / 2**20,
            "MB",
            small / 2**20,
            large / small,
            f"ratio <= {RATIO}",
            large <= RATIO * small,
        ),
        Figure(
            "envoy-heap",
            f"its resident memory, {sizes}",
            large_rss / 2**20,
            "MB",
            small_rss / 2**20,
            large_rss / small_rss,
        ),
    ]


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
