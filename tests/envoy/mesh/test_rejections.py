"""What validates and a real Envoy refuses: the last good stays, the object is named, the rest of
the burst arrives, and mending it ends the Problem.
"""

import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.clients import http1
from tests.envoy.mesh.load import Load
from tests.envoy.mesh.manifests import Document, route, to
from tests.envoy.mesh.mesh import PROXY, Mesh

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]

HUGE = "/([^x]{100}){10}"
"""Valid RE2 whose program is too large for Envoy."""
TAKEN = 8085


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        http = [(80, "http", "http")]
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web"),
            mesh.pod(3, "other"),
            *(manifests.service(name, http) for name in ("backend", "spare")),
        )
        mesh.write("backend", backend(mesh))
        mesh.write("spare", mesh.pod(4, "spare", ports={"http": 8080}))
        await mesh.serve()
        await mesh.app(2, "backend", 8080, TAKEN)
        await mesh.app(4, "spare", 8080)
        await mesh.start_sidecars(web=1, backend=2, other=3, spare=4)
        yield mesh


def backend(mesh: Mesh, **ports: int) -> Document:
    return mesh.pod(2, "backend", ports={"http": 8080, **ports})


def redirect(name: str, parent: str, path: str) -> Document:
    moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "moved.example"}}
    return route(
        name,
        parent,
        {"matches": [{"path": {"value": path}}], "filters": [moved]},
        {"backendRefs": to((parent, 1))},
    )


async def test_a_taken_port(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    async with Load(mesh.address(1), PROXY, "backend.shop") as load:
        with socket.create_server((mesh.address(2), TAKEN)):
            mesh.write("backend", backend(mesh, extra=TAKEN), redirect("good", "spare", "/good"))
            problem = await mesh.plait.until_problem("Pod", "backend")
            assert f"in|{TAKEN}" in problem["message"]
            assert "Address already in use" in problem["message"]
            assert problem["source"]["path"] == "backend.yaml"
            # What else came in the burst is there, and the pod's other port goes on.
            await mesh.until_reply(web, "spare.shop", lambda r: r.status == 302, "/good")
            await load.more(50)
            config = await mesh.plait.config("backend")
            states = {r["name"]: r["state"] for r in config["resources"] if r["type"] == "lds"}
            assert states.pop(f"in|{TAKEN}") == "rejected"
            assert set(states.values()) == {"acked"}
            mesh.write("backend", backend(mesh))
            await mesh.plait.until_no_problem("Pod", "backend")
        # Free again: the same port is served.
        mesh.write("backend", backend(mesh, extra=TAKEN))
        await mesh.plait.settled(4)
        await mesh.sidecars["backend"].until_stat("listener_manager.total_listeners_active", 4)
        reply = await http1(mesh.address(2), TAKEN, "backend", "/free")
        assert reply.app == "backend"
        assert await mesh.plait.problems("Pod", "backend") == []
        assert load.failures == []


async def test_a_regular_expression_that_is_too_large(mesh: Mesh) -> None:
    web, other = mesh.sidecars["web"], mesh.sidecars["other"]
    for sidecar in (web, other):
        assert (await sidecar.get_http1("backend.shop")).app == "backend"
        assert (await sidecar.get_http1("spare.shop")).app == "spare"
    bad = route(
        "bad",
        "backend",
        {
            "matches": [{"path": {"type": "RegularExpression", "value": HUGE}}],
            "backendRefs": to(("backend", 1)),
        },
        {"matches": [{"path": {"value": "/load"}}], "backendRefs": to(("backend", 1))},
    )
    async with Load(mesh.address(1), PROXY, "backend.shop") as load:
        mesh.write("routes", bad, redirect("other", "spare", "/other"))
        problem = await mesh.plait.until_problem("HTTPRoute", "bad")
        assert "regex" in problem["message"]
        assert problem["source"]["path"] == "routes.yaml"
        # Good changes of the same burst, in the same route table, reach every sidecar.
        for sidecar in (web, other):
            await mesh.until_reply(sidecar, "spare.shop", lambda r: r.status == 302, "/other")
        await mesh.plait.settled_or_rejecting()
        assert (await web.get_http1("backend.shop", "/last-good")).app == "backend"
        for kind, name in (("HTTPRoute", "other"), ("HTTPRoute", "good"), ("Pod", "backend")):
            assert await mesh.plait.problems(kind, name) == []
        nacks = await mesh.plait.nacks()

        # A sidecar that asks for the destination now gets it without the rejected version.
        await load.more(50)
        assert await mesh.plait.nacks() == nacks
        bad["spec"]["rules"][0]["matches"][0]["path"]["value"] = "/[a-z]+"
        mesh.write("routes", bad, redirect("other", "spare", "/other"))
        await mesh.plait.until_no_problem("HTTPRoute", "bad")
        await mesh.plait.settled(4)
        assert (await web.get_http1("backend.shop", "/123")).status == 404
        assert (await web.get_http1("backend.shop", "/abc")).app == "backend"
        assert load.failures == []


async def test_a_first_use_of_a_rejected_destination_fails_alone(mesh: Mesh) -> None:
    """Nothing good is known of it: its virtual host says so, and the others are served."""
    web = mesh.sidecars["web"]
    huge = {"type": "RegularExpression", "value": HUGE}
    mesh.write(
        "fresh",
        manifests.service("fresh", [(80, "http", "http")], {"app": "spare"}),
        route("fresh", "fresh", {"matches": [{"path": huge}], "backendRefs": to(("spare", 1))}),
    )
    await mesh.until_reply(web, "fresh.shop", lambda r: "rejected the routes" in r.text)
    assert (await web.get_http1("spare.shop")).app == "spare"
    assert await mesh.plait.until_problem("HTTPRoute", "fresh")
    mesh.write("fresh")
    await mesh.plait.until_no_problem("HTTPRoute", "fresh")
