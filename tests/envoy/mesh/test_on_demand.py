"""Destinations that a sidecar learns by being asked for them, and what it is told of others."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.clients import http1
from tests.envoy.mesh.mesh import PROXY, Mesh, Sidecar
from tests.envoy.mesh.plait import until

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        names = ("backend", "late", "again")
        mesh.write(
            "mesh",
            manifests.mesh_config(outside="Refuse"),
            mesh.pod(1, "web"),
            mesh.pod(2, "backend", ports={"http": 8080}),
            *(manifests.service(n, [(80, "http", "http")], {"app": "backend"}) for n in names),
            manifests.service("ledger", [(9000, "tcp", "tcp")], {"app": "backend"}),
        )
        await mesh.serve()
        await mesh.app(2, "backend", 8080)
        await mesh.start_sidecars(web=1, backend=2)
        yield mesh


async def asked_names(sidecar: Sidecar) -> set[str]:
    return {name for name in await sidecar.clusters() if name.startswith("a|")}


async def test_a_first_request_is_held_and_the_second_goes_straight(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    assert "h|shop|backend|80" not in await web.clusters()
    for path in ("/one", "/two"):
        assert (await web.get_http1("backend.shop", path)).app == "backend"
    [first] = await web.logged(path="/one", listener="proxy")
    assert first["upstream_cluster"].startswith("a|backend.shop|")
    assert len(await web.logged(path="/one", listener="ploop")) == 1
    [second] = await web.logged(path="/two", listener="proxy")
    assert second["upstream_cluster"] == "h|shop|backend|80"
    assert web.access(path="/two", listener="ploop") == []


@pytest.mark.parametrize(
    "authority",
    ["backend", "backend.shop:80", "backend.shop.svc", "BACKEND.shop.svc.cluster.local"],
)
async def test_every_name_of_a_service_leads_to_it(mesh: Mesh, authority: str) -> None:
    """All of them are one virtual host: whichever came first, the others ask nothing."""
    web = mesh.sidecars["web"]
    path = f"/name/{authority}"
    await web.get_http1("backend.shop")
    await mesh.until_reply(web, "backend.shop", lambda reply: reply.app == "backend")
    assert (await web.get_http1(authority, path)).app == "backend"
    [line] = await web.logged(path=path, listener="proxy")
    assert line["upstream_cluster"] == "h|shop|backend|80"


async def test_asked_for_names_go_when_their_bucket_is_over(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    assert (await web.get_http1("late.shop", "/late")).app == "backend"
    [line] = await web.logged(path="/late", listener="proxy")
    asked = line["upstream_cluster"]
    assert asked in await asked_names(web)

    async def gone() -> bool:
        return asked not in await asked_names(web)

    await web.until(f"without {asked}", gone)
    assert (await web.get_http1("late.shop", "/later")).app == "backend"
    assert web.access(path="/later", listener="ploop") == []


async def test_connect_is_refused_with_a_text(mesh: Mesh) -> None:
    for _ in range(2):
        reply = await http1(mesh.address(1), PROXY, "backend.shop:80", "backend.shop:80", "CONNECT")
        assert reply.status == 405
        assert "mesh.plait.dev/tcp-forwards" in reply.text


@pytest.mark.parametrize(
    ("authority", "status", "text"),
    [
        ("backnd.shop", 502, "did you mean backend?"),
        ("backend.shop:81", 502, "its ports: 80"),
        ("ledger.shop:9000", 502, "mesh.plait.dev/tcp-forwards"),
        ("nobody.nowhere.svc", 502, "Check the namespace"),
        ("example.com", 403, "outside: Refuse"),
    ],
)
async def test_an_authority_that_leads_nowhere_is_told_why(
    mesh: Mesh, authority: str, status: int, text: str
) -> None:
    web = mesh.sidecars["web"]
    path = f"/nowhere/{authority}"
    for _ in range(2):
        reply = await web.get_http1(authority, path)
        assert (reply.status, text in reply.text) == (status, True), reply.text
    assert len(await web.logged(path=path, listener="ploop")) == 1, "a retry asks nothing"


async def test_a_service_that_comes_later_is_served_without_a_question(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    assert (await web.get_http1("newcomer.shop", "/early")).status == 502
    mesh.write(
        "newcomer", manifests.service("newcomer", [(80, "http", "http")], {"app": "backend"})
    )
    await mesh.until_reply(web, "newcomer.shop", lambda r: r.app == "backend", "/newcomer")
    assert web.access(path="/newcomer", listener="ploop") == []


async def test_learnt_authorities_outlive_the_control_plane_and_the_sidecar(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    assert (await web.get_http1("again.shop", "/again")).app == "backend"
    await mesh.plait.kill()
    await mesh.plait.start()
    await mesh.plait.settled(2)
    assert (await web.get_http1("again.shop", "/again-2")).app == "backend"
    await web.stop()
    web.log.unlink()

    async def left() -> bool:
        status = await mesh.plait.get("/v1/status")
        return bool(status["sidecars"]["connected"] == 1)

    await until("without the sidecar", left)
    await web.start()
    await web.ready()
    await mesh.plait.settled(2)
    assert (await web.get_http1("again.shop", "/again-3")).app == "backend"
    [line] = await web.logged(path="/again-3", listener="proxy")
    assert line["upstream_cluster"] == "h|shop|again|80"
    assert web.access(listener="ploop") == []
    assert await asked_names(web) == set()
