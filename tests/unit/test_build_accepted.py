"""A real Envoy takes every shape that the intermediate representation can have, and does it."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.unit.envoy_under_test import (
    Envoy,
    FixedAds,
    echo_application,
    free_port,
    get,
    run,
    serve,
)
from xds import types
from xds.build import clusters, endpoints, listeners, routes
from xds.ir import cluster as ir
from xds.ir.endpoint import Endpoint, Health
from xds.ir.listener import Chain, Codec, Direction, Http, Listener, Tcp
from xds.ir.route import (
    Abort,
    Backend,
    Delay,
    Fault,
    Forward,
    HashOn,
    HeaderEdits,
    Match,
    PathExact,
    PathPrefix,
    PathRegex,
    PathReplacement,
    Redirect,
    Respond,
    Retry,
    Route,
    RouteTable,
    ValueMatch,
    VirtualHost,
)
from xds.wire.resource import Resource

pytestmark = pytest.mark.envoy

SECOND = timedelta(seconds=1)
TO_APP = (Backend("app"),)
RETRY = Retry(2, ("connect-failure", "refused-stream"), (503,), per_try_timeout=SECOND)


def every_cluster(app: int) -> list[ir.Cluster]:
    settings = ir.ConnectionSettings(SECOND, SECOND, 100, 60 * SECOND, 10 * SECOND, 3)
    limits = ir.CircuitBreakers(10, 20, 30, 40)
    policies: dict[str, ir.LoadBalancing] = {
        "round-robin": ir.RoundRobin(),
        "least-request": ir.LeastRequest(4),
        "random": ir.Random(),
        "ring-hash": ir.Hashed("ring-hash"),
        "maglev": ir.Hashed("maglev"),
    }
    balanced = [
        ir.EdsCluster(name, "e|app", wire, balancing=policy, breakers=limits, connection=settings)
        for (name, policy), wire in zip(policies.items(), [*ir.Wire, ir.Wire.HTTP1], strict=True)
    ]
    return [
        *balanced,
        ir.EdsCluster("ejects", "e|app", ir.Wire.HTTP1, outliers=ir.OutlierDetection(5, 3)),
        ir.EdsCluster("watches", "e|app", ir.Wire.HTTP1, outliers=ir.OutlierDetection()),
        ir.StaticCluster("app", "127.0.0.1", app, ir.Wire.AS_CLIENT, settings, limits),
        ir.StaticCluster("app6", "::1", app, ir.Wire.HTTP1),
        ir.StaticCluster("BlackHole", "", 0, ir.Wire.TCP),
        ir.DnsCluster("outside", "localhost", app, ir.Wire.HTTP1),
    ]


def every_route() -> tuple[Route, ...]:
    conditions = Match(
        PathPrefix("/matched"),
        (ValueMatch("x-a", "1"), ValueMatch("x-b", "[0-9]+", regex=True)),
        (ValueMatch("q", "1"), ValueMatch("r", ".*", regex=True)),
        "GET",
    )
    edits = HeaderEdits((("x-set", "100%"), ("x-empty", "")), (("x-add", "%a"),), ("user-agent",))
    hashes = (HashOn("header", "x-user"), HashOn("cookie", "user"), HashOn("source-address"))
    return (
        Route("conditions", conditions, Respond(418, "matched")),
        Route("exact", Match(PathExact("/exact")), Respond(200, "")),
        Route("regex", Match(PathRegex("/r[0-9]+")), Respond(404, "no such book")),
        Route("weights", Match(PathPrefix("/none")), Forward((Backend("app", 0),))),
        Route(
            "split",
            Match(PathPrefix("/split")),
            Forward(
                (Backend("round-robin", 3), Backend("ring-hash", 1, edits, edits)),
                timeout=SECOND,
                retry=RETRY,
                hash_on=hashes,
            ),
        ),
        Route(
            "edited",
            Match(PathPrefix("/edited/")),
            Forward(TO_APP, request_headers=edits, response_headers=edits, rewrite_host="other"),
        ),
        Route(
            "to-root",
            Match(PathPrefix("/strip.me")),
            Forward(TO_APP, rewrite_path=PathReplacement("prefix", "/")),
        ),
        Route(
            "to-other",
            Match(PathPrefix("/old")),
            Forward(TO_APP, rewrite_path=PathReplacement("prefix", "/new/")),
        ),
        Route(
            "to-fixed",
            Match(PathPrefix("/any")),
            Forward(TO_APP, rewrite_path=PathReplacement("full", "/fixed.1")),
        ),
        Route(
            "moved",
            Match(PathPrefix("/moved")),
            Redirect(301, "https", "new.example", 8443, PathReplacement("prefix", "/")),
        ),
        Route(
            "replaced",
            Match(PathPrefix("/replaced")),
            Redirect(307, path=PathReplacement("full", "/here")),
        ),
        Route(
            "faulty",
            Match(PathPrefix("/faulty")),
            Forward(TO_APP, fault=Fault(Delay(SECOND, 1), Abort(418, 1_000_000))),
        ),
        Route("dns", Match(PathPrefix("/dns")), Forward((Backend("outside"),))),
        Route("hole", Match(PathPrefix("/hole")), Forward((Backend("BlackHole"),))),
        Route("unknown", Match(PathPrefix("/unknown")), Forward((Backend("not-there"),))),
        Route("rest", Match(), Forward(TO_APP, rewrite_path=PathReplacement("prefix", "/below"))),
    )


def every_listener(port: int) -> list[Listener]:
    table = RouteTable("inline", (VirtualHost("all", ("*",), every_route()),))
    outbound = Direction.OUTBOUND
    bounded = Http(
        "http",
        Codec.AUTO,
        table,
        outbound,
        max_connection_duration=60 * SECOND,
        max_requests_per_connection=1000,
    )
    by_name = Http("rds", Codec.HTTP1, "r|app", Direction.INBOUND)
    tcp = Tcp("tcp", "BlackHole", Direction.INBOUND, timedelta(0), 60 * SECOND)
    detect = (Chain("http", by_name, ("http/1.1",)), Chain("tcp", tcp))
    host = "127.0.0.1"
    return [
        Listener("http", host, port, outbound, (Chain("http", bounded),)),
        Listener("detect", host, free_port(), Direction.INBOUND, detect, True, True),
    ]


def every_resource(app: int, port: int) -> list[Resource]:
    spread = (
        Endpoint("127.0.0.1", app, 2, region="r", zone="a"),
        Endpoint("127.0.0.2", app, health=Health.DRAINING, region="r", zone="b"),
        Endpoint("::1", app, health=Health.UNHEALTHY, tls=True),
        Endpoint("127.0.0.3", app, weight=0),
    )
    parts = [endpoints.fragment(spread[:2]), endpoints.fragment(spread[2:])]
    # Two slices of one Service often share a zone: the same locality comes twice.
    parts.append(endpoints.fragment((Endpoint("127.0.0.4", app, region="r", zone="a"),)))
    return [
        *(clusters.cluster(each) for each in every_cluster(app)),
        endpoints.assignment("e|app", parts),
        *(listeners.listener(each, SECOND) for each in every_listener(port)),
        routes.route_table(RouteTable("r|app", (VirtualHost("all", ("*",), every_route()),))),
    ]


@dataclass
class Edge:
    """One Envoy that holds every resource, and the server that gave them."""

    envoy: Envoy
    ads: FixedAds
    address: str

    async def ask(self, path: str) -> tuple[int, dict[str, str], str]:
        return await get(self.address, "app", path)


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(echo_application())
        ads = await stack.enter_async_context(serve())
        port = free_port()
        ads.hold("edge", *every_resource(app, port))
        envoy = await stack.enter_async_context(run("edge", ads, tmp_path))
        yield Edge(envoy, ads, f"127.0.0.1:{port}")


async def test_envoy_holds_every_resource(edge: Edge) -> None:
    assert edge.ads.rejections == []
    dump = json.loads(await edge.envoy.admin("/config_dump"))["configs"]
    active = {
        each["cluster"]["name"]: each["version_info"]
        for part in dump
        for each in part.get("dynamic_active_clusters", [])
    }
    held = edge.ads.tables["edge"][types.CLUSTER]
    assert active == {name: resource.version for name, resource in held.items()}
    listening = [each for part in dump for each in part.get("dynamic_listeners", [])]
    assert {each["name"] for each in listening if "active_state" in each} == {"http", "detect"}
    members = json.loads(await edge.envoy.admin("/clusters?format=json"))["cluster_statuses"]
    hosts = {each["name"]: len(each.get("host_statuses", [])) for each in members}
    assert hosts["round-robin"] == 4


async def test_paths_are_rewritten(edge: Edge) -> None:
    expected = {
        "/strip.me": "/",
        "/strip.me/a?b=c": "/a?b=c",
        "/stripxme": "/below/stripxme",
        "/old": "/new",
        "/old/a": "/new/a",
        "/older": "/below/older",
        "/any/thing?b=c": "/fixed.1?b=c",
        "/": "/below/",
        "/dns": "/dns",
    }
    seen = {path: json.loads((await edge.ask(path))[2])["path"] for path in expected}
    assert seen == expected


async def test_headers_are_edited_literally(edge: Edge) -> None:
    status, headers, body = await edge.ask("/edited/x")
    seen = json.loads(body)["headers"]
    assert status == 200
    assert (seen["x-set"], seen["x-empty"], seen["x-add"]) == ("100%", "", "%a")
    assert seen["host"] == "other"
    assert "user-agent" not in seen
    assert headers["x-set"] == "100%"


async def test_local_answers(edge: Edge) -> None:
    expected = {
        "/exact": (200, ""),
        "/r7": (404, "no such book"),
        "/none": (500, "no backend has a weight"),
        "/hole": (503, "no healthy upstream"),
        "/unknown": (503, ""),
        "/faulty": (418, "fault filter abort"),
    }
    seen = {}
    for path in expected:
        status, _headers, body = await edge.ask(path)
        seen[path] = (status, body)
    assert seen == expected


async def test_redirects(edge: Edge) -> None:
    expected = {
        "/moved": (301, "https://new.example:8443/"),
        "/moved/a?b=c": (301, "https://new.example:8443/a?b=c"),
        "/replaced/a": (307, "http://app/here"),
    }
    seen = {}
    for path in expected:
        status, headers, _body = await edge.ask(path)
        seen[path] = (status, headers["location"])
    assert seen == expected
