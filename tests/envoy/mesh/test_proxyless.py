"""gRPC's own xDS client against a real `plait serve`: no sidecar, the same rules."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from sidecar.bootstrap import Sidecar
from sidecar.proxyless import ProxylessFiles, environment
from tests.envoy.mesh import manifests
from tests.envoy.mesh.greeter import Greeter
from tests.envoy.mesh.grpc_caller import Caller
from tests.envoy.mesh.manifests import Document, spiffe
from tests.envoy.mesh.mesh import Mesh
from tests.envoy.mesh.plait import until

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

PORTS = [(9000, "grpc", "grpc")]
GRPC = {"grpc": 9090}
V1 = "xds:///v1.shop.svc.cluster.local:9000"
API = "xds:///api.shop.svc.cluster.local:9000"


def shift(name: str, **weights: int) -> Document:
    return {
        "apiVersion": manifests.API,
        "kind": "TrafficShift",
        "metadata": manifests.metadata(name),
        "spec": {
            "targetRef": {"kind": "Service", "name": name},
            "weights": [{"name": each, "weight": weight} for each, weight in weights.items()],
        },
    }


def client_pod(mesh: Mesh, number: int, name: str = "client") -> Document:
    found = mesh.pod(number, name, meshed=False)
    found["metadata"]["annotations"]["mesh.plait.dev/capture"] = "proxyless"
    return found


async def files(mesh: Mesh, pod: str = "client", token: str = "") -> ProxylessFiles:
    """What `meshctl proxy bootstrap` writes for an application."""
    facts = await mesh.plait.get(f"/v1/proxies/shop/{pod}/bootstrap")
    assert facts["capture"] == "proxyless"
    leaf = await mesh.plait.post(f"/v1/proxies/shop/{pod}/leaf")
    found = ProxylessFiles(mesh.base / f"{pod}-files")
    found.write(
        Sidecar(
            cluster=facts["cluster"],
            namespace="shop",
            pod=pod,
            owner=facts["owner"],
            host=facts["host"],
            port=facts["port"],
            directory=found.directory,
        ),
        token or await mesh.token(pod),
        facts["roots"].encode(),
        leaf["chain"].encode(),
        leaf["key"].encode(),
    )
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    """v1 has two pods, v2 one; api is split over them; safe has a sidecar and is strict."""
    async with Mesh() as mesh:
        one, two = {"app": "v1"}, {"app": "v2"}
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            client_pod(mesh, 1),
            mesh.pod(2, "v1-a", ports=GRPC, labels=one, meshed=False),
            mesh.pod(3, "v1-b", ports=GRPC, labels=one, meshed=False),
            mesh.pod(4, "v2", ports=GRPC, labels=two, meshed=False),
            mesh.pod(5, "safe", ports=GRPC),
            *(manifests.service(name, PORTS) for name in ("v1", "v2", "safe")),
            manifests.service("api", PORTS, one),
            manifests.service("faulty", PORTS, two),
            manifests.mutual_tls("safe", "Strict", {"app": "safe"}),
        )
        await mesh.serve()
        servers = [Greeter(name) for name in ("v1-a", "v1-b", "v2")]
        for number, server in enumerate(servers, 2):
            await server.start(mesh.address(number), 9090)
        safe = Greeter("safe")
        await safe.start(mesh.app_address(5), 9090)
        await mesh.start_sidecars(safe=5)
        yield mesh
        for server in (*servers, safe):
            await server.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller(mesh: Mesh) -> AsyncIterator[Caller]:
    found = await files(mesh)
    async with Caller(environment(found.bootstrap), mesh.base / "client.log") as caller:
        yield caller


async def test_calls_reach_every_pod(mesh: Mesh, caller: Caller) -> None:
    for target in (V1, "xds:///v1:9000", "xds:///v1.shop:9000"):
        assert (await caller.call(target, 20)).keys() == {"v1-a", "v1-b"}
    config = await mesh.plait.config("client")
    assert config["proxy"]["capture"] == "proxyless"
    acked = {(each["type"], each["name"]) for each in config["resources"] if each["acked"]}
    assert acked >= {("cds", "h|shop|v1|9000"), ("eds", "e|shop|v1|9000")}
    assert acked >= {("lds", name) for name in ("v1:9000", "v1.shop:9000")}, "all streams"
    why = await mesh.plait.get("/v1/why", type="cds", name="h|shop|v1|9000")
    assert why["sidecars"] == 1


async def test_a_shift_moves_calls(mesh: Mesh, caller: Caller) -> None:
    assert (await caller.call(API, 20)).keys() == {"v1-a", "v1-b"}
    await mesh.plait.apply(shift("api", v1=50, v2=50))
    # gRPC accepts the routes first, and uses them once it has their clusters.
    await until("split", _only(caller, {"v1-a", "v1-b", "v2"}))
    found = await caller.call(API, 400)
    assert found.keys() == {"v1-a", "v1-b", "v2"}
    assert 140 <= found["v2"] <= 260
    await mesh.plait.apply(shift("api", v1=0, v2=100))
    await until("moved", _only(caller, {"v2"}))
    await mesh.plait.delete("TrafficShift", "api")
    await until("undone", _only(caller, {"v1-a", "v1-b"}))


def _only(caller: Caller, names: set[str]) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return (await caller.call(API, 20)).keys() == names

    return probe


async def test_weights_and_rules_of_a_route(mesh: Mesh, caller: Caller) -> None:
    backends = manifests.to(("v1", 1), ("v2", 3), port=9000)
    chosen = {"matches": [{"path": {"value": "/shop.Greeter"}}], "backendRefs": backends}
    await mesh.plait.apply(manifests.route("api", "api", chosen))
    await until("split", _only(caller, {"v1-a", "v1-b", "v2"}))
    found = await caller.call(API, 400)
    assert 240 <= found["v2"] <= 360
    other = {"matches": [{"path": {"value": "/shop.Other"}}], "backendRefs": backends}
    await mesh.plait.apply(manifests.route("api", "api", other))
    await until("refused", _fails(caller, API, "no rule of HTTPRoute shop/api matches"))
    missing = {"backendRefs": manifests.to(("gone", 1), port=9000)}
    await mesh.plait.apply(manifests.route("api", "api", missing))
    await until("refused", _fails(caller, API, "gone"))
    await mesh.plait.delete("HTTPRoute", "api")
    await until("undone", _only(caller, {"v1-a", "v1-b"}))


async def test_faults(mesh: Mesh, caller: Caller) -> None:
    """As of a sidecar; but a delay counts to the timeout of the call."""
    target = "xds:///faulty.shop:9000"
    fault: Document = {"abort": {"grpcStatus": 8, "percent": 100}}
    await mesh.plait.apply(manifests.policy("RoutePolicy", "faulty", fault=fault))
    found = await caller.call(target, 5)
    assert [each.partition(":")[0] for each in found] == ["RESOURCE_EXHAUSTED"], found
    fault["abort"] = {"status": 503, "percent": 50}
    await mesh.plait.apply(manifests.policy("RoutePolicy", "faulty", fault=fault))

    async def halved() -> bool:
        return (await caller.call(target, 20)).keys() >= {"v2"}

    await until("halved", halved)
    found = await caller.call(target, 200)
    assert {each.partition(":")[0] for each in found} == {"UNAVAILABLE", "v2"}, found
    # Five standard deviations of the binomial distribution: one failure in two million.
    assert abs(found["v2"] - 100) < 36, found
    delay = {"delay": {"duration": "700ms", "percent": 100}}
    slow = manifests.policy("RoutePolicy", "faulty", fault=delay)
    await mesh.plait.apply(slow)

    async def slower() -> bool:
        seconds, reply = await caller.seconds(target)
        return reply == "v2" and seconds >= 0.69

    await until("slower", slower)
    slow["spec"]["timeout"] = "300ms"
    await mesh.plait.apply(slow)

    async def late() -> bool:
        return [each.partition(":")[0] for each in await caller.call(target)] == [
            "DEADLINE_EXCEEDED"
        ]

    await until("late", late)
    await mesh.plait.delete("RoutePolicy", "faulty")
    await until("undone", _replies(caller, target, "v2"))


async def test_endpoints_come_and_go_under_load(mesh: Mesh, caller: Caller) -> None:
    """A pod drains before it stops."""
    labels = {"app": "v1"}
    extra = Greeter("v1-c")
    await extra.start(mesh.address(6), 9090)
    await caller.start_load(V1)
    for _ in range(3):
        more = mesh.pod(6, "v1-c", ports=GRPC, labels=labels, meshed=False)
        mesh.write("more", more)
        await until("used", _seen(caller, "v1-c", True))
        mesh.write("more", _leaving(more))
        await until("drained", _seen(caller, "v1-c", False))
        mesh.write("more")
    found = await caller.stop_load()
    assert found.keys() == {"v1-a", "v1-b", "v1-c"}
    await extra.stop()


async def test_a_name_that_leads_nowhere_fails_at_once_and_says_why(
    mesh: Mesh, caller: Caller
) -> None:
    target = "xds:///v3.shop.svc.cluster.local:9000"
    seconds, failure = await caller.seconds(target)
    assert seconds < 5
    assert failure.startswith("UNAVAILABLE: ")
    assert "there is no Service 'v3' in namespace 'shop'" in failure
    _, failure = await caller.seconds("xds:///v1.shop:1")
    assert "has no port 1; its ports: 9000" in failure
    mesh.write("v3", manifests.service("v3", PORTS, {"app": "v2"}))
    await until("served", _replies(caller, target, "v2"))
    mesh.write("v3")
    await until("gone", _fails(caller, target))


async def test_mutual_tls_with_a_sidecar_that_takes_nothing_else(
    mesh: Mesh, caller: Caller
) -> None:
    target = "xds:///safe.shop.svc.cluster.local:9000"
    assert await caller.call(target, 5) == {f"safe {spiffe('client')}": 5}
    [(failure, _)] = (await caller.call(target, plain=True)).items()
    assert failure.startswith("UNAVAILABLE: ")
    lines = await mesh.sidecars["safe"].logged(peer=spiffe("client"))
    assert lines[0]["path"] == "/shop.Greeter/Hello"


async def test_a_sidecar_is_only_taken_for_who_it_is(mesh: Mesh, caller: Caller) -> None:
    """The endpoints of a Service are another workload's: its certificate is not accepted."""
    other = mesh.pod(5, "safe", ports=GRPC, account="other")
    mesh.write("wrong", manifests.service("wrong", PORTS, {"app": "wrong"}))
    other["metadata"].update(name="wrong", labels={"app": "wrong"})
    mesh.write("wrong-pod", other)
    target = "xds:///wrong.shop:9000"
    await until("refused", _fails(caller, target))
    mesh.write("wrong-pod")
    mesh.write("wrong")


async def test_certificate_and_token_are_renewed_in_place(mesh: Mesh, caller: Caller) -> None:
    await files(mesh)
    assert await caller.call("xds:///safe:9000") == {f"safe {spiffe('client')}": 1}


async def test_a_stranger_gets_nothing(mesh: Mesh) -> None:
    other = client_pod(mesh, 7, "intruder")
    mesh.write("intruder", other)
    await mesh.until_pod("intruder")
    found = await files(mesh, "intruder", token=await mesh.token("client"))
    async with Caller(environment(found.bootstrap), mesh.base / "intruder.log") as intruder:
        [(failure, _)] = (await intruder.call(V1, timeout=3)).items()
    assert "the node may not call itself" in failure or failure.startswith("DEADLINE_EXCEEDED")
    found = await files(mesh, "intruder")
    async with Caller(environment(found.bootstrap), mesh.base / "intruder.log") as intruder:
        assert (await intruder.call(V1, 10)).keys() == {"v1-a", "v1-b"}
    mesh.write("intruder")


async def test_calls_go_on_without_the_control_plane(mesh: Mesh, caller: Caller) -> None:
    await caller.start_load(V1)
    await mesh.plait.kill()
    assert (await caller.call(V1, 50)).keys() == {"v1-a", "v1-b"}
    await mesh.plait.start()
    await mesh.plait.settled(2)
    await mesh.plait.apply(shift("v1", v2=1))
    await until("shifted", _replies(caller, V1, "v2"))
    await mesh.plait.delete("TrafficShift", "v1")
    assert (await caller.stop_load()).keys() == {"v1-a", "v1-b", "v2"}


def _leaving(pod: Document) -> Document:
    return {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


def _seen(caller: Caller, name: str, wanted: bool) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return (name in await caller.call(V1, 10)) == wanted

    return probe


def _replies(caller: Caller, target: str, name: str) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return (await caller.call(target, 5)).keys() == {name}

    return probe


def _fails(caller: Caller, target: str, why: str = "") -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        found = await caller.call(target)
        return all(each.startswith("UNAVAILABLE: ") and why in each for each in found)

    return probe
