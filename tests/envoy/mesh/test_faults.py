"""Faults of a RoutePolicy: the first request obeys them too, each request meets them once, and the
callee's sidecar has no part in them.

Every test has a Service of its own, so that each begins with a first contact.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.apps import App
from tests.envoy.mesh.manifests import policy
from tests.envoy.mesh.mesh import Mesh, Sidecar

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]

SERVICES = ("aborted", "bodies", "delayed", "calls", "spared", "some", "changing")
ALWAYS = {"status": 503, "percent": 100}
DELAY = {"duration": "700ms", "percent": 100}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        http = [(80, "http", "http")]
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web"),
            mesh.pod(2, "backend", ports={"http": 8080}),
            *(manifests.service(name, http, {"app": "backend"}) for name in SERVICES),
        )
        await mesh.serve()
        await mesh.start_sidecars(web=1, backend=2)
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(mesh: Mesh) -> App:
    return await mesh.app(2, "backend", 8080)


@pytest.fixture
def web(mesh: Mesh, app: App) -> Sidecar:
    return mesh.sidecars["web"]


async def test_every_request_is_aborted_the_first_one_too(
    mesh: Mesh, web: Sidecar, app: App
) -> None:
    """Before its retries: what the sidecar answers itself is not tried again."""
    retry = {"attempts": 3, "retryOn": ["5xx"], "backoff": {"base": "1ms"}}
    mine = policy("RoutePolicy", "aborted", retry=retry, fault={"abort": ALWAYS})
    await mesh.plait.apply(mine)
    for path, listener in (("/first", "ploop"), ("/second", "proxy")):
        reply = await web.get_http1("aborted.shop", path)
        assert (reply.status, reply.text) == (503, "fault filter abort")
        [line] = await web.logged(path=path, listener=listener)
        assert (line["response_flags"], line["status"]) == ("FI", 503)
        assert line["response_code_details"] == "fault_filter_abort"
        assert line["policies"] == ["RoutePolicy shop/aborted"]
        assert app.seen(path) == []
    [line] = web.access(path="/first", listener="proxy")
    assert line["response_code_details"] == "via_upstream"
    assert line["response_flags"] == "-"
    assert web.access(path="/second", listener="ploop") == []
    await mesh.plait.delete("RoutePolicy", "aborted")
    reply = await mesh.until_reply(web, "aborted.shop", lambda reply: reply.status == 200)
    assert reply.app == "backend"


async def test_every_request_waits_once_the_first_one_too(
    mesh: Mesh, web: Sidecar, app: App
) -> None:
    """And its timeout begins after that."""
    await mesh.plait.apply(
        policy("RoutePolicy", "delayed", timeout="600ms", fault={"delay": DELAY})
    )
    for path, listener in (("/wait/1", "ploop"), ("/wait/2", "proxy")):
        assert (await web.get_http1("delayed.shop", path)).app == "backend"
        [line] = await web.logged(path=path, listener=listener)
        assert line["response_flags"] == "DI"
        assert line["duration"] >= 690
        [inbound] = await mesh.sidecars["backend"].logged(path=path)
        assert inbound["response_flags"] == "-"
        assert len(web.access(path=path, response_flags="DI")) == 1
        assert len(app.seen(path)) == 1


async def test_a_first_request_with_a_body(mesh: Mesh, web: Sidecar, app: App) -> None:
    await mesh.plait.apply(policy("RoutePolicy", "bodies", fault={"abort": ALWAYS}))
    for path in ("/body/1", "/body/2"):
        reply = await web.get_http1("bodies.shop", path, method="POST", body=b"x" * 100_000)
        assert (reply.status, reply.text) == (503, "fault filter abort")
        assert len(await web.logged(path=path, response_flags="FI")) == 1
        assert app.seen(path) == []


async def test_an_abort_by_grpc_status(mesh: Mesh, web: Sidecar, app: App) -> None:
    abort = {"grpcStatus": 8, "percent": 100}
    await mesh.plait.apply(policy("RoutePolicy", "calls", fault={"abort": abort}))
    for path in ("/shop.Greeter/1", "/shop.Greeter/2"):
        headers = {"content-type": "application/grpc"}
        reply = await web.get_http2("calls.shop", path, method="POST", headers=headers)
        assert (reply.status, reply.headers["grpc-status"]) == (200, "8")
        assert app.seen(path) == []
    reply = await web.get_http1("calls.shop", "/no-call")
    assert (reply.status, reply.text) == (200, "fault filter abort"), "as the reference says"
    assert app.seen("/no-call") == []


async def test_a_share(mesh: Mesh, web: Sidecar, app: App) -> None:
    await mesh.plait.apply(policy("RoutePolicy", "some", fault={"abort": ALWAYS | {"percent": 25}}))

    async def some() -> list[int]:
        return [(await web.get_http1("some.shop", "/some")).status for _ in range(100)]

    found = Counter(
        each for part in await asyncio.gather(*(some() for _ in range(4))) for each in part
    )
    assert found.keys() == {200, 503}
    # Five standard deviations of the binomial distribution: one failure in two million.
    assert abs(found[503] - 100) < 44, found
    assert len(app.seen("/some")) == found[200]
    simulated = (await mesh.plait.meshctl("simulate", "web.shop", "some", "-o", "json")).json
    assert simulated["fault"] == "25 % get 503"


async def test_none(mesh: Mesh, web: Sidecar) -> None:
    fault = {"delay": DELAY | {"percent": 0}, "abort": ALWAYS | {"percent": 0}}
    await mesh.plait.apply(policy("RoutePolicy", "spared", fault=fault))
    for _ in range(20):
        assert (await web.get_http1("spared.shop", "/spared")).status == 200
    lines = await web.logged(20, path="/spared", listener="proxy")
    assert {each["response_flags"] for each in lines} == {"-"}


async def test_a_change_of_a_fault_changes_no_listener(mesh: Mesh, web: Sidecar) -> None:
    assert (await web.get_http1("changing.shop")).status == 200
    before = await web.dumped("ListenersConfigDump")
    for status in (418, 502):
        abort = ALWAYS | {"status": status}
        await mesh.plait.apply(policy("RoutePolicy", "changing", fault={"abort": abort}))
        assert (await web.get_http1("changing.shop")).status == status
    assert await web.dumped("ListenersConfigDump") == before
