"""A stock Envoy over state-of-the-world ADS: the same resources, none rejected.

Sidecars of ours speak delta, because Envoy asks for clusters on demand over delta alone.
"""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.clients import http1
from tests.envoy.mesh.mesh import Mesh, Sidecar
from tests.envoy.mesh.plait import until

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PORTS = {"http": 8080, "tcp": 9000}
SERVICE = [(80, "http", "http"), (9000, "tcp", "tcp")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    """web's Envoy speaks state of the world, echo's delta."""
    async with Mesh() as mesh:
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web", ports={"http": 8080}, forwards="5000:echo.shop:9000"),
            mesh.pod(2, "echo", ports=PORTS),
            manifests.service("echo", SERVICE),
            manifests.service("web", SERVICE[:1]),
        )
        await mesh.serve()
        await mesh.app(1, "web", 8080)
        await mesh.lines(2, 9000)
        files = await mesh.files("web")
        config = json.loads(files.bootstrap.read_text())
        config["dynamic_resources"]["ads_config"]["api_type"] = "GRPC"
        files.bootstrap.write_text(json.dumps(config))
        web = mesh.sidecars["web"] = Sidecar("web", mesh.address(1), files)
        await web.start()
        await mesh.sidecar(2, "echo")
        await web.ready()
        await mesh.plait.settled(2)
        yield mesh


async def test_holds_everything(mesh: Mesh) -> None:
    config = await mesh.plait.config("web")
    states = {each["state"] for each in config["resources"]}
    assert states == {"acked"}
    assert {each["type"] for each in config["resources"]} >= {"cds", "eds", "lds", "rds", "sds"}


async def test_serves_what_comes_in(mesh: Mesh) -> None:
    assert (await http1(mesh.address(1), 8080, "web.shop", "/in")).app == "web"


async def test_a_forward_follows_its_endpoints(mesh: Mesh) -> None:
    """Mutual TLS to a sidecar that speaks delta, before and after the pod moves."""
    reader, writer = await asyncio.open_connection(mesh.address(1), 5000)
    writer.write(b"hello\n")
    assert await reader.readline() == b"HELLO\n"
    writer.close()


async def test_changes_arrive_and_old_resources_leave(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    before = set(await web.clusters())
    assert "t|shop|echo|9000" in before
    mesh.write(
        "mesh",
        manifests.mesh_config(),
        mesh.pod(1, "web", ports={"http": 8080, "more": 8081}),
        mesh.pod(2, "echo", ports=PORTS),
        manifests.service("echo", SERVICE),
        manifests.service("web", SERVICE[:1]),
    )

    async def changed() -> bool:
        found = set(await web.clusters())
        return "in|8081|h1" in found and "t|shop|echo|9000" not in found

    await until("changed", changed)
    await mesh.plait.settled(2)
    assert not await mesh.plait.problems()


async def test_reconnects(mesh: Mesh) -> None:
    await mesh.plait.kill()
    await mesh.plait.start()
    await mesh.plait.settled(2)
    assert (await http1(mesh.address(1), 8080, "web.shop", "/in")).app == "web"
