"""Redirect mode: what is no longer used is taken back and asked for again, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh.load import Load
from tests.envoy.netns.mesh import NetMesh, service, settings, vip
from tests.envoy.place import connect

pytestmark = [pytest.mark.envoy, pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

HTTP, TCP = (80, "http", "http"), (7000, "tcp", "tcp")
FLEETING, STEADY, HELD, EMPTY = range(10, 14)
CYCLES = 3
LONGER_THAN_IDLE = 20.0
"""Seconds that a silent connection is watched: the bucket, its margin, idleness and the drain."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh("--report-interval", "400ms") as mesh:
        names = {"fleeting": FLEETING, "steady": STEADY, "held": HELD}
        mesh.write(
            "mesh",
            settings(onDemand={"bucket": "1s", "idle": "2s", "floor": 0}),
            mesh.add(2, "web"),
            mesh.add(3, "backend", ports={"http": 8080, "tcp": 7000}),
            *(
                service(name, number, HTTP, TCP, selector={"app": "backend"})
                for name, number in names.items()
            ),
        )
        await mesh.serve()
        await mesh.bring_up("web", "backend")
        await mesh.serve_http("backend", 8080)
        await mesh.serve_lines("backend", 7000)
        yield mesh


def listener(number: int, port: int) -> str:
    return f"p|{vip(number)}:{port}"


async def gone(mesh: NetMesh, number: int, port: int, cluster: str) -> None:
    """Wait until neither listener nor cluster is left."""
    web = mesh.sidecars["web"]

    async def absent() -> bool:
        return (
            listener(number, port) not in await mesh.promoted("web")
            and cluster not in await web.clusters()
        )

    await web.until(f"without {cluster}", absent)


async def test_contact_idle_eviction_and_contact_again_under_load(mesh: NetMesh) -> None:
    """Kept and fresh HTTP connections and short TCP ones, while another destination is busy."""
    web = mesh.sidecars["web"]
    with mesh.inside("web"):
        async with Load(vip(STEADY), 80, "steady", tcp=7000) as steady:
            for cycle in range(CYCLES):
                before = len(web.access(listener="fc"))
                async with Load(vip(FLEETING), 80, "fleeting", kept=4, fresh=2, tcp=7000) as load:
                    await load.more(200)
                    for port in (80, 7000):
                        await mesh.until_promoted("web", vip(FLEETING), port)
                assert load.failures == [], cycle
                assert len(web.access(listener="fc")) > before, "asked for, in each cycle"
                await gone(mesh, FLEETING, 80, "h|shop|fleeting|80")
                await gone(mesh, FLEETING, 7000, "t|shop|fleeting|7000")
                assert {listener(STEADY, 80), listener(STEADY, 7000)} <= await mesh.promoted("web")
            await steady.more(20)
    assert steady.failures == []


async def test_by_hand_under_load(mesh: NetMesh) -> None:
    web = mesh.sidecars["web"]
    with mesh.inside("web"):
        async with Load(vip(FLEETING), 80, "fleeting", kept=4, fresh=2) as load:
            for _ in range(2):
                await mesh.until_promoted("web", vip(FLEETING), 80)
                before = len(web.access(listener="fc"))

                async def evicted() -> bool:
                    body = {"destinations": ["fleeting.shop:80"], "idle": None}
                    answer = await mesh.plait.post("/v1/proxies/shop/web/evict", body)
                    return bool(answer["evicted"] == ["fleeting.shop:80"])

                await web.until("relieved once the bucket is over", evicted)
                await load.more(300)
                assert len(web.access(listener="fc")) > before
            await mesh.until_promoted("web", vip(FLEETING), 80)
    assert load.failures == []


async def test_open_tcp_connections_are_use(mesh: NetMesh) -> None:
    """Of the first contact and of the promoted listener, silent for longer than anything takes."""
    web = mesh.sidecars["web"]
    held = listener(HELD, 7000)
    with mesh.inside("web"):
        streams = [await connect(vip(HELD), 7000)]
        await echoed(streams[0])
        await mesh.until_promoted("web", vip(HELD), 7000)
        streams.append(await connect(vip(HELD), 7000))
        for watched in (streams, streams[1:]):
            await echoed(streams[1])
            ended = [asyncio.create_task(reader.read(1)) for reader, _ in watched]
            done, silent = await asyncio.wait(ended, timeout=LONGER_THAN_IDLE)
            assert not done, "an open connection was cut"
            for task in silent:
                task.cancel()
            assert held in await mesh.promoted("web")
            body = {"destinations": [f"{vip(HELD)}:7000"], "idle": None}
            [kept] = (await mesh.plait.post("/v1/proxies/shop/web/evict", body))["kept"]
            assert "open TCP connection" in kept["reason"]
            for stream in watched:
                await echoed(stream)
            if watched is streams:
                streams[0][1].close()
        streams[1][1].close()
        await gone(mesh, HELD, 7000, "t|shop|held|7000")
        assert await mesh.say("web", vip(HELD), 7000, b"a\n") == [b"A\n"], "and asked for again"
    await web.until("holding it again", lambda: promoted(mesh, held))


async def echoed(stream: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
    reader, writer = stream
    writer.write(b"a\n")
    assert await reader.readline() == b"A\n"


async def promoted(mesh: NetMesh, name: str) -> bool:
    return name in await mesh.promoted("web")


async def test_a_destination_where_nothing_is_goes_too(mesh: NetMesh) -> None:
    web = mesh.sidecars["web"]
    assert await mesh.closed("web", vip(EMPTY), 80)
    await mesh.until_promoted("web", vip(EMPTY), 80)

    async def left() -> bool:
        return not await promoted(mesh, listener(EMPTY, 80))

    await web.until("without what leads nowhere", left)
    mesh.write("empty", service("empty", EMPTY, HTTP, selector={"app": "backend"}))

    async def served() -> bool:
        try:
            return (await mesh.http1("web", vip(EMPTY))).status == 200
        except (OSError, EOFError):
            return False

    await web.until("served by the Service that came", served)


async def test_evicted_stays_evicted_when_the_sidecar_starts_again(mesh: NetMesh) -> None:
    """What was evicted from this pod is not given back at its start; the rest is."""
    assert (await mesh.http1("web", vip(FLEETING))).status == 200
    await mesh.until_promoted("web", vip(FLEETING), 80)
    await gone(mesh, FLEETING, 80, "h|shop|fleeting|80")
    assert (await mesh.http1("web", vip(STEADY))).status == 200
    await mesh.until_promoted("web", vip(STEADY), 80)
    await mesh.sidecars["web"].stop()
    await mesh.bring("web")
    known = await mesh.promoted("web")
    assert listener(STEADY, 80) in known
    assert listener(FLEETING, 80) not in known
    assert (await mesh.http1("web", vip(FLEETING))).status == 200
    await mesh.until_promoted("web", vip(FLEETING), 80)
