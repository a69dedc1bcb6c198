"""Endpoints, pods and the control plane come and go under load, and no request is lost."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.load import Load
from tests.envoy.mesh.manifests import Document, policy, route, to
from tests.envoy.mesh.mesh import PROXY, Mesh
from tests.envoy.mesh.plait import until

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]

PORTS = {"http": 8080, "tcp": 7000}
MANY = 60
GREETING = 4_000
"""Bytes that a reconnected Envoy may receive: an empty response for each type, no resource."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web", forwards="5000:backend.shop:7000"),
            manifests.service("backend", [(80, "http", "http"), (7000, "tcp", "tcp")]),
            manifests.service("sliced", [(80, "http", "http")]),
        )
        for number in (2, 3):
            mesh.write(f"v{number}", backend(mesh, number))
        mesh.write("slice", slice_of(mesh, {2: True, 3: True}))
        await mesh.serve()
        for number in (2, 3, 4):
            await mesh.app(number, f"v{number}", 8080)
            await mesh.lines(number, 7000)
        await mesh.start_sidecars(web=1, v2=2, v3=3)
        yield mesh


def backend(mesh: Mesh, number: int, **state: bool) -> Document:
    return mesh.pod(number, f"v{number}", ports=PORTS, labels={"app": "backend"}, **state)


def slice_of(mesh: Mesh, ready: dict[int, bool]) -> Document:
    """An EndpointSlice of the Service ``sliced``."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": manifests.metadata("sliced-1", labels={"kubernetes.io/service-name": "sliced"}),
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [
            {
                "addresses": [mesh.address(number)],
                "conditions": {"ready": yes, "serving": True, "terminating": not yes},
            }
            for number, yes in ready.items()
        ],
    }


async def test_endpoints_of_a_slice(mesh: Mesh) -> None:
    async with Load(mesh.address(1), PROXY, "sliced.shop") as load:
        await load.until_apps({"v2", "v3"})
        for ready, apps in (
            ({2: True, 3: False}, {"v2"}),
            ({2: False, 3: True}, {"v3"}),
            ({3: True}, {"v3"}),
            ({2: True, 3: True}, {"v2", "v3"}),
        ):
            mesh.write("slice", slice_of(mesh, ready))
            await load.until_apps(apps)
        assert load.failures == []


async def test_a_pod_is_deleted_and_another_comes(mesh: Mesh) -> None:
    async with Load(mesh.address(1), PROXY, "backend.shop", tcp=5000) as load:
        await load.until_apps({"v2", "v3"})
        mesh.write("v4", backend(mesh, 4, ready=False))
        await mesh.until_pod("v4")
        await mesh.sidecar(4, "v4")
        mesh.write("v4", backend(mesh, 4))
        await load.until_apps({"v2", "v3", "v4"})
        mesh.write("v3", backend(mesh, 3, deleting=True))
        await load.until_apps({"v2", "v4"})
        await mesh.sidecars.pop("v3").stop()
        mesh.write("v3")
        await load.until_apps({"v2", "v4"})
        await mesh.plait.settled(3)
        assert load.failures == []


async def test_the_control_plane_is_killed_during_a_push(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    async with Load(mesh.address(1), PROXY, "backend.shop", tcp=5000) as load:
        before = await mesh.plait.pushed()
        for each in range(MANY):
            name = f"many-{each}"
            mesh.write(name, manifests.service(name, [(80, "http", "http")], {"app": "backend"}))
        strict = manifests.mutual_tls("strict", "Strict", {"app": "backend"})
        mesh.write("wide", strict, policy("RoutePolicy", "backend", timeout="20s"))

        async def pushing() -> bool:
            return (await mesh.plait.pushed()) != before

        await until("pushing", pushing)
        await mesh.plait.kill()
        rule = {"matches": [{"path": {"value": "/load"}}], "backendRefs": to(("backend", 1))}
        mesh.write("narrow", route("narrow", "backend", rule))
        await load.more(100)
        await mesh.plait.start()
        await mesh.plait.settled(3)
        await mesh.until_reply(web, "backend.shop", lambda r: r.status == 404, "/elsewhere")
        assert (await web.get_http1(f"many-{MANY - 1}.shop")).status == 200
        await load.more(100)
        assert load.failures == []


async def test_a_reconnect_sends_what_changed_and_nothing_else(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    stat = "cluster.xds.upstream_cx_rx_bytes_total"

    async def received() -> dict[str, float]:
        sidecars = mesh.sidecars.items()
        return {name: (await each.stats(stat))[stat] for name, each in sidecars}

    async def quiet() -> bool:
        return not [name for name in await web.clusters() if name.startswith("a|")]

    async with Load(mesh.address(1), PROXY, "backend.shop", tcp=5000) as load:
        await until("without names that were asked for", quiet)
        await mesh.plait.settled(3)
        await mesh.plait.kill()
        before = await received()
        await mesh.plait.start()
        await mesh.plait.settled(3)
        after = await received()
        assert await mesh.plait.pushed() == {}
        for name, count in after.items():
            assert count - before[name] < GREETING, name

        # Positive control: one object changed while the control plane was away.
        await mesh.plait.kill()
        strict = manifests.mutual_tls("strict", "Strict", {"app": "backend"})
        mesh.write("wide", strict, policy("RoutePolicy", "backend", timeout="9s"))
        before = await received()
        await mesh.plait.start()
        await mesh.plait.settled(3)
        pushed = await mesh.plait.pushed()
        assert pushed.pop("bytes") > 0
        assert pushed == {"rds": 1}, "px of the one sidecar that calls this Service"
        after = await received()
        assert after["web"] - before["web"] > after["v2"] - before["v2"]
        await load.more(50)
        assert load.failures == []
