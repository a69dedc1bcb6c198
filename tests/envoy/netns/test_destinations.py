"""Redirect mode: everything that an application may dial, and where it gets.

Each destination twice: what first contact finds, its own listener finds too, and asks nothing.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy import place
from tests.envoy.mesh import manifests
from tests.envoy.mesh.apps import App
from tests.envoy.mesh.manifests import spiffe
from tests.envoy.netns.mesh import NetMesh, service, settings, vip
from tests.envoy.netns.network import OUTSIDE

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("netns-destinations"),
]

PORTS = {"http": 8080, "tcp": 7000}
HTTP, TCP = (80, "http", "http"), (7000, "tcp", "tcp")
WEB, PLAIN, EMPTY, UNKNOWN, BEHIND = range(10, 15)
"""Numbers of Services."""
DB = ("db-0", "db-1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh() as mesh:
        db = {"app": "db"}
        mesh.write(
            "mesh",
            settings(),
            manifests.mutual_tls("strict", "Strict"),
            mesh.add(2, "web", ports=PORTS),
            mesh.add(3, "web-b", ports=PORTS, labels={"app": "web"}, account="web"),
            *(mesh.add(4 + n, name, ports=PORTS, labels=db) for n, name in enumerate(DB)),
            mesh.add(6, "plain", ports=PORTS, meshed=False),
            mesh.add(7, "behind", ports=PORTS),
            service("web", WEB, HTTP, TCP),
            service("db", 0, (8080, "http", "http"), TCP, headless=True),
            service("plain", PLAIN, HTTP, TCP),
            service("empty", EMPTY, HTTP, TCP),
            service("behind", BEHIND, HTTP, TCP),
        )
        await mesh.serve()
        await mesh.bring_up("web", "web-b", *DB, "behind")
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def apps(mesh: NetMesh) -> dict[str, App]:
    found = {}
    for pod in ("web", "web-b", *DB, "plain", "behind"):
        found[pod] = await mesh.serve_http(pod, 8080)
        await mesh.serve_lines(pod, 7000, f"{pod}\n".encode())
    return found


def address(mesh: NetMesh, pod: str) -> str:
    return mesh.network.pods[pod].address


async def assert_twice(mesh: NetMesh, to: str, port: int, app: str, peer: str | None) -> None:
    """HTTP from web to an address: first contact, then its own listener. ``peer``: whom web's
    sidecar met there; None: nobody, in plain text."""
    for path in (f"/first/{to}/{port}", f"/second/{to}/{port}"):
        reply = await mesh.http1("web", to, path, port)
        assert (reply.status, reply.app) == (200, app), reply.text
        identity = reply.seen["headers"].get("x-forwarded-client-cert", "")
        assert (f"URI={spiffe('web')}" in identity) == (peer is not None)
        await mesh.until_promoted("web", to, port)
    web = mesh.sidecars["web"]
    [first] = await web.logged(path=f"/first/{to}/{port}", listener="fc")
    [second] = await web.logged(path=f"/second/{to}/{port}", listener="p")
    assert first.get("upstream_peer") == second.get("upstream_peer") == peer


async def assert_lines_twice(mesh: NetMesh, to: str, banner: str, peer: str | None) -> None:
    """As `assert_twice`, TCP on port 7000, whose server speaks first."""
    for _ in range(2):
        said = await mesh.say("web", to, 7000, b"one\n", banner=True)
        assert said == [f"{banner}\n".encode(), b"ONE\n"]
        await mesh.until_promoted("web", to, 7000)
    web = mesh.sidecars["web"]
    for listener in ("first", "p"):
        fields = {"listener": listener, "event": "TcpConnectionEnd"}
        line = (await web.logged(downstream_local=f"{to}:7000", **fields))[-1]
        assert line.get("upstream_peer") == peer


@pytest.mark.parametrize("pod", DB)
async def test_a_pod_of_a_headless_service(mesh: NetMesh, apps: dict[str, App], pod: str) -> None:
    await assert_twice(mesh, address(mesh, pod), 8080, pod, spiffe(pod))
    await assert_lines_twice(mesh, address(mesh, pod), pod, spiffe(pod))


async def test_pods_of_a_headless_service_share_a_cluster(
    mesh: NetMesh, apps: dict[str, App]
) -> None:
    for pod in DB:
        assert (await mesh.http1("web", address(mesh, pod), port=8080)).app == pod
    clusters = await mesh.sidecars["web"].clusters()
    assert [name for name in clusters if name.startswith("o|")] != []
    assert not any(address(mesh, pod) in name for name in clusters for pod in DB if name[0] == "o")


async def test_a_pod_behind_a_service_by_its_own_address(
    mesh: NetMesh, apps: dict[str, App]
) -> None:
    await assert_twice(mesh, address(mesh, "behind"), 8080, "behind", spiffe("behind"))
    await assert_lines_twice(mesh, address(mesh, "behind"), "behind", spiffe("behind"))


async def test_a_pod_without_a_sidecar(mesh: NetMesh, apps: dict[str, App]) -> None:
    """In plain text, by Service and by its own address."""
    await assert_twice(mesh, vip(PLAIN), 80, "plain", None)
    await assert_lines_twice(mesh, vip(PLAIN), "plain", None)
    await assert_twice(mesh, address(mesh, "plain"), 8080, "plain", None)
    await assert_lines_twice(mesh, address(mesh, "plain"), "plain", None)


async def test_the_pods_own_service(mesh: NetMesh, apps: dict[str, App]) -> None:
    """Both endpoints, itself included: by way of its own inbound listener, as itself."""
    seen = set()
    for n in range(40):
        reply = await mesh.http1("web", vip(WEB), f"/own/{n}")
        assert reply.status == 200, reply.text
        assert f"URI={spiffe('web')}" in reply.seen["headers"]["x-forwarded-client-cert"]
        seen.add(reply.app)
    assert seen == {"web", "web-b"}
    lines = await mesh.sidecars["web"].logged(direction="inbound", listener="in|8080")
    assert {line["peer"] for line in lines} == {spiffe("web")}
    banners = set()
    for _ in range(40):
        [banner, line] = await mesh.say("web", vip(WEB), 7000, b"one\n", banner=True)
        assert line == b"ONE\n"
        banners.add(banner)
    assert banners == {b"web\n", b"web-b\n"}


async def test_the_pod_itself(mesh: NetMesh, apps: dict[str, App]) -> None:
    """Loopback and its own address are untouched."""
    for to in ("127.0.0.1", address(mesh, "web")):
        reply = await mesh.http1("web", to, "/myself", 8080)
        assert (reply.app, "x-request-id" in reply.seen["headers"]) == ("web", False)
    assert mesh.sidecars["web"].access(path="/myself") == []


async def test_a_service_without_endpoints(mesh: NetMesh, apps: dict[str, App]) -> None:
    for path in ("/empty-1", "/empty-2"):
        reply = await mesh.http1("web", vip(EMPTY), path)
        assert reply.status == 503, reply.text
        await mesh.until_promoted("web", vip(EMPTY), 80)
    await mesh.sidecars["web"].logged(path="/empty-2", listener="p")
    for _ in range(2):
        assert await mesh.closed("web", vip(EMPTY), 7000)
        await mesh.until_promoted("web", vip(EMPTY), 7000)


@pytest.mark.parametrize(("number", "port"), [(UNKNOWN, 80), (WEB, 81)], ids=["address", "port"])
async def test_a_service_address_with_nothing_behind_it(
    mesh: NetMesh, apps: dict[str, App], number: int, port: int
) -> None:
    """Closed at once, and a retry asks nothing: its own listener closes it."""
    loop = asyncio.get_running_loop()
    took = []
    for _ in range(2):
        began = loop.time()
        assert await mesh.closed("web", vip(number), port)
        took.append(loop.time() - began)
        await mesh.until_promoted("web", vip(number), port)
    assert max(took) < 2.5, "no time-out was waited for"
    local = f"{vip(number)}:{port}"
    lines = await mesh.sidecars["web"].logged(2, downstream_local=local)
    assert [line["listener"] for line in lines] == ["first", "p"]


async def test_a_pod_address_with_nothing_behind_it(mesh: NetMesh, apps: dict[str, App]) -> None:
    for _ in range(2):
        assert await mesh.closed("web", "10.77.0.99", 8080)
        await mesh.until_promoted("web", "10.77.0.99", 8080)


async def test_outside_passes_and_asks_nothing(mesh: NetMesh, apps: dict[str, App]) -> None:
    asked = await mesh.asked("web")
    outside = App("outside")
    with mesh.network.hub.inside():
        await outside.start(OUTSIDE, 8080)
    try:
        reply = await mesh.http1("web", OUTSIDE, "/outside", 8080)
    finally:
        await outside.stop()
    assert reply.app == "outside"
    assert "x-request-id" not in reply.seen["headers"]
    [line] = await mesh.sidecars["web"].logged(
        downstream_local=f"{OUTSIDE}:8080", event="TcpConnectionEnd"
    )
    assert line["upstream_cluster"] == "Passthrough"
    assert await mesh.asked("web") <= asked


async def test_outside_is_refused_where_the_mesh_says_so(
    mesh: NetMesh, apps: dict[str, App]
) -> None:
    outside = App("outside")
    with mesh.network.hub.inside():
        await outside.start(OUTSIDE, 8081)
    listing = (mesh.tree / "mesh.yaml").read_text()
    try:
        (mesh.tree / "mesh.yaml").write_text(
            listing.replace("  meshRanges", "  outside: Refuse\n  meshRanges")
        )

        async def refuses() -> bool:
            return await mesh.closed("web", OUTSIDE, 8081, b"GET / HTTP/1.0\r\n\r\n")

        await mesh.sidecars["web"].until("refusing what is outside", refuses)
        reached = outside.connections
        assert await refuses()
        assert outside.connections == reached, "refused before it left the pod"
        assert (await mesh.http1("web", vip(WEB), "/inside")).status == 200
    finally:
        (mesh.tree / "mesh.yaml").write_text(listing)
        await outside.stop()


async def test_a_stranger_at_a_strict_pod(mesh: NetMesh, apps: dict[str, App]) -> None:
    """Nothing of the sidecar's reaches a client without a certificate, on any port."""
    before = len(apps["web"].requests)
    for port in (8080, 7000, 9999):
        assert await mesh.closed("plain", address(mesh, "web"), port)
    assert len(apps["web"].requests) == before


async def test_a_strict_port_is_open_to_readiness_alone(mesh: NetMesh) -> None:
    with mesh.network.hub.inside():
        reader, writer = await place.connect(address(mesh, "web"), 15021)
    writer.write(b"GET /ready HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_permissive_pod_takes_both(mesh: NetMesh, apps: dict[str, App]) -> None:
    mesh.write("open", manifests.mutual_tls("open", "Permissive", {"app": "behind"}))
    to = address(mesh, "behind")

    async def served() -> bool:
        return not await mesh.closed("plain", to, 8080, b"GET / HTTP/1.0\r\n\r\n")

    await mesh.sidecars["behind"].until("serving plain text", served)
    reply = await mesh.http1("plain", to, "/open", 8080)
    assert reply.app == "behind"
    assert "x-forwarded-client-cert" not in reply.seen["headers"]
    assert await mesh.say("plain", to, 7000, b"one\n", banner=True) == [b"behind\n", b"ONE\n"]
    reply = await mesh.http1("web", vip(BEHIND), "/open-mtls")
    assert f"URI={spiffe('web')}" in reply.seen["headers"]["x-forwarded-client-cert"]
    mesh.write("open")
