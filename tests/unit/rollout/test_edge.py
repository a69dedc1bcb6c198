"""Streams bound to the graph: what a sidecar holds, asks, remembers, and what it is spared."""

from pathlib import Path

import pytest

from tests.unit.rollout.mesh import BASE, Mesh, service
from xds import types
from xds.serve.limits import Denied

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: reviews, namespace: shop}}
spec:
  parentRefs: [{{group: "", kind: Service, name: reviews}}]
  rules:
    - matches: [{{path: {{type: Exact, value: "/{word}"}}}}]
      backendRefs: [{{name: reviews, port: 80}}]
"""


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path, BASE, service("reviews", "7"), service("ratings", "8"))


def test_a_sidecar_holds_what_is_fixed_and_no_other_service(mesh: Mesh) -> None:
    web = mesh.connect("web")
    assert {"proxy", "ploop", "in|8080"} <= web.held[types.LISTENER].keys()
    assert not [name for name in web.held[types.CLUSTER] if name.startswith("h|")]
    assert web.session.settled


def test_an_unknown_authority_is_promoted_with_its_cluster_before_the_answer(mesh: Mesh) -> None:
    web = mesh.connect("web")
    web.batches.clear()
    name = web.ask("reviews")
    order = [batch for batch in web.batches if batch[1]]
    kinds = [kind for kind, _ in order]
    assert kinds == [types.CLUSTER, types.ENDPOINT, types.ROUTE, types.CLUSTER]
    assert order[0][1] == ("h|shop|reviews|80",)
    assert order[-1][1] == (name,)
    assert b"reviews.shop" in web.bodies[types.ROUTE, "px"]


def test_all_names_of_a_service_are_one_virtual_host(mesh: Mesh) -> None:
    web = mesh.connect("web")
    web.ask("reviews")
    before = web.held[types.ROUTE]["px"]
    web.ask("Reviews.Shop:80")
    assert web.held[types.ROUTE]["px"] == before
    assert "a|Reviews.Shop:80|1" in web.held[types.CLUSTER]


def test_what_was_learnt_is_given_at_the_next_start_without_a_question(
    tmp_path: Path, mesh: Mesh
) -> None:
    mesh.connect("web").ask("reviews")
    again = Mesh(tmp_path, BASE, service("reviews", "7"))
    web = again.connect("web")
    assert "h|shop|reviews|80" in web.held[types.CLUSTER]
    assert b"reviews.shop" in web.bodies[types.ROUTE, "px"]


def test_a_name_that_leads_nowhere_is_answered_and_not_remembered(
    tmp_path: Path, mesh: Mesh
) -> None:
    web = mesh.connect("web")
    web.ask("nosuch")
    assert b"no Service 'nosuch'" in web.bodies[types.ROUTE, "px"]
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_service_that_appears_replaces_the_answer_without_a_question(mesh: Mesh) -> None:
    web = mesh.connect("web")
    web.ask("later")
    mesh.apply(service("later", "9"))
    web.drain()
    assert "h|shop|later|80" in web.held[types.CLUSTER]
    assert b"no Service" not in web.bodies[types.ROUTE, "px"]


def test_reconnecting_with_everything_sends_no_resource(tmp_path: Path, mesh: Mesh) -> None:
    web = mesh.connect("web")
    web.ask("reviews")
    web.ask("nosuch")
    web.session.close()
    again = mesh.connect("web", held=web)
    assert again.resources == 0
    restarted = Mesh(tmp_path, BASE, service("reviews", "7"), service("ratings", "8"))
    assert restarted.connect("web", held=web).resources == 0


def test_after_a_restart_exactly_what_changed_meanwhile_is_sent(tmp_path: Path, mesh: Mesh) -> None:
    web = mesh.connect("web")
    web.ask("reviews")
    restarted = Mesh(tmp_path, BASE, service("reviews", "7"), ROUTE.format(word="new"))
    again = restarted.connect("web", held=web)
    # The asked-for name still stands: both tables hold the virtual host.
    assert {name for _, names in again.batches for name in names} == {"px", "pxfc"}


def test_after_first_contact_is_over_a_change_is_one_table_and_a_restart_sends_nothing(
    tmp_path: Path, mesh: Mesh
) -> None:
    web = mesh.connect("web")
    web.ask("reviews")
    web.ask("ratings", "2")
    mesh.edge.tick(mesh.clock.monotonic() + 66)
    web.drain()
    assert b"reviews.shop" not in web.bodies[types.ROUTE, "pxfc"]
    assert b"reviews.shop" in web.bodies[types.ROUTE, "px"]
    manifests = (BASE, service("reviews", "7"), service("ratings", "8"))
    assert Mesh(tmp_path, *manifests).connect("web", held=web).batches == []
    again = Mesh(tmp_path, *manifests, ROUTE.format(word="new")).connect("web", held=web)
    assert {name for _, names in again.batches for name in names} == {"px"}


def test_a_question_asked_while_nobody_answered_is_answered_at_the_reconnect(
    tmp_path: Path, mesh: Mesh
) -> None:
    web = mesh.connect("web")
    web.ask("reviews")
    web.asked.add("a|ratings|2")
    restarted = Mesh(tmp_path, BASE, service("reviews", "7"), service("ratings", "8"))
    again = restarted.connect("web", held=web)
    assert "a|ratings|2" in again.held[types.CLUSTER]
    assert "h|shop|ratings|80" in again.held[types.CLUSTER]


def test_an_asked_for_name_is_taken_back_after_its_bucket(mesh: Mesh) -> None:
    web = mesh.connect("web")
    name = web.ask("reviews")
    mesh.edge.tick(mesh.clock.monotonic() + 64.9)
    web.drain()
    assert name in web.held[types.CLUSTER]
    mesh.edge.tick(mesh.clock.monotonic() + 65.1)
    web.drain()
    assert name not in web.held[types.CLUSTER]
    assert "h|shop|reviews|80" in web.held[types.CLUSTER]


def test_a_stream_without_a_pod_waits_then_ends_with_the_reason(mesh: Mesh) -> None:
    late = mesh.connect("late")
    assert late.resources == 0
    mesh.edge.tick(mesh.clock.monotonic() + 11)
    ending = late.session.ending
    assert ending is not None
    assert ending.code == "UNAVAILABLE"
    assert "shop/late" in ending.detail


def test_a_pod_that_comes_while_its_stream_waits_is_served(mesh: Mesh) -> None:
    late = mesh.connect("late")
    mesh.apply(BASE.replace("name: web\n  namespace", "name: late\n  namespace"))
    late.drain()
    assert "proxy" in late.held[types.LISTENER]


def test_a_token_of_another_account_is_refused(mesh: Mesh) -> None:
    with pytest.raises(Denied, match="account thief") as caught:
        mesh.connect("web", account="thief")
    assert caught.value.code == "PERMISSION_DENIED"


def test_a_deleted_pod_ends_its_stream(mesh: Mesh) -> None:
    web = mesh.connect("web")
    mesh.delete(BASE)
    assert web.session.ending is not None


def test_nothing_is_left_in_the_graph_after_the_last_stream(mesh: Mesh) -> None:
    web = mesh.connect("web")
    web.ask("reviews")
    web.session.close()
    assert not mesh.graph.roots
    assert mesh.edge.members == {}


def test_two_streams_of_one_scope_share_every_byte_of_a_destination(mesh: Mesh) -> None:
    web, other = mesh.connect("web"), mesh.connect("other")
    web.ask("reviews")
    other.ask("reviews")
    first = web.session.wishes(types.ROUTE)["px"]
    assert other.session.wishes(types.ROUTE)["px"] is first
