"""`meshctl proxy run`: a stream ends with its token, the renewed one carries on, traffic stays."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.load import Load
from tests.envoy.mesh.mesh import PROXY, Mesh
from tests.envoy.mesh.plait import until

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]

LIFETIME = 6
PODS = {"web": 1, "backend": 2}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh("--token-lifetime", f"{LIFETIME}s") as mesh:
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web"),
            mesh.pod(2, "backend", ports={"http": 8080}),
            manifests.service("backend", [(80, "http", "http")]),
        )
        await mesh.serve()
        await mesh.app(2, "backend", 8080)
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(mesh: Mesh) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Both sidecars as a user starts them."""
    processes = []
    for pod in PODS:
        with (mesh.base / f"{pod}.log").open("ab") as log:
            words = ("proxy", "run", pod, "-n", "shop", "--dir", str(mesh.base / pod))
            processes.append(
                await asyncio.create_subprocess_exec(
                    *mesh.plait.meshctl_command(*words), stdout=log, stderr=log
                )
            )
    yield processes
    for process in processes:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)


async def test_a_token_expires_and_is_renewed(
    mesh: Mesh, run: list[asyncio.subprocess.Process]
) -> None:
    await mesh.plait.settled(len(PODS))
    async with Load(mesh.address(1), PROXY, "backend.shop") as load:

        async def reconnected() -> bool:
            opened = (await mesh.plait.metrics()).get("plait_xds_opened_total{}", 0)
            return opened >= 3 * len(PODS)

        await until("connected for the third time", reconnected)
        await mesh.plait.settled(len(PODS))
        await mesh.plait.apply(manifests.policy("RoutePolicy", "backend", timeout="3s"))
        await load.more(50)
        assert load.failures == []
    log = mesh.plait.log.read_text()
    assert log.count("UNAUTHENTICATED") >= 2 * len(PODS), "streams ended with their tokens"
    assert await mesh.plait.pushed() != {}
    run[0].terminate()
    assert await asyncio.wait_for(run[0].wait(), 30) == 0

    async def alone() -> bool:
        status = await mesh.plait.get("/v1/status")
        return bool(status["sidecars"]["connected"] == 1)

    await until("alone", alone)
