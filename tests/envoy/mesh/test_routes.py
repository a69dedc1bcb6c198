"""HTTPRoutes, policies and shifts as an application meets them, each applied to a running mesh.

Every test has a Service of its own, so that none depends on what another left behind.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.apps import DELAY, FAIL, KEY, STATUS, App
from tests.envoy.mesh.clients import Reply
from tests.envoy.mesh.manifests import Document, policy, route, to
from tests.envoy.mesh.mesh import Mesh, Sidecar
from tests.envoy.mesh.plait import until

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]

SERVICES = (
    *("matches", "rewrites", "redirects", "timeouts", "retries", "breaker", "outliers", "shifted"),
    *("weights", "unruly"),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        http = [(80, "http", "http")]
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web"),
            *(
                mesh.pod(n, f"v{n - 1}", ports={"http": 8080}, labels={"app": "all", "v": f"v{n}"})
                for n in (2, 3)
            ),
            *(manifests.service(f"v{n - 1}", http, {"v": f"v{n}"}) for n in (2, 3)),
            *(manifests.service(name, http, {"app": "all"}) for name in SERVICES),
        )
        await mesh.serve()
        await mesh.start_sidecars(web=1, v1=2, v2=3)
        yield mesh


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def apps(mesh: Mesh) -> dict[str, App]:
    return {f"v{n - 1}": await mesh.app(n, f"v{n - 1}", 8080) for n in (2, 3)}


@pytest.fixture
def web(mesh: Mesh, apps: dict[str, App]) -> Sidecar:
    return mesh.sidecars["web"]


def exact(path: str, **more: object) -> Document:
    return {"path": {"type": "Exact", "value": path}, **more}


def rest(**more: object) -> Document:
    """A match under /rest."""
    return {"path": {"value": "/rest"}, **more}


def modify(kind: str, field: str, **values: object) -> Document:
    return {"type": kind, field: values}


async def split(web: Sidecar, authority: str, count: int) -> Counter[str]:
    """Which application answered, of so many requests."""

    async def some(number: int) -> list[str]:
        return [(await web.get_http1(authority, "/split")).app for _ in range(number)]

    found = await asyncio.gather(*(some(count // 4) for _ in range(4)))
    return Counter(app for part in found for app in part)


async def learn(web: Sidecar, authority: str) -> None:
    """Ask once, so that later requests take the straight way and their log lines say the route."""
    await web.get_http1(authority, "/learn")


async def test_matches(mesh: Mesh, web: Sidecar) -> None:
    v2 = to(("v2", 1))
    regex = {"type": "RegularExpression"}
    rules = [
        {"matches": [exact("/exact")], "backendRefs": v2},
        {"matches": [{"path": {"value": "/prefix"}}], "backendRefs": v2},
        {"matches": [{"path": {**regex, "value": "/item/[0-9]+"}}], "backendRefs": v2},
        {"matches": [rest(headers=[{"name": "X-User", "value": "ann"}])], "backendRefs": v2},
        {
            "matches": [rest(headers=[{**regex, "name": "x-agent", "value": "test.*"}])],
            "backendRefs": v2,
        },
        {"matches": [rest(queryParams=[{"name": "beta", "value": "1"}])], "backendRefs": v2},
        {"matches": [rest(method="DELETE")], "backendRefs": v2},
        {"matches": [exact("/both", method="POST")], "backendRefs": v2},
        {"matches": [rest()], "backendRefs": to(("v1", 1))},
    ]
    await mesh.plait.apply(route("matches", "matches", *rules))

    async def ask(path: str, method: str = "GET", **headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await web.get_http1("matches.shop", path, method=method, headers=named)).app

    assert await ask("/exact") == "v2"
    assert await ask("/exact/") == "status 404"
    assert await ask("/prefix") == await ask("/prefix/deep?x=1") == "v2"
    assert await ask("/prefixed") == "status 404"
    assert await ask("/item/17") == "v2"
    assert await ask("/item/x") == "status 404"
    assert await ask("/rest", x_user="ann") == "v2"
    assert await ask("/rest", x_user="bob") == "v1"
    assert await ask("/rest", x_agent="test-9") == "v2"
    assert await ask("/rest?beta=1") == "v2"
    assert await ask("/rest?beta=2") == "v1"
    assert await ask("/rest", "DELETE") == "v2"
    assert await ask("/both", "POST") == "v2"
    assert await ask("/both", "GET") == "status 404"
    reply = await web.get_http1("matches.shop", "/nothing")
    assert "no rule of HTTPRoute shop/matches" in reply.text


async def test_rewriting(mesh: Mesh, web: Sidecar) -> None:
    def path(**how: str) -> Document:
        return modify("URLRewrite", "urlRewrite", path=how, hostname="inner.example")

    headers = modify(
        "RequestHeaderModifier",
        "requestHeaderModifier",
        set=[{"name": "x-set", "value": "new"}],
        add=[{"name": "x-add", "value": "more"}],
        remove=["x-remove"],
    )
    answer = modify(
        "ResponseHeaderModifier",
        "responseHeaderModifier",
        set=[{"name": "x-answer", "value": "seen"}],
    )
    prefix = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}
    full = {"type": "ReplaceFullPath", "replaceFullPath": "/whole"}
    rules = [
        {
            "matches": [{"path": {"value": "/old"}}],
            "filters": [path(**prefix), headers, answer],
            "backendRefs": to(("v1", 1)),
        },
        {
            "matches": [{"path": {"value": "/full"}}],
            "filters": [path(**full)],
            "backendRefs": to(("v1", 1)),
        },
    ]
    await mesh.plait.apply(route("rewrites", "rewrites", *rules))
    await learn(web, "rewrites.shop")
    sent = {"x-set": "old", "x-remove": "1", "x-keep": "1"}
    reply = await web.get_http1("rewrites.shop", "/old/page?q=1", headers=sent)
    assert (reply.seen["path"], reply.seen["authority"]) == ("/new/page?q=1", "inner.example")
    seen = reply.seen["headers"]
    assert (seen["x-set"], seen["x-add"], seen["x-keep"]) == ("new", "more", "1")
    assert "x-remove" not in seen
    assert reply.headers["x-answer"] == "seen"
    assert (await web.get_http1("rewrites.shop", "/old")).seen["path"] == "/new"
    assert (await web.get_http1("rewrites.shop", "/full/x?q=1")).seen["path"] == "/whole?q=1"
    [line] = await web.logged(path="/new/page", listener="proxy")
    assert (line["route"], line["rule"]) == ("shop/rewrites", "0")


async def test_redirect(mesh: Mesh, web: Sidecar) -> None:
    moved = modify(
        "RequestRedirect",
        "requestRedirect",
        scheme="https",
        hostname="elsewhere.example",
        statusCode=301,
        path={"type": "ReplaceFullPath", "replaceFullPath": "/there"},
    )
    rule = {"matches": [exact("/here")], "filters": [moved]}
    await mesh.plait.apply(route("redirects", "redirects", rule))
    reply = await web.get_http1("redirects.shop", "/here")
    assert reply.status == 301
    assert reply.headers["location"] == "https://elsewhere.example/there"


async def test_timeouts(mesh: Mesh, web: Sidecar) -> None:
    def rule(prefix: str, **timeouts: str) -> Document:
        return {
            "matches": [{"path": {"value": prefix}}],
            "timeouts": timeouts,
            "backendRefs": to(("v1", 1)),
        }

    rules = [rule("/request", request="300ms"), rule("/backend", backendRequest="300ms")]
    await mesh.plait.apply(route("timeouts", "timeouts", *rules))
    await learn(web, "timeouts.shop")
    for path in ("/request", "/backend"):
        reply = await web.get_http1("timeouts.shop", path, headers={DELAY: "20"})
        assert reply.status == 504
        [line] = await web.logged(path=path, listener="proxy")
        assert 250 <= line["duration"] < 15_000
        assert line["response_flags"] == "UT"


async def test_retries_are_counted_at_the_application(
    mesh: Mesh, web: Sidecar, apps: dict[str, App]
) -> None:
    await mesh.plait.apply(route("retries", "retries", {"backendRefs": to(("v1", 1))}))

    async def ask(path: str, fail: int) -> tuple[int, int]:
        headers = {FAIL: str(fail), KEY: path}
        reply = await web.get_http1("retries.shop", path, headers=headers)
        return reply.status, len(apps["v1"].seen(path))

    assert await ask("/none", 1) == (503, 1), "no retries unless asked for"
    retry = {"attempts": 2, "retryOn": ["5xx"], "backoff": {"base": "1ms"}}
    await mesh.plait.apply(policy("RoutePolicy", "retries", retry=retry))
    assert await ask("/two", 2) == (200, 3)
    assert await ask("/three", 3) == (503, 3)
    [line] = await web.logged(path="/three", listener="proxy")
    assert "URX" in line["response_flags"]
    assert line["policies"] == ["RoutePolicy shop/retries"]


async def test_a_circuit_breaker_refuses_at_once(mesh: Mesh, web: Sidecar) -> None:
    limits = {"maxRequests": 1, "maxPendingRequests": 1, "maxConnections": 1}
    await mesh.plait.apply(policy("TrafficPolicy", "breaker", circuitBreakers=limits))
    assert (await web.get_http1("breaker.shop", "/first")).status == 200
    slow = {DELAY: "1.5"}
    asked = [web.get_http1("breaker.shop", "/flood", headers=slow) for _ in range(5)]
    replies: list[Reply] = await asyncio.gather(*asked)
    assert Counter(each.status for each in replies) == {200: 1, 503: 4}
    refused = await web.logged(4, path="/flood", listener="proxy", status=503)
    assert {line["response_flags"] for line in refused} == {"UO"}
    assert (await web.get_http1("breaker.shop", "/after")).status == 200


async def test_an_endpoint_that_keeps_failing_is_ejected(
    mesh: Mesh, web: Sidecar, apps: dict[str, App]
) -> None:
    detection = {
        "consecutive5xx": 3,
        "interval": "100ms",
        "baseEjectionTime": "300s",
        "maxEjectionPercent": 50,
    }
    await mesh.plait.apply(policy("TrafficPolicy", "outliers", outlierDetection=detection))
    apps["v2"].status = 500
    try:

        async def ejected() -> bool:
            return (await split(web, "outliers.shop", 24)) == {"v1": 24}

        await until("without the failing endpoint", ejected)
    finally:
        apps["v2"].status = 200
    assert await split(web, "outliers.shop", 40) == {"v1": 40}
    assert set(await split(web, "unruly.shop", 40)) == {"v1", "v2"}, "other Services keep it"


async def test_a_shift_takes_effect_when_its_command_returns(mesh: Mesh, web: Sidecar) -> None:
    meshctl = mesh.plait.meshctl
    assert set(await split(web, "shifted.shop", 40)) == {"v1", "v2"}
    for first, second in ((100, 0), (0, 100), (75, 25)):
        called = await meshctl(
            *("traffic-shift", "set", "shifted", "-n", "shop"),
            *(f"v1={first}", f"v2={second}", "--wait", "-o", "json"),
        )
        assert called.json, called
        count = 400 if second == 25 else 100
        found = await split(web, "shifted.shop", count)
        if second == 25:
            # Five standard deviations of the binomial distribution: one failure in two million.
            assert abs(found["v1"] - 300) < 44, found
        else:
            assert found == {"v1" if first else "v2": count}
    assert set(found) == {"v1", "v2"}
    simulated = await meshctl(*("simulate", "web.shop", "shifted.shop", "-o", "json"))
    shares = {each["service"]: each["percent"] for each in simulated.json["split"]}
    assert shares == {"shop/v1:80": 75.0, "shop/v2:80": 25.0}


async def test_weights_of_a_route(mesh: Mesh, web: Sidecar) -> None:
    rule = {"backendRefs": to(("v1", 9), ("v2", 1))}
    await mesh.plait.apply(route("weights", "weights", rule))
    found = await split(web, "weights.shop", 400)
    assert abs(found["v2"] - 40) < 31, found
    missing = {"backendRefs": to(("v1", 1), ("nowhere", 1))}
    await mesh.plait.apply(route("weights", "weights", missing))
    found = await split(web, "weights.shop", 400)
    assert set(found) == {"v1", "status 500"}, "the share of a missing backend gets 500"
    assert abs(found["v1"] - 200) < 51, found
    text = json.dumps(await mesh.plait.problems("HTTPRoute", "weights"))
    assert "nowhere" in text


async def test_a_status_of_the_application_passes(mesh: Mesh, web: Sidecar) -> None:
    reply = await web.get_http1("unruly.shop", "/teapot", headers={STATUS: "418"})
    assert (reply.status, reply.app[0]) == (418, "v")
