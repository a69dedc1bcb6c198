"""Pods with addresses of both families: IPv6 is redirected, promoted and served as IPv4 is."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.apps import App
from tests.envoy.mesh.manifests import Document, spiffe
from tests.envoy.netns.mesh import PODS, NetMesh, service, vip

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("netns-dual-stack"),
]

HTTP, TCP = (80, "http", "http"), (7000, "tcp", "tcp")
PORTS = {"http": 8080, "tcp": 7000}


def vip6(number: int) -> str:
    """The IPv6 address of Service ``number``."""
    return f"fd00:96::{number:x}"


def dual(name: str, number: int) -> Document:
    made = service(name, number, HTTP, TCP)
    made["spec"]["clusterIPs"] = [vip(number), vip6(number)]
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh() as mesh:
        ranges = [PODS, "fd00:77::/64", "fd00:96::/112"]
        mesh.write(
            "mesh",
            manifests.mesh_config(meshRanges=ranges, serviceRange="10.96.0.0/16"),
            manifests.mutual_tls("strict", "Strict"),
            mesh.add(2, "web", ipv6=True, ports=PORTS),
            mesh.add(3, "backend", ipv6=True, ports=PORTS),
            mesh.add(4, "stranger", ipv6=True, meshed=False),
            dual("backend", 10),
            dual("web", 11),
        )
        await mesh.serve()
        await mesh.bring_up("web", "backend")
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(mesh: NetMesh) -> App:
    await mesh.serve_lines("backend", 7000)
    await mesh.serve_http("web", 8080)
    return await mesh.serve_http("backend", 8080)


@pytest.mark.parametrize("address", [vip(10), vip6(10)], ids=["IPv4", "IPv6"])
async def test_a_service_by_either_address(mesh: NetMesh, app: App, address: str) -> None:
    shown = f"[{address}]" if ":" in address else address
    for path in (f"/{address}/1", f"/{address}/2"):
        reply = await mesh.http1("web", address, path, authority="backend")
        assert reply.app == "backend"
        assert f"URI={spiffe('web')}" in reply.seen["headers"]["x-forwarded-client-cert"]
        await mesh.until_promoted("web", shown, 80)
        assert await mesh.say("web", address, 7000, b"one\n") == [b"ONE\n"]
        await mesh.until_promoted("web", shown, 7000)
    web = mesh.sidecars["web"]
    await web.logged(path=f"/{address}/1", listener="fc")
    await web.logged(path=f"/{address}/2", listener="p")


async def test_a_pod_by_its_ipv6_address(mesh: NetMesh, app: App) -> None:
    """Handed to the application at the address that was dialled, from ::1."""
    address = mesh.network.pods["backend"].address6
    for path in ("/pod6/1", "/pod6/2"):
        reply = await mesh.http1("web", address, path, 8080, authority="backend")
        assert reply.app == "backend"
        await mesh.until_promoted("web", f"[{address}]", 8080)
    [line] = await mesh.sidecars["backend"].logged(path="/pod6/2", direction="inbound")
    assert (line["peer"], line["upstream_host"]) == (spiffe("web"), f"[{address}]:8080")


async def test_the_pods_own_service_by_ipv6(mesh: NetMesh, app: App) -> None:
    for path in ("/own6/1", "/own6/2"):
        reply = await mesh.http1("web", vip6(11), path, authority="web")
        assert reply.app == "web"
        assert f"URI={spiffe('web')}" in reply.seen["headers"]["x-forwarded-client-cert"]


async def test_a_stranger_is_refused_by_either_address(mesh: NetMesh, app: App) -> None:
    for address in (mesh.network.pods["backend"].address, mesh.network.pods["backend"].address6):
        assert await mesh.closed("stranger", address, 8080)
