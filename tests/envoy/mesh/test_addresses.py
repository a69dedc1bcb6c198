"""Two sidecars with one address: the second does not take over, and nobody speaks in its name."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.clients import http1
from tests.envoy.mesh.load import Load
from tests.envoy.mesh.manifests import spiffe
from tests.envoy.mesh.mesh import PROXY, Mesh
from tests.envoy.mesh.plait import until

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web", ports={"http": 8080}),
            mesh.pod(2, "backend", ports={"http": 8080}),
            manifests.service("backend", [(80, "http", "http")]),
        )
        await mesh.serve()
        await mesh.app(1, "web", 8080)
        await mesh.app(2, "backend", 8080)
        await mesh.start_sidecars(web=1, backend=2)
        yield mesh


async def test_a_second_sidecar_is_kept_off_the_address(mesh: Mesh) -> None:
    async with Load(mesh.address(1), PROXY, "backend.shop", fresh=3) as load:
        mesh.write("twin", mesh.pod(1, "twin", ports={"http": 8080}))
        await mesh.until_pod("twin")
        twin = await mesh.sidecar(1, "twin", ready=False)

        async def refused() -> bool:
            if not any(p["connected"] for p in await proxies() if p["pod"] == "twin.shop"):
                return False
            config = await mesh.plait.config("twin")
            listeners = [r for r in config["resources"] if r["type"] == "lds"]
            # While the batch is bisected, each is offered once more and stands as sent.
            return len(listeners) == 3 and all(
                r["state"] == "rejected" and "Address already in use" in r["nack"]
                for r in listeners
            )

        async def proxies() -> list[dict[str, object]]:
            found = (await mesh.plait.get("/v1/proxies"))["proxies"]
            assert isinstance(found, list)
            return found

        await until("refused", refused)
        problem = await mesh.plait.until_problem("Pod", "twin")
        assert mesh.address(1) in str(problem)
        called = await mesh.plait.meshctl("status", code=1)
        assert "twin" in called.out

        await load.more(100)
        inbound = await http1(mesh.address(1), 8080, "web", "/who")
        assert inbound.app == "web"
        assert load.failures == []
    assert twin.access() == [], "no request passed the second sidecar"
    peers = {line.get("peer") for line in mesh.sidecars["backend"].access(direction="inbound")}
    assert peers == {spiffe("web")}

    # The first goes, the manifest of the second stays: only now may it speak, in its own name.
    await mesh.sidecars["web"].stop()
    mesh.write(
        "mesh",
        manifests.mesh_config(),
        mesh.pod(2, "backend", ports={"http": 8080}),
        manifests.service("backend", [(80, "http", "http")]),
    )
    await twin.stop()
    await twin.start()
    await twin.ready()
    assert (await twin.get_http1("backend.shop", "/mine")).app == "backend"
    [line] = await mesh.sidecars["backend"].logged(path="/mine")
    assert line["peer"] == spiffe("twin")
