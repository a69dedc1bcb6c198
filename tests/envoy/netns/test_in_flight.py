"""Redirect mode: the whole life of a destination under one load that never stops. Clients are the
pod's own program, count every failure and try nothing twice.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh.load import Load
from tests.envoy.mesh.manifests import Document, policy, route, to
from tests.envoy.netns.mesh import NetMesh, service, settings, vip

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("netns-in-flight"),
]

HTTP, TCP = (80, "http", "http"), (7000, "tcp", "tcp")
ALL = {"app": "all"}
BUSY, V1, V2 = 10, 31, 32
CYCLES = 2


def backend(mesh: NetMesh, name: str, *, ready: bool = True) -> Document:
    ports = {"http": 8080, "tcp": 7000}
    return mesh.manifest(name, ports=ports, labels=ALL | {"v": name}, ready=ready)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh("--report-interval", "400ms") as mesh:
        mesh.write(
            "mesh",
            settings(onDemand={"bucket": "1s"}),
            mesh.add(2, "web"),
            service("busy", BUSY, HTTP, TCP, selector=ALL),
            service("v1", V1, HTTP, selector={"v": "v1"}),
            service("v2", V2, HTTP, selector={"v": "v2"}),
        )
        for number, name in ((3, "v1"), (4, "v2")):
            mesh.add(number, name)
            mesh.write(name, backend(mesh, name))
        await mesh.serve()
        await mesh.bring_up("web", "v1", "v2")
        for name in ("v1", "v2"):
            await mesh.serve_http(name, 8080)
            await mesh.serve_lines(name, 7000)
        yield mesh


async def evict(mesh: NetMesh, port: int) -> str:
    """Why it was kept; empty: it was evicted."""
    body = {"destinations": [f"busy.shop:{port}"], "idle": None}
    kept = (await mesh.plait.post("/v1/proxies/shop/web/evict", body))["kept"]
    return kept[0]["reason"] if kept else ""


async def test_nothing_fails_from_first_contact_to_the_next(mesh: NetMesh) -> None:
    """Contact, promotion, a half and half, a policy, endpoints that go and come, eviction and
    contact again: kept connections, one for each request, TCP short and long."""
    web = mesh.sidecars["web"]
    halves = route("busy", "busy", {"backendRefs": to(("v1", 1), ("v2", 1))})
    with mesh.inside("web"):
        async with Load(vip(BUSY), 80, "busy", kept=4, fresh=3, tcp=7000, held=2) as load:
            for cycle in range(CYCLES):
                for port in (80, 7000):
                    await mesh.until_promoted("web", vip(BUSY), port)
                mesh.write("routes", halves, policy("RoutePolicy", "busy", timeout="15s"))
                await load.more(100)
                await load.until_apps({"v1", "v2"})
                mesh.write("routes", policy("RoutePolicy", "busy", timeout="15s"))

                async def direct() -> bool:
                    """Half to the Service of one pod would rightly fail without that pod."""
                    lines = web.access(listener="p", path="/load")[-60:]
                    return {line["upstream_cluster"] for line in lines} == {"h|shop|busy|80"}

                await web.until("without the route", direct)
                for gone, stays in (("v2", "v1"), ("v1", "v2")):
                    mesh.write(gone, backend(mesh, gone, ready=False))
                    await load.until_apps({stays})
                    mesh.write(gone, backend(mesh, gone))
                    await load.until_apps({"v1", "v2"})
                contacts = len(web.access(listener="fc"))

                async def evicted() -> bool:
                    return await evict(mesh, 80) == ""

                await web.until("relieved of HTTP once its bucket is over", evicted)
                assert "open TCP connections" in await evict(mesh, 7000)
                said = load.said
                await load.more(300)
                assert len(web.access(listener="fc")) > contacts, "asked for again"
                assert load.said > said
                assert load.failures == [], cycle
    assert load.good > 1000
