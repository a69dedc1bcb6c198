"""What an application can make its sidecar ask for is bounded; what is known does not notice."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.clients import Reply
from tests.envoy.mesh.load import Load
from tests.envoy.mesh.mesh import PROXY, Mesh
from xds.build.filters.ask_limit import BURST, PER_SECOND

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

AT_ONCE = 300
"""Open connections of the application."""
EACH = 12_000
"""Bytes that a sidecar may keep of an authority that leads nowhere."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web"),
            mesh.pod(2, "backend", ports={"http": 8080}),
            *(
                manifests.service(name, [(80, "http", "http")], {"app": "backend"})
                for name in ("backend", "late")
            ),
        )
        await mesh.serve()
        await mesh.app(2, "backend", 8080)
        await mesh.start_sidecars(web=1, backend=2)
        yield mesh


async def test_a_program_that_asks_for_everything(mesh: Mesh) -> None:
    """While nobody answers, so that what is counted does not depend on how fast that is."""
    web = mesh.sidecars["web"]
    gate = asyncio.Semaphore(AT_ONCE)

    async def ask(number: int) -> int:
        async with gate:
            return (await web.get_http1(f"n{number}.nowhere.svc", "/flood")).status

    async with Load(web.address, PROXY, "backend.shop") as load:
        await mesh.plait.kill()
        begun = time.monotonic()
        statuses = await asyncio.gather(*(ask(number) for number in range(4 * BURST)))
        took = time.monotonic() - begun
        await load.more(50)
        assert set(statuses) == {503, 429}
        asked = statuses.count(503)
        assert BURST <= asked <= BURST + PER_SECOND * (took + 1), (asked, took)
        await mesh.plait.start()
        await mesh.plait.settled(2)

        async def again() -> bool:
            return (await web.get_http1("late.shop")).status == 200

        await web.until("asking again", again)
    assert load.failures == []
    [refused, *_] = await web.logged(path="/flood", status=429)
    assert refused["response_flags"] == "RL"


async def test_a_program_that_makes_authorities_up(mesh: Mesh) -> None:
    """Each is answered with its reason, as fast as the sidecar lets it ask; what is known does not
    notice, and what is kept of each is small and no question the second time."""
    web = mesh.sidecars["web"]
    gate = asyncio.Semaphore(PER_SECOND)

    async def answer(authority: str) -> Reply:
        async def allowed() -> Reply | None:
            async with gate:
                reply = await web.get_http1(authority, "/gateway")
            return reply if reply.status != 429 else None

        return await web.until(f"allowed to ask for {authority}", allowed)

    authorities = [f"made-up-{number}.shop" for number in range(2 * BURST)]

    async def forgotten() -> bool:
        return not any(name.startswith("a|") for name in await web.clusters())

    async with Load(web.address, PROXY, "backend.shop") as load:
        await web.until("without asked-for names", forgotten)
        before = (await web.memory())["allocated"]
        for reply in await asyncio.gather(*(answer(each) for each in authorities)):
            assert reply.status == 502
            assert reply.text.startswith("plait: "), reply.text
        await web.until("without asked-for names", forgotten)
        assert (await web.memory())["allocated"] - before < len(authorities) * EACH
        for each in authorities[:20]:
            assert (await web.get_http1(each, "/again")).status == 502
        await load.more(100)
    assert load.failures == []
    assert len(web.access(path="/again", listener="proxy", status=502)) == 20
    assert web.access(path="/again", listener="ploop") == []
