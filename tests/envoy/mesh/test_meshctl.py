"""What `meshctl` says of a mesh, held against the Envoys themselves and what really happens."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.envoy.mesh import manifests
from tests.envoy.mesh.manifests import policy, route, to
from tests.envoy.mesh.mesh import Mesh, Sidecar

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        http = [(80, "http", "http")]
        ports = {"http": 8080, "tcp": 7000}
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web", forwards="5000:v1.shop:7000", ports={"http": 8080}),
            *(mesh.pod(n, f"v{n - 1}", ports=ports, labels={"v": f"v{n - 1}"}) for n in (2, 3)),
            manifests.service("v1", [*http, (7000, "tcp", "tcp")], {"v": "v1"}),
            manifests.service("v2", http, {"v": "v2"}),
            manifests.service("reviews", http, {"v": "v1"}),
        )
        await mesh.serve()
        for number in (2, 3):
            await mesh.app(number, f"v{number - 1}", 8080)
        await mesh.start_sidecars(web=1, v1=2, v2=3)
        yield mesh


async def held(sidecar: Sidecar) -> dict[tuple[str, str], str]:
    """(type, name) → version, of everything dynamic that an Envoy says it has."""
    found: dict[tuple[str, str], str] = {}
    for section in await sidecar.config_dump():
        match section["@type"].rpartition(".")[2]:
            case "ClustersConfigDump":
                for each in section.get("dynamic_active_clusters", []):
                    found["cds", each["cluster"]["name"]] = each["version_info"]
            case "ListenersConfigDump":
                for each in section.get("dynamic_listeners", []):
                    found["lds", each["name"]] = each["active_state"]["version_info"]
            case "RoutesConfigDump":
                for each in section.get("dynamic_route_configs", []):
                    found["rds", each["route_config"]["name"]] = each["version_info"]
            case "SecretsConfigDump":
                for each in section.get("dynamic_active_secrets", []):
                    if each["name"] == "identity" or each["name"].startswith("roots|"):
                        found["sds", each["name"]] = each["version_info"]
    return found


async def endpoints(sidecar: Sidecar) -> dict[str, set[str]]:
    """EDS service name → ``address:port`` of its endpoints, as Envoy balances over them."""
    clusters = (await sidecar.clusters()).values()
    services = {
        each["cluster"]["name"]: each["cluster"]["eds_cluster_config"]["service_name"]
        for each in clusters
        if "eds_cluster_config" in each["cluster"]
    }
    text: dict[str, Any] = json.loads(await sidecar.get("/clusters?format=json"))
    found: dict[str, set[str]] = {}
    for each in text["cluster_statuses"]:
        if each["name"] in services:
            found[services[each["name"]]] = {
                f"{host['address']['socket_address']['address']}:"
                f"{host['address']['socket_address']['port_value']}"
                for host in each.get("host_statuses", [])
            }
    return found


def addresses(body: dict[str, Any]) -> Iterable[str]:
    """``address:port`` of every endpoint in the body of an assignment, whatever its layout."""
    for key, value in body.items():
        if key in ("socket_address", "socketAddress"):
            port = value.get("port_value", value.get("portValue"))
            yield f"{value['address']}:{port}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from addresses(each)


@pytest.mark.parametrize("pod", ["web", "v1"])
async def test_proxy_config_is_what_the_envoy_holds(mesh: Mesh, pod: str) -> None:
    sidecar = mesh.sidecars[pod]
    for authority in ("v1.shop", "reviews.shop"):
        await mesh.until_reply(sidecar, authority, lambda reply: reply.status == 200)
    await mesh.plait.settled(3)
    called = await mesh.plait.meshctl("proxy", "config", pod, "-n", "shop", "-o", "json")
    # Names that were asked for go when their bucket is over, perhaps between two looks.
    resources = [each for each in called.json["resources"] if each["name"][:2] != "a|"]
    assert {each["state"] for each in resources} == {"acked"}
    told = {
        (each["type"], each["name"]): each["acked"] for each in resources if each["type"] != "eds"
    }
    real = {key: version for key, version in (await held(sidecar)).items() if key[1][:2] != "a|"}
    assert told == real
    assignments = {each["name"]: each for each in resources if each["type"] == "eds"}
    assert assignments.pop("local")
    balanced = await endpoints(sidecar)
    assert {n: set(addresses(each["body"])) for n, each in assignments.items()} == balanced
    secrets = [each for each in resources if each["type"] == "sds"]
    assert {each["body"] for each in secrets} == {None}
    assert "PRIVATE KEY" not in called.out
    listed = (await mesh.plait.meshctl("proxy", "list", "-o", "json")).json["proxies"]
    [summary] = [each for each in listed if each["pod"] == f"{pod}.shop"]
    assert summary["acked"] == summary["resources"] >= len(resources)


async def test_apply_and_wait_return_when_every_sidecar_has_it(mesh: Mesh) -> None:
    web, meshctl = mesh.sidecars["web"], mesh.plait.meshctl
    await mesh.until_reply(web, "reviews.shop", lambda reply: reply.status == 200)
    path = mesh.base / "route.yaml"
    for app in ("v2", "v1", "v2"):
        rule = {"backendRefs": to((app, 1))}
        path.write_text(yaml.safe_dump(route("reviews", "reviews", rule)))
        called = await meshctl("apply", "-f", str(path), "--wait", "-o", "json")
        [progress] = called.json["progress"]
        assert (progress["total"], progress["acked"], progress["waiting"]) >= (1, 1, [])
        replies = await asyncio.gather(*(web.get_http1("reviews.shop") for _ in range(20)))
        assert Counter(each.app for each in replies) == {app: 20}
    waited = await meshctl("wait", "httproute/reviews", "-n", "shop", "--timeout", "10s")
    assert "acknowledged by" in waited.out

    # A stopped Envoy acknowledges nothing: the command names it when its time is up.
    os.kill(web.pid, signal.SIGSTOP)
    try:
        path.write_text(yaml.safe_dump(route("reviews", "reviews", {"backendRefs": to(("v1", 1))})))
        called = await meshctl("apply", "-f", str(path), "--wait", "--timeout", "2s", code=4)
        assert "web.shop" in called.out
    finally:
        os.kill(web.pid, signal.SIGCONT)
    await meshctl("wait", "httproute/reviews", "-n", "shop", "--timeout", "30s")
    assert (await web.get_http1("reviews.shop")).app == "v1"


async def test_why_names_what_a_resource_was_made_from(mesh: Mesh) -> None:
    web, meshctl = mesh.sidecars["web"], mesh.plait.meshctl
    await mesh.until_reply(web, "v1.shop", lambda reply: reply.status == 200)
    breakers = policy("TrafficPolicy", "v1", circuitBreakers={"maxRequests": 77})
    await mesh.plait.apply(breakers)
    cluster = (await web.clusters())["h|shop|v1|80"]
    called = await meshctl("why", "cluster", "h|shop|v1|80", "--pod", "web.shop", "-o", "json")
    assert called.json["version"] == cluster["version_info"]
    assert "77" in json.dumps(cluster)
    named = set(objects(called.json["tree"]))
    assert {("TrafficPolicy", "v1"), ("Service", "v1"), ("Pod", "v1")} <= named
    assert ("Pod", "web") not in named
    text = (await meshctl("why", "cluster", "h|shop|v1|80")).out
    assert "mesh.yaml" in text
    await mesh.plait.delete("TrafficPolicy", "v1")


def objects(tree: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if tree["object"] and not tree["absent"]:
        yield tree["object"]["kind"], tree["object"]["name"]
    for each in tree["children"]:
        yield from objects(each)


async def test_simulate_says_what_happens(mesh: Mesh) -> None:
    web, meshctl = mesh.sidecars["web"], mesh.plait.meshctl
    moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "moved.example"}}
    rules = [
        {"matches": [{"path": {"value": "/moved"}}], "filters": [moved]},
        {
            "matches": [{"path": {"value": "/"}, "headers": [{"name": "x-user", "value": "ann"}]}],
            "backendRefs": to(("v2", 1)),
        },
        {
            "name": "rest",
            "matches": [{"path": {"value": "/half"}}],
            "backendRefs": to(("v1", 1), ("v2", 1)),
        },
    ]
    await mesh.plait.apply(
        route("reviews", "reviews", *rules), policy("RoutePolicy", "reviews", timeout="7s")
    )
    await mesh.until_reply(web, "reviews.shop", lambda reply: reply.status == 404)

    async def both(path: str, *headers: str) -> tuple[dict[str, Any], Counter[str]]:
        options = [word for each in headers for word in ("-H", each)]
        called = await meshctl(
            *("simulate", "web.shop", "reviews.shop", "GET", path, *options, "-o", "json")
        )
        named = dict(each.split(": ") for each in headers)
        replies = [await web.get_http1("reviews.shop", path, headers=named) for _ in range(40)]
        return called.json, Counter(each.app for each in replies)

    told, real = await both("/moved/x")
    assert (told["outcome"], told["status"]) == ("redirect", 302)
    assert real == {"status 302": 40}
    told, real = await both("/any", "x-user: ann")
    assert [each["service"] for each in told["split"]] == ["shop/v2:80"]
    assert real == {"v2": 40}
    told, real = await both("/nothing")
    assert (told["outcome"], told["status"]) == ("respond", 404)
    assert real == {"status 404": 40}
    told, real = await both("/half")
    assert {each["service"]: each["percent"] for each in told["split"]} == {
        "shop/v1:80": 50,
        "shop/v2:80": 50,
    }
    assert set(real) == {"v1", "v2"}
    line = (await web.logged(path="/half", listener="proxy"))[-1]
    assert (
        (told["route"], told["rule"]) == (line["route"], line["rule"]) == ("shop/reviews", "rest")
    )
    assert told["policies"] == line["policies"]
    assert told["timeout"] == "7s"
    assert {each["mtls"] for each in told["split"]} == {"mTLS"}
    assert line["upstream_peer"].startswith("spiffe://")
