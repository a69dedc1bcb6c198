"""Redirect mode: the very first request to a destination is served by the destination's own rules,
and one destination's mistake costs no other its first contact.
"""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh.apps import DELAY, FAIL, KEY, App
from tests.envoy.mesh.clients import Reply
from tests.envoy.mesh.manifests import Document, policy, route, to
from tests.envoy.netns.mesh import NetMesh, service, settings, vip

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.root,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.xdist_group("netns-first-contact"),
]

HTTP = (80, "http", "http")
ALL = {"app": "all"}
NAMES = ("timeouts", "retries", "moved", "again", "fresh", "unusable", "aborted", "delayed")
TIMEOUTS, RETRIES, MOVED, AGAIN, FRESH, UNUSABLE, ABORTED, DELAYED = range(20, 28)
V1, V2 = 31, 32
HALVES, HALVED = 23, 40
"""How many Services have a split, and the number of the first."""
MANY = 100
FIRST = 100
"""Numbers of the ``MANY`` Services begin here."""
BAD, GOOD = 41, 42
"""Two of them, by their place."""
HUGE = "/([^x]{100}){10}"
"""Valid RE2 whose program is too large for Envoy."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh() as mesh:
        mesh.write(
            "mesh",
            settings(onDemand={"bucket": "1m"}),
            mesh.add(2, "web"),
            *(
                mesh.add(number, name, ports={"http": 8080}, labels=ALL | {"v": name})
                for number, name in ((3, "v1"), (4, "v2"))
            ),
            service("v1", V1, HTTP, selector={"v": "v1"}),
            service("v2", V2, HTTP, selector={"v": "v2"}),
            *(service(name, n, HTTP, selector=ALL) for n, name in enumerate(NAMES, TIMEOUTS)),
            *(service(f"halves-{n}", HALVED + n, HTTP, selector=ALL) for n in range(HALVES)),
            *(service(f"s{n}", FIRST + n, HTTP, selector=ALL) for n in range(MANY)),
        )
        await mesh.serve()
        await mesh.bring_up("web", "v1", "v2")
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def apps(mesh: NetMesh) -> dict[str, App]:
    return {name: await mesh.serve_http(name, 8080) for name in ("v1", "v2")}


async def first(mesh: NetMesh, number: int, path: str, **headers: str) -> Reply:
    """The reply to a request that takes the way of first contact, which its log line proves."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = await mesh.http1("web", vip(number), path, headers=named)
    await mesh.sidecars["web"].logged(path=path, listener="fc")
    return reply


async def test_a_timeout(mesh: NetMesh, apps: dict[str, App]) -> None:
    rule = {"timeouts": {"request": "300ms"}, "backendRefs": to(("v1", 1))}
    await mesh.plait.apply(route("timeouts", "timeouts", rule))
    assert (await first(mesh, TIMEOUTS, "/timeout", **{DELAY: "20"})).status == 504
    [line] = mesh.sidecars["web"].access(path="/timeout", listener="fc")
    assert line["response_flags"] == "UT"


async def test_retries_are_counted_at_the_application(mesh: NetMesh, apps: dict[str, App]) -> None:
    retry = {"attempts": 2, "retryOn": ["5xx"], "backoff": {"base": "1ms"}}
    await mesh.plait.apply(policy("RoutePolicy", "retries", retry=retry))
    reply = await first(mesh, RETRIES, "/retry", **{FAIL: "2", KEY: "retry", DELAY: "0"})
    tries = [len(app.seen("/retry")) for app in apps.values()]
    # Each application fails the first two that it sees: three tries are too few for both.
    assert sum(tries) == 3
    assert reply.status == (200 if max(tries) == 3 else 503)


async def test_an_abort(mesh: NetMesh, apps: dict[str, App]) -> None:
    fault = {"abort": {"status": 418, "percent": 100}}
    await mesh.plait.apply(policy("RoutePolicy", "aborted", fault=fault))
    web = mesh.sidecars["web"]
    assert (await first(mesh, ABORTED, "/aborted")).status == 418
    [line] = web.access(path="/aborted")
    assert (line["response_flags"], line["listener"]) == ("FI", "fc")
    assert line["policies"] == ["RoutePolicy shop/aborted"]
    await mesh.until_promoted("web", vip(ABORTED), 80)
    assert (await mesh.http1("web", vip(ABORTED), "/aborted/again")).status == 418
    [line] = await web.logged(path="/aborted/again")
    assert (line["response_flags"], line["listener"]) == ("FI", "p")
    assert not [each for app in apps.values() for each in app.seen("/aborted")]


async def test_a_delay(mesh: NetMesh, apps: dict[str, App]) -> None:
    fault = {"delay": {"duration": "700ms", "percent": 100}}
    await mesh.plait.apply(policy("RoutePolicy", "delayed", fault=fault))
    web = mesh.sidecars["web"]
    assert (await first(mesh, DELAYED, "/delayed")).status == 200
    await mesh.until_promoted("web", vip(DELAYED), 80)
    assert (await mesh.http1("web", vip(DELAYED), "/delayed/again")).status == 200
    for path, listener in (("/delayed", "fc"), ("/delayed/again", "p")):
        [line] = await web.logged(path=path)
        assert (line["response_flags"], line["listener"]) == ("DI", listener)
        assert line["duration"] >= 690
        [callee] = [name for name, app in apps.items() if app.seen(path)]
        [line] = await mesh.sidecars[callee].logged(path=path)
        assert line["response_flags"] == "-", "the callee's sidecar has no part in it"


async def test_a_redirect(mesh: NetMesh, apps: dict[str, App]) -> None:
    moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "moved.example"}}
    await mesh.plait.apply(route("moved", "moved", {"filters": [moved]}))
    reply = await first(mesh, MOVED, "/moved")
    assert (reply.status, reply.headers["location"]) == (302, "http://moved.example/moved")


async def test_weights(mesh: NetMesh, apps: dict[str, App]) -> None:
    """Of one split over many destinations, so that every request is a first one."""
    split = route("halves", "halves-0", {"backendRefs": to(("v1", 1), ("v2", 1))})
    [parent] = split["spec"]["parentRefs"]
    split["spec"]["parentRefs"] = [parent | {"name": f"halves-{n}"} for n in range(HALVES)]
    await mesh.plait.apply(split)
    contacts = (first(mesh, HALVED + n, f"/half/{n}") for n in range(HALVES))
    # All throws of a fair coin on one side: once in four million times.
    assert {reply.app for reply in await asyncio.gather(*contacts)} == {"v1", "v2"}


async def test_the_same_bucket_twice(mesh: NetMesh, apps: dict[str, App]) -> None:
    """While the time bucket of its question runs a destination is not taken back, for Envoy never
    asks twice for one name; and whoever comes in that bucket is served."""
    body = {"destinations": ["again.shop:80"], "idle": None}
    assert (await first(mesh, AGAIN, "/again/1")).status == 200
    asked = await mesh.asked("web")
    for n in range(2, 5):
        answer = await mesh.plait.post("/v1/proxies/shop/web/evict", body)
        [kept] = answer["kept"]
        assert "time bucket" in kept["reason"]
        assert answer["evicted"] == []
        assert (await mesh.http1("web", vip(AGAIN), f"/again/{n}")).status == 200
        await mesh.until_promoted("web", vip(AGAIN), 80)
    # A control plane that knows nothing of the question keeps to it too.
    await mesh.plait.kill()
    await mesh.plait.start()
    await mesh.plait.settled(len(mesh.sidecars))
    assert asked <= await mesh.asked("web")
    [kept] = (await mesh.plait.post("/v1/proxies/shop/web/evict", body))["kept"]
    assert "time bucket" in kept["reason"]
    assert (await mesh.http1("web", vip(AGAIN), "/again/5")).status == 200
    await mesh.sidecars["web"].logged(path="/again/5", listener="p")


async def test_a_simulation_says_whether_it_is_promoted(
    mesh: NetMesh, apps: dict[str, App]
) -> None:
    async def held(authority: str) -> str:
        words = ("simulate", "web.shop", authority, "-o", "json")
        return str((await mesh.plait.meshctl(*words)).json["held"])

    assert (await mesh.http1("web", vip(AGAIN))).status == 200
    await mesh.until_promoted("web", vip(AGAIN), 80)
    assert await held("again") == "yes"
    assert await held(vip(AGAIN)) == "yes"
    assert await held("again:81") == "no: the pod has not asked for it"
    assert await held("fresh") == "no: the pod has not asked for it"
    assert await held("192.0.2.1") == "", "nothing outside is promoted"


def broken(name: str) -> Document:
    huge = {"type": "RegularExpression", "value": HUGE}
    return route(name, name, {"matches": [{"path": huge}], "backendRefs": to(("v1", 1))})


async def hosts(mesh: NetMesh) -> dict[str, Document]:
    """The virtual hosts of first contact that web's sidecar holds, by their names."""
    dump = await mesh.sidecars["web"].dumped("RoutesConfigDump")
    [table] = [
        each["route_config"]
        for each in dump["dynamic_route_configs"]
        if each["route_config"]["name"] == "fc"
    ]
    return {each["name"]: each for each in table["virtual_hosts"]}


async def nacks(mesh: NetMesh, kind: str) -> float:
    found = re.findall(
        rf'^plait_xds_nacks\S*type="{kind}"\S* (\S+)$', await mesh.plait.scrape(), re.M
    )
    return sum(map(float, found))


async def test_one_bad_route_among_a_hundred(mesh: NetMesh, apps: dict[str, App]) -> None:
    """All hundred are in one table. The bad one stays as it was, the others go on changing, and
    new destinations come in; one that was never good is answered 503, alone."""
    web = mesh.sidecars["web"]
    contacts = (mesh.http1("web", vip(FIRST + n), f"/many/{n}") for n in range(MANY))
    assert {reply.status for reply in await asyncio.gather(*contacts)} == {200}

    async def all_there() -> bool:
        return len(await hosts(mesh)) >= MANY

    await web.until(f"with {MANY} virtual hosts of first contact", all_there)
    before = await nacks(mesh, "rds")
    mesh.write("routes", broken(f"s{BAD}"), moved(f"s{GOOD}"))
    problem = await mesh.plait.until_problem("HTTPRoute", f"s{BAD}")
    assert "regex" in problem["message"]

    async def follows() -> bool:
        return (await mesh.http1("web", vip(FIRST + GOOD))).status == 302

    await web.until("with the good route of the same burst", follows)
    await mesh.plait.settled_or_rejecting()
    table = await hosts(mesh)
    assert len(table) >= MANY, "still the table of a hundred"
    assert HUGE not in str(table)
    [changed] = [each for each in table.values() if f"{vip(FIRST + GOOD)}:80" in each["domains"]]
    assert "moved.example" in str(changed), "first contact has it too"
    # Halving finds one of a hundred with seven rejections, here and in the tables of their own.
    assert 1 <= await nacks(mesh, "rds") - before <= 20
    for n in range(MANY):
        reply = await mesh.http1("web", vip(FIRST + n), "/still")
        assert reply.status == (302 if n == GOOD else 200), n
    assert (await first(mesh, FRESH, "/fresh")).status == 200, "a new one is served meanwhile"
    for n in range(MANY):
        assert await mesh.plait.problems("HTTPRoute", f"s{n}") == [] or n == BAD

    mesh.write("unusable", broken("unusable"))

    async def known() -> bool:
        return bool((await mesh.plait.get("/v1/objects/HTTPRoute", name="unusable"))["items"])

    await web.until("aware of the route", known)

    async def refused() -> bool:
        reply = await mesh.http1("web", vip(UNUSABLE), "/unusable")
        return reply.status == 503 and "rejected the routes" in reply.text

    await web.until("answering 503 for what was never good", refused)
    assert await mesh.plait.until_problem("HTTPRoute", "unusable")
    assert (await mesh.http1("web", vip(FIRST), "/others")).status == 200

    mesh.write("routes")
    mesh.write("unusable")
    await mesh.plait.until_no_problem("HTTPRoute", f"s{BAD}")

    async def mended() -> bool:
        return (await mesh.http1("web", vip(UNUSABLE))).status == 200

    await web.until("served once it is mended", mended)


def moved(name: str) -> Document:
    away = {"type": "RequestRedirect", "requestRedirect": {"hostname": "moved.example"}}
    return route(name, name, {"filters": [away]})
