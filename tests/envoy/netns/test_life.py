"""Redirect mode over time: the control plane away, sidecars restarted, changes under load."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio

from tests.envoy.mesh.load import Load
from tests.envoy.mesh.manifests import Document, route, to
from tests.envoy.mesh.plait import until
from tests.envoy.netns.mesh import NetMesh, service, settings, vip

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("netns-life"),
]

HTTP, TCP = (80, "http", "http"), (7000, "tcp", "tcp")
ALL = {"app": "all"}
NAMES = ("known", "learnt", "weighed", "changing", "moving")
KNOWN, LEARNT, WEIGHED, CHANGING, MOVING = range(10, 15)
NEW, LATE, MOVED, V1, V2 = 20, 21, 22, 31, 32
PENDING = 40
"""First number of Services that are used while the control plane is killed."""
ASK_LIMIT = 3.0
"""Seconds after which Envoy gives up a question (`ON_DEMAND_TIMEOUT`)."""
AGES = (0.0, 0.003, 0.006, 0.01, 0.02, 0.04)
"""Seconds from first contacts, each with a Service of its own, to the control plane's death."""


def backend(mesh: NetMesh, name: str, *, ready: bool = True) -> Document:
    ports = {"http": 8080, "tcp": 7000}
    return mesh.manifest(name, ports=ports, labels=ALL | {"v": name}, ready=ready)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh() as mesh:
        mesh.write("mesh", settings(), mesh.add(2, "web"))
        for number, name in ((3, "v1"), (4, "v2")):
            mesh.add(number, name)
            mesh.write(name, backend(mesh, name))
        for number, name in enumerate(NAMES, KNOWN):
            mesh.write(name, service(name, number, HTTP, TCP, selector=ALL))
        mesh.write(
            "services",
            service("new", NEW, HTTP, TCP, selector=ALL),
            service("v1", V1, HTTP, selector={"v": "v1"}),
            service("v2", V2, HTTP, selector={"v": "v2"}),
            *(
                service(f"pending-{n}", PENDING + n, HTTP, TCP, selector=ALL)
                for n in range(len(AGES))
            ),
        )
        await mesh.serve()
        await mesh.bring_up("web", "v1", "v2")
        for name in ("v1", "v2"):
            await mesh.serve_http(name, 8080)
            await mesh.serve_lines(name, 7000)
        yield mesh


async def answered(mesh: NetMesh, number: int, path: str = "/") -> bool:
    try:
        return (await mesh.http1("web", vip(number), path)).status == 200
    except (OSError, EOFError):
        return False


async def learn(mesh: NetMesh, number: int) -> None:
    """First contact, and the listener of its own."""
    assert await answered(mesh, number)
    assert await mesh.say("web", vip(number), 7000, b"a\n") == [b"A\n"]
    for port in (80, 7000):
        await mesh.until_promoted("web", vip(number), port)


async def test_the_first_request_obeys_its_rules_and_load_sees_nothing_of_it(
    mesh: NetMesh,
) -> None:
    """First contact under load, a split, endpoints that go and come: nothing fails."""
    mesh.write("split", route("weighed", "weighed", {"backendRefs": to(("v1", 1), ("v2", 0))}))

    async def applied() -> bool:
        found = (await mesh.plait.get("/v1/objects/HTTPRoute", name="weighed"))["items"]
        return bool(found)

    await until("aware of the route", applied)
    web = mesh.sidecars["web"]
    with mesh.inside("web"):
        async with Load(vip(WEIGHED), 80, "weighed", tcp=7000) as load:
            await load.until_apps({"v1"})
            assert set(load.apps) == {"v1"}, "the very first request had its rules too"
            await mesh.until_promoted("web", vip(WEIGHED), 80)
            mesh.write(
                "split", route("weighed", "weighed", {"backendRefs": to(("v1", 1), ("v2", 1))})
            )
            await load.until_apps({"v1", "v2"})
            mesh.write("split")

            async def direct() -> bool:
                """v2's own Service, which has no other pod, gets no share any more."""
                lines = web.access(listener="p", path="/load")[-60:]
                return {line["upstream_cluster"] for line in lines} == {"h|shop|weighed|80"}

            await web.until("without the route", direct)
            mesh.write("v2", backend(mesh, "v2", ready=False))
            await load.until_apps({"v1"})
            mesh.write("v2", backend(mesh, "v2"))
            await load.until_apps({"v1", "v2"})
            await load.more(100)
            assert load.failures == []


async def test_a_sidecar_starts_with_what_its_workload_learnt(mesh: NetMesh) -> None:
    """Ready with it: no question is asked, the first request takes the straight way."""
    await learn(mesh, LEARNT)
    await mesh.sidecars["web"].stop()
    mesh.sidecars["web"].log.unlink()

    async def left() -> bool:
        status = await mesh.plait.get("/v1/status")
        return bool(status["sidecars"]["connected"] == 2)

    await until("without the sidecar", left)
    web = await mesh.bring("web")
    assert {f"p|{vip(LEARNT)}:80", f"p|{vip(LEARNT)}:7000"} <= await mesh.promoted("web")
    assert await answered(mesh, LEARNT, "/again")
    assert await mesh.say("web", vip(LEARNT), 7000, b"a\n") == [b"A\n"]
    await web.logged(path="/again", listener="p")
    await web.logged(listener="p", event="TcpConnectionEnd")
    assert web.access(listener="first") == web.access(listener="fc") == []
    assert await mesh.asked("web") == set()


async def test_the_control_plane_is_away(mesh: NetMesh) -> None:
    """What is known goes on, what is new fails within the time-out, and heals afterwards."""
    await learn(mesh, KNOWN)
    loop = asyncio.get_running_loop()
    with mesh.inside("web"):
        async with Load(vip(KNOWN), 80, "known", tcp=7000) as load:
            await mesh.plait.kill()
            began = loop.time()
            assert not await answered(mesh, NEW)
            assert await mesh.closed("web", vip(NEW), 7000)
            assert loop.time() - began < 2 * ASK_LIMIT + 4
            await load.more(200)
            await mesh.plait.start()

            async def heals() -> bool:
                return await answered(mesh, NEW) and not await mesh.closed("web", vip(NEW), 7000)

            await mesh.sidecars["web"].until("answered by what was new", heals)
            await mesh.plait.settled(len(mesh.sidecars))
            await load.more(100)
            assert load.failures == []
    for port in (80, 7000):
        await mesh.until_promoted("web", vip(NEW), port)


async def test_the_control_plane_dies_in_the_middle_of_a_promotion(mesh: NetMesh) -> None:
    """Of twelve, HTTP and TCP, each as far as it gets in its time: whatever had left, what hung
    is served or fails within the time-out, and all heals."""
    web = mesh.sidecars["web"]
    await learn(mesh, KNOWN)

    async def contact(number: int, age: float) -> None:
        await asyncio.sleep(max(AGES) - age)
        async with asyncio.timeout(ASK_LIMIT + 10):
            await asyncio.gather(answered(mesh, number), mesh.closed("web", vip(number), 7000))

    async def heals(number: int) -> bool:
        return await answered(mesh, number) and not await mesh.closed("web", vip(number), 7000)

    with mesh.inside("web"):
        async with Load(vip(KNOWN), 80, "known", tcp=7000) as load:
            dying = list(enumerate(AGES, PENDING))
            contacts = asyncio.gather(*(contact(number, age) for number, age in dying))
            await asyncio.sleep(max(AGES))
            await mesh.plait.kill()
            await asyncio.gather(contacts, mesh.plait.start())
            for number, _ in dying:
                await web.until(f"answered by Service {number}", partial(heals, number))
                for port in (80, 7000):
                    await mesh.until_promoted("web", vip(number), port)
            await mesh.plait.settled(len(mesh.sidecars))
            assert load.failures == []


@pytest.mark.parametrize(
    ("kept", "sequence"),
    [
        (2, ("kubernetes.io/h2c", "", "kubernetes.io/h2c", "http", "tcp")),
        (0, ("", "tcp", "http", "tcp", "", "http")),
    ],
    ids=["from HTTP", "from TCP"],
)
async def test_a_port_changes_its_protocol_under_load(
    mesh: NetMesh, kept: int, sequence: tuple[str, ...]
) -> None:
    """The application speaks HTTP/1.1 and HTTP/2 on one port, so every declaration serves it.

    Kept connections are told to close while they are known to be HTTP. Those of a port that was
    declared TCP go on until the drain time is over, and are cut then.
    """
    await learn(mesh, CHANGING)
    with mesh.inside("web"):
        async with Load(vip(CHANGING), 80, "changing", kept=kept, fresh=2) as load:
            for declared in sequence:
                port = (80, "http", declared)
                mesh.write("changing", service("changing", CHANGING, port, TCP, selector=ALL))
                await load.more(20)
                await mesh.plait.settled(len(mesh.sidecars))
                await load.more(300)
                assert load.failures == [], declared


async def test_a_service_is_made_again_at_another_address(mesh: NetMesh) -> None:
    await learn(mesh, MOVING)
    web = mesh.sidecars["web"]
    mesh.write("moving")

    async def gone() -> bool:
        return await mesh.closed("web", vip(MOVING), 80, b"GET / HTTP/1.0\r\n\r\n")

    await web.until("closing what is gone", gone)
    mesh.write("moving", service("moving", MOVED, HTTP, TCP, selector=ALL))

    async def there() -> bool:
        return await answered(mesh, MOVED, "/moved")

    await web.until("answered at the new address", there)
    await learn(mesh, MOVED)
    assert await gone()


async def test_a_service_comes_to_an_address_that_was_asked_for_in_vain(mesh: NetMesh) -> None:
    assert await mesh.closed("web", vip(LATE), 80)
    await mesh.until_promoted("web", vip(LATE), 80)
    web = mesh.sidecars["web"]
    mesh.write("late", service("late", LATE, HTTP, selector=ALL))

    async def there() -> bool:
        return await answered(mesh, LATE, "/late")

    await web.until("answered at last", there)
    assert (await web.logged(path="/late", listener="p"))[-1]["status"] == 200
    assert web.access(path="/late", listener="fc") == [], "the retry asked nothing"
