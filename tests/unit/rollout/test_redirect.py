"""Redirect mode on the edge: contact by address, promotion to a listener, starts, reconnects."""

from pathlib import Path

import pytest

from tests.unit.rollout.mesh import Mesh, service
from tests.unit.rollout.test_verdicts import refuse, route
from xds import types

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations: {mesh.plait.dev/capture: redirect}
spec:
  serviceAccountName: web
  containers: [{name: web, ports: [{containerPort: 8080}]}]
status: {podIP: 10.9.0.1, conditions: [{type: Ready, status: "True"}]}
"""
VIP = "240.0.0.7:80"
TCP = (
    service("ledger", "9")
    .replace("appProtocol: http", "appProtocol: tcp")
    .replace("name: http", "name: tcp")
)


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path, POD, service("reviews", "7"), service("ratings", "8"), TCP)


def test_a_sidecar_holds_the_fixed_listeners_and_no_destination(mesh: Mesh) -> None:
    web = mesh.connect("web", routes=("fc",))
    assert {"outbound", "loop", "detect", "in"} <= web.held[types.LISTENER].keys()
    assert not [name for name in web.held[types.LISTENER] if name.startswith("p|")]


def test_http_is_promoted_to_a_listener_and_answered_over_the_loop_last(mesh: Mesh) -> None:
    web = mesh.connect("web", routes=("fc",))
    web.batches.clear()
    name = web.ask(VIP, capture="f")
    assert f"p|{VIP}" in web.held[types.LISTENER]
    assert "h|shop|reviews|80" in web.held[types.CLUSTER]
    order = [names for _, names in web.batches if names]
    assert order[-1] == (name,)
    assert order[0] == ("h|shop|reviews|80",)
    assert VIP.encode() in web.bodies[types.ROUTE, "fc"]


def test_tcp_is_answered_by_the_backend_itself(mesh: Mesh) -> None:
    web = mesh.connect("web", routes=("fc",))
    web.ask("240.0.0.9:80", capture="f")
    assert "p|240.0.0.9:80" in web.held[types.LISTENER]
    assert "t|shop|ledger|80" in web.held[types.CLUSTER]


def test_where_nothing_is_a_listener_closes_so_that_retries_ask_nothing(mesh: Mesh) -> None:
    web = mesh.connect("web", routes=("fc",))
    web.ask("240.0.0.77:80", capture="f")
    assert "p|240.0.0.77:80" in web.held[types.LISTENER]


def test_the_name_and_its_virtual_host_go_after_the_bucket(mesh: Mesh) -> None:
    web = mesh.connect("web", routes=("fc",))
    name = web.ask(VIP, capture="f")
    mesh.edge.tick(mesh.clock.monotonic() + 66)
    web.drain()
    assert name not in web.held[types.CLUSTER]
    assert VIP.encode() not in web.bodies[types.ROUTE, "fc"]
    assert f"p|{VIP}" in web.held[types.LISTENER]


def test_a_start_is_given_what_was_learnt_and_asks_nothing(tmp_path: Path, mesh: Mesh) -> None:
    mesh.connect("web", routes=("fc",)).ask(VIP, capture="f")
    again = Mesh(tmp_path, POD, service("reviews", "7"))
    web = again.connect("web", routes=("fc",))
    assert f"p|{VIP}" in web.held[types.LISTENER]


def test_a_reconnect_shows_what_was_promoted_and_is_sent_nothing(
    tmp_path: Path, mesh: Mesh
) -> None:
    web = mesh.connect("web", routes=("fc",))
    web.ask(VIP, capture="f")
    web.ask("240.0.0.9:80", "2", capture="f")
    mesh.edge.tick(mesh.clock.monotonic() + 66)
    web.drain()
    restarted = Mesh(tmp_path, POD, service("reviews", "7"), service("ratings", "8"), TCP)
    again = restarted.connect("web", routes=("fc",), held=web)
    assert again.resources == 0
    assert again.held == web.held


def test_a_service_that_goes_leaves_a_listener_that_closes(mesh: Mesh) -> None:
    web = mesh.connect("web", routes=("fc",))
    web.ask(VIP, capture="f")
    before = web.held[types.LISTENER][f"p|{VIP}"]
    mesh.delete(service("reviews", "7"))
    web.drain()
    assert web.held[types.LISTENER][f"p|{VIP}"] != before
    assert "h|shop|reviews|80" not in web.held[types.CLUSTER]


def test_a_protocol_that_changes_keeps_the_old_cluster_while_connections_drain(mesh: Mesh) -> None:
    web = mesh.connect("web", routes=("fc",))
    web.ask(VIP, capture="f")
    mesh.apply(service("reviews", "7").replace("appProtocol: http", "appProtocol: tcp"))
    web.drain()
    assert {"h|shop|reviews|80", "t|shop|reviews|80"} <= web.held[types.CLUSTER].keys()
    mesh.edge.tick(mesh.clock.monotonic() + 8)
    web.drain()
    assert "h|shop|reviews|80" not in web.held[types.CLUSTER]
    assert "t|shop|reviews|80" in web.held[types.CLUSTER]


def test_routes_that_were_never_good_answer_503_at_the_promoted_listener_too(mesh: Mesh) -> None:
    mesh.apply(route("reviews", "poison"))
    web = mesh.connect("web", routes=("fc",))
    web.refuses = refuse("poison")  # type: ignore[assignment]
    web.ask(VIP, capture="f")
    web.ask("240.0.0.8:80", capture="f")
    table = "r|shop|reviews|80"
    for name in ("fc", table):
        body = web.bodies[types.ROUTE, name]
        assert b"Envoy rejected the routes" in body
        assert b"poison" not in body
    assert b"Envoy rejected" not in web.bodies[types.ROUTE, "r|shop|ratings|80"]
    assert "HTTPRoute shop/reviews" in [str(each.object) for each in mesh.verdicts.problems()]

    nacks = len(web.nacks)
    again = mesh.connect("web", routes=("fc",), held=web)
    again.refuses = refuse("poison")  # type: ignore[assignment]
    assert again.held[types.ROUTE][table] == web.held[types.ROUTE][table]
    mesh.apply(route("reviews", "poison-still"))
    again.drain()
    assert len(web.nacks) == nacks
    assert b"poison" not in again.bodies.get((types.ROUTE, table), b"")
    mesh.apply(route("reviews", "mended"))
    again.drain()
    assert b"/mended" in again.bodies[types.ROUTE, table]
    assert mesh.verdicts.problems() == ()
