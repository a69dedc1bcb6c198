"""What an application, or another pod, can do with the sidecar's own ports and headers: nothing."""

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from controlplane.rollout.modes import POD_CEILING
from tests.envoy import place
from tests.envoy.mesh.apps import App
from tests.envoy.netns.mesh import NetMesh, service, settings, vip
from tests.envoy.netns.network import OUTSIDE, PROXY_UID

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("netns-guards"),
]

OWN_PORTS = (15001, 15002, 15003, 15006)
REQUEST = b"GET /guard HTTP/1.1\r\nhost: backend\r\n\r\n"
BACKEND, OTHER, SPOOFED = 10, 11, 12
HTTP = (80, "http", "http")
SCRAPED = 20_000
"""First port of the pod that is asked port by port, each a destination of its own."""
ENOUGH = POD_CEILING + 12
"""How many of its ports: more than a sidecar is given listeners of."""
EACH = 60_000
"""Bytes that a sidecar may allocate for a destination where nothing is."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh() as mesh:
        mesh.write(
            "mesh",
            settings(outside="Refuse"),
            mesh.add(2, "web", ports={"http": 8080}),
            mesh.add(3, "backend", ports={"http": 8080}),
            mesh.add(4, "other", ports={"http": 8080}),
            mesh.add(5, "stranger", meshed=False),
            mesh.add(6, "scraped", ports={f"http-{n}": SCRAPED + n for n in range(ENOUGH)}),
            service("backend", BACKEND, HTTP),
            service("other", OTHER, HTTP),
            service("spoofed", SPOOFED, HTTP, selector={"app": "backend"}),
        )
        await mesh.serve()
        await mesh.bring_up("web", "backend", "other", "scraped")
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def apps(mesh: NetMesh) -> dict[str, App]:
    return {pod: await mesh.serve_http(pod, 8080) for pod in ("web", "backend", "other")}


async def answered(mesh: NetMesh, pod: str, address: str, port: int, data: bytes) -> bytes:
    """All that comes back for ``data``, until the other side closes; empty when it refused.

    Asserts that the connection is ended, not left open.
    """
    try:
        async with asyncio.timeout(20):
            with mesh.inside(pod):
                reader, writer = await place.connect(address, port)
            try:
                writer.write(data)
                return await reader.read()
            finally:
                writer.close()
    except ConnectionError:
        return b""


@pytest.mark.parametrize("port", OWN_PORTS)
async def test_ports_of_the_sidecar_dialled_by_its_application(
    mesh: NetMesh, apps: dict[str, App], port: int
) -> None:
    """At its own address, at loopback, at another pod and a Service: redirected, they lead back."""
    before = {name: len(app.requests) for name, app in apps.items()}
    pods = mesh.network.pods
    for to in (pods["web"].address, "127.0.0.1", pods["other"].address, vip(BACKEND)):
        got = await answered(mesh, "web", to, port, REQUEST)
        assert b" 200 " not in got, f"{to}:{port} answered {got[:100]!r}"
    assert {name: len(app.requests) for name, app in apps.items()} == before
    await alive(mesh)


@pytest.mark.parametrize("port", OWN_PORTS)
@pytest.mark.parametrize("client", ["stranger", "other"])
async def test_ports_of_the_sidecar_dialled_from_another_pod(
    mesh: NetMesh, apps: dict[str, App], client: str, port: int
) -> None:
    before = {name: len(app.requests) for name, app in apps.items()}
    to = mesh.network.pods["web"].address
    assert await answered(mesh, client, to, port, REQUEST) == b""
    assert {name: len(app.requests) for name, app in apps.items()} == before
    await alive(mesh)


async def alive(mesh: NetMesh) -> None:
    """The sidecar loops to itself nowhere: it still serves, and holds few connections."""
    assert (await mesh.http1("web", vip(BACKEND), "/alive")).app == "backend"
    stats = await mesh.sidecars["web"].stats("downstream_cx_active")
    assert sum(stats.values()) < 20, stats


def proxy_header(source: str, to: str, port: int) -> bytes:
    """PROXY protocol version 2, IPv4."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(to).packed
    ports = struct.pack("!HH", 40000, port)
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x11, 12) + addresses + ports


@pytest.mark.parametrize("port", [15002, 15003], ids=["loop", "detect"])
async def test_a_forged_proxy_header_leads_nowhere_new(
    mesh: NetMesh, apps: dict[str, App], port: int
) -> None:
    """Any process of a pod may speak to these ports. What it gets there is no more than it gets
    by dialling: no destination that was not asked for, and none outside."""
    web = mesh.network.pods["web"].address
    outside = App("outside")
    with mesh.network.hub.inside():
        await outside.start(OUTSIDE, 8080)
    try:
        for to, number in (
            (OUTSIDE, 8080),
            (vip(OTHER), 80),
            (mesh.network.pods["other"].address, 8080),
        ):
            head = proxy_header(web, to, number)
            for text in (REQUEST, b"not http\r\n\r\n"):
                got = await answered(mesh, "web", "127.0.0.1", port, head + text)
                assert b" 200 " not in got, f"{to} answered {got[:200]!r}"
    finally:
        await outside.stop()
    assert outside.connections == 0
    assert apps["other"].seen("/guard") == []
    await alive(mesh)


async def test_a_spoofed_destination_header_changes_nothing(
    mesh: NetMesh, apps: dict[str, App]
) -> None:
    """At first contact too, where the sidecar's own header of that name chooses the rules."""
    assert (await mesh.http1("web", vip(OTHER), "/known")).app == "other"
    headers = {"x-plait-dst": f"{vip(OTHER)}:80", "x-plait-ask": f"f|{vip(OTHER)}:80|1"}
    for listener in ("fc", "p"):
        reply = await mesh.http1("web", vip(SPOOFED), f"/spoof/{listener}", headers=headers)
        assert reply.app == "backend"
        await mesh.sidecars["web"].logged(path=f"/spoof/{listener}", listener=listener)
        await mesh.until_promoted("web", vip(SPOOFED), 80)
    [first] = apps["backend"].seen("/spoof/fc")
    assert "x-plait-dst" not in first.headers


async def test_the_sidecars_user_goes_its_own_way(mesh: NetMesh, apps: dict[str, App]) -> None:
    """Only that user does, which admission keeps applications from being."""
    to = mesh.network.pods["backend"].address
    with mesh.network.pods["web"].inside(PROXY_UID):
        reader, writer = await place.connect(to, 8080)
    writer.write(REQUEST)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert mesh.sidecars["web"].access(downstream_local=f"{to}:8080") == []


async def test_a_port_scan_costs_a_bounded_amount(mesh: NetMesh, apps: dict[str, App]) -> None:
    """Hundreds of ports and addresses at once: every connection is ended, known destinations are
    served meanwhile, and what the sidecar keeps of each is small."""
    web = mesh.sidecars["web"]
    before = (await web.memory())["allocated"]
    targets = [(vip(200 + n % 50), 1000 + n) for n in range(300)]
    targets += [(mesh.network.pods["backend"].address, 1 + n) for n in range(100)]
    limit = asyncio.Semaphore(50)

    async def dial(address: str, port: int) -> bytes:
        async with limit:
            return await answered(mesh, "web", address, port, b"scan\n")

    scan = asyncio.gather(*(dial(*target) for target in targets))
    while not scan.done():
        assert (await mesh.http1("web", vip(BACKEND), "/meanwhile")).app == "backend"
    got = await scan
    assert set(got) <= {b""}, [each[:60] for each in got if each][:3]
    grown = (await web.memory())["allocated"] - before
    assert grown < len(targets) * EACH, grown
    assert len(await mesh.promoted("web")) < len(targets), (
        "more were asked for than the rate allows"
    )

    async def forgotten() -> bool:
        return not await mesh.asked("web")

    await web.until("without asked-for names", forgotten)
    await alive(mesh)


async def test_pods_by_their_own_addresses_get_a_bounded_number_of_listeners(
    mesh: NetMesh, apps: dict[str, App]
) -> None:
    """A scraper's sidecar: above the ceiling each contact is served by its question alone."""
    scraped = await mesh.serve_http("scraped", *range(SCRAPED, SCRAPED + ENOUGH), name="scraped")
    address = mesh.network.pods["scraped"].address
    for turn in range(2):
        for port in range(SCRAPED, SCRAPED + ENOUGH):
            reply = await mesh.http1("web", address, f"/scrape/{turn}", port)
            assert reply.status == 200, (turn, port, reply.text)
    assert len(scraped.seen("/scrape/1")) == ENOUGH
    held = {name for name in await mesh.promoted("web") if name.startswith(f"p|{address}:")}
    # Pods that were dialled before count too.
    assert POD_CEILING / 2 < len(held) <= POD_CEILING
    await alive(mesh)
