"""What a sidecar no longer uses is taken back from it, asked for again, and no request is lost."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.load import Load
from tests.envoy.mesh.mesh import PROXY, Mesh, Sidecar
from tests.envoy.mesh.plait import until

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

CYCLES = 3
FLEETING = "h|shop|fleeting|80"
STEADY = "h|shop|steady|80"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh("--report-interval", "400ms") as mesh:
        names = ("fleeting", "steady")
        mesh.write(
            "mesh",
            manifests.mesh_config(onDemand={"bucket": "1s", "idle": "2s", "floor": 0}),
            mesh.pod(1, "web"),
            mesh.pod(2, "backend", ports={"http": 8080}),
            *(
                manifests.service(n, [(80, "http", "http")], {"app": "backend"})
                for n in (*names, "nobody")
            ),
        )
        await mesh.serve()
        await mesh.app(2, "backend", 8080)
        await mesh.start_sidecars(web=1, backend=2)
        yield mesh


async def gone(web: Sidecar, cluster: str = FLEETING) -> None:
    async def absent() -> bool:
        return cluster not in await web.clusters()

    await web.until(f"without {cluster}", absent)


async def contacts(web: Sidecar, authority: str) -> int:
    """First contacts so far: requests that took the loop."""
    return len(web.access(listener="ploop", authority=authority))


async def test_contact_idle_eviction_and_contact_again_under_load(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    async with Load(web.address, PROXY, "steady.shop") as steady:
        for cycle in range(CYCLES):
            before = await contacts(web, "fleeting.shop")
            async with Load(web.address, PROXY, "fleeting.shop", kept=4, fresh=2) as fleeting:
                await fleeting.more(200)
                assert FLEETING in await web.clusters()
            assert fleeting.failures == [], cycle
            assert await contacts(web, "fleeting.shop") > before, "asked for, in each cycle"
            await gone(web)
            assert STEADY in await web.clusters(), "in use all the time"
        await steady.more(20)
    assert steady.failures == []


async def test_by_hand_under_load(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    async with Load(web.address, PROXY, "fleeting.shop", kept=4, fresh=2) as load:
        await load.more(50)
        kept = await mesh.plait.meshctl("proxy", "evict", "web.shop", "fleeting.shop:80", code=None)
        for _ in range(2):

            async def evicted() -> bool:
                body = {"destinations": ["fleeting.shop"], "idle": None}
                answer = await mesh.plait.post("/v1/proxies/shop/web/evict", body)
                return bool(answer["evicted"] == ["fleeting.shop:80"])

            before = await contacts(web, "fleeting.shop")
            await until("evicted once its bucket is over", evicted)
            await load.more(200)
            assert await contacts(web, "fleeting.shop") > before
            assert FLEETING in await web.clusters()
    assert load.failures == []
    assert kept.out == "" or "asked for just now" in kept.out


async def held(mesh: Mesh, service: str) -> str:
    """What a simulation of web says about its sidecar."""
    return str(
        (await mesh.plait.meshctl("simulate", "web.shop", service, "-o", "json")).json["held"]
    )


async def test_what_was_evicted_does_not_come_back_with_a_restart(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    async with Load(web.address, PROXY, "steady.shop") as steady:
        assert (await held(mesh, "nobody")).startswith("no: the pod has not asked")
        await web.get_http1("fleeting.shop")
        await gone(web)
        assert await held(mesh, "steady") == "yes"
        assert (await held(mesh, "fleeting")).startswith("no: it was taken back")
        await mesh.plait.kill()
        await mesh.plait.start()
        await mesh.plait.settled(2)
        assert FLEETING not in await web.clusters()
        assert STEADY in await web.clusters()
        before = await contacts(web, "fleeting.shop")
        async with Load(web.address, PROXY, "fleeting.shop") as fleeting:
            await fleeting.more(50)
        assert fleeting.failures == []
        assert await contacts(web, "fleeting.shop") > before
    assert steady.failures == []


async def test_what_is_shown_of_a_sidecar(mesh: Mesh) -> None:
    async def reported() -> bool:
        [_, web] = (await mesh.plait.get("/v1/proxies"))["proxies"]
        return web["memory"] is not None

    await until("reporting", reported)
    [backend, web] = (await mesh.plait.meshctl("proxy", "list", "-o", "json")).json["proxies"]
    assert (backend["learnt"], backend["promoted"], backend["asked"]) == (0, 0, 0)
    assert web["learnt"] == 2
    assert web["asked"] >= CYCLES
    assert 1e6 < web["memory"] < 1e8
    assert 0 <= web["ackedAgo"] < 600
    [certificate] = (await mesh.plait.meshctl("certs", "web.shop", "-o", "json")).json[
        "certificates"
    ]
    assert web["serial"] == certificate["serial"]
    assert web["notAfter"] == certificate["notAfter"]
    metrics = await mesh.plait.metrics()
    assert metrics["plait_reports_streams{}"] == 2
    assert metrics["plait_reports_received_bytes_total{}"] > 1000
    missing = await mesh.plait.meshctl("proxy", "evict", "web.shop", "nosuch.shop", code=None)
    assert "learnt no such destination" in missing.out
