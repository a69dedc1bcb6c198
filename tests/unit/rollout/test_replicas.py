"""What a replica is given because another one was, it is given as if it were alone."""

from pathlib import Path

import pytest

from controlplane.rollout.member import Member
from tests.unit.rollout.mesh import BASE, Client, Mesh, service
from xds import types

REDIRECT = "  annotations: {{mesh.plait.dev/capture: redirect}}"
PROXY = "  annotations: {{mesh.plait.dev/app-address: 127.2.{place}.2}}"


def replica(place: int, capture: str = PROXY) -> str:
    """A pod of the workload ``shop/client``."""
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: client-{place}
  namespace: shop
  labels: {{app: client}}
{capture.format(place=place)}
  ownerReferences:
    - {{apiVersion: apps/v1, kind: StatefulSet, name: client, uid: u, controller: true}}
spec:
  serviceAccountName: web
  containers: [{{name: web, ports: [{{containerPort: 8080}}]}}]
status: {{podIP: 127.2.{place}.1, conditions: [{{type: Ready, status: "True"}}]}}
"""


SERVICES = (service("reviews", "7"), service("ratings", "8"), service("third", "6"))
SPLIT = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules: [{backendRefs: [{name: reviews, port: 80}, {name: third, port: 80}]}]
"""
TARGETS = {"proxy": ("reviews", "ratings"), "redirect": ("240.0.0.7:80", "240.0.0.8:80")}


@pytest.fixture(params=["proxy", "redirect"])
def capture(request: pytest.FixtureRequest) -> str:
    text: str = request.param
    return text


def mesh_of(home: Path, capture: str, places: tuple[int, ...]) -> Mesh:
    """One whose workload has learnt two destinations."""
    form = REDIRECT if capture == "redirect" else PROXY
    pods = [replica(place, form) for place in places]
    learning = Mesh(home, BASE, *SERVICES, *pods)
    first = connect(learning, capture, places[0])
    for target in TARGETS[capture]:
        first.ask(target, capture="f" if capture == "redirect" else "a")
    return Mesh(home, BASE, *SERVICES, *pods)


def connect(mesh: Mesh, capture: str, place: int) -> Client:
    return mesh.connect(f"client-{place}", routes=() if capture == "redirect" else ("px", "pxfc"))


def member(client: Client) -> Member:
    found = client.session.owner
    assert isinstance(found, Member)
    return found


def state(client: Client) -> object:
    """What it holds, its own listeners among it, and what the rollout knows of that."""
    known = member(client)
    return (
        client.held,
        {key: (wanted, str(node)) for key, (wanted, node) in known.holds.items()},
        {str(node): wanted for node, wanted in known.names.items()},
        {str(node): needs for node, needs in known.hosts.items()},
        {target: str(node) for target, node in known.destinations.items()},
    )


def test_a_second_replica_is_given_the_same_as_if_it_were_the_first(
    tmp_path: Path, capture: str
) -> None:
    mesh = mesh_of(tmp_path, capture, (1, 2, 3))
    first = connect(mesh, capture, 1)
    second = connect(mesh, capture, 2)
    [shared] = [key for key in member(second).holds if key[1].startswith("e|shop|reviews")]
    assert member(second).holds[shared] is member(first).holds[shared], "kept once for both"
    alone = connect(mesh_of(tmp_path, capture, (2,)), capture, 2)
    assert state(second) == state(alone)
    assert second.session.settled


def test_what_was_given_before_a_change_is_not_given_after_it(tmp_path: Path, capture: str) -> None:
    mesh = mesh_of(tmp_path, capture, (1, 2))
    connect(mesh, capture, 1)
    mesh.apply(SPLIT)
    second = connect(mesh, capture, 2)
    assert any("|third|" in name for name in second.held[types.CLUSTER])
    other = mesh_of(tmp_path, capture, (2,))
    other.apply(SPLIT)
    assert state(second) == state(connect(other, capture, 2))


def test_changes_reach_every_replica_and_one_that_leaves_takes_nothing_along(
    tmp_path: Path, capture: str
) -> None:
    mesh = mesh_of(tmp_path, capture, (1, 2, 3))
    clients = [connect(mesh, capture, place) for place in (1, 2, 3)]
    clients[0].session.close()
    mesh.apply(service("reviews", "9"))
    for each in clients[1:]:
        each.drain()
        [held] = [
            body
            for (kind, name), body in each.bodies.items()
            if kind == types.ENDPOINT and "reviews" in name
        ]
        assert b"127.1.9.1" in held
    late = connect(mesh, capture, 1)
    assert state(late) != state(clients[1])
    assert late.held[types.ENDPOINT] == clients[1].held[types.ENDPOINT]


def test_every_replica_drops_what_it_was_given_by_itself(tmp_path: Path, capture: str) -> None:
    mesh = mesh_of(tmp_path, capture, (1, 2))
    first, second = (connect(mesh, capture, place) for place in (1, 2))
    mesh.delete(SERVICES[0])
    first.drain()
    second.drain()
    assert first.held[types.ENDPOINT] == second.held[types.ENDPOINT]
    second.session.close()
    first.session.close()
    assert [node for node in mesh.graph.roots if mesh.graph.streams(node)] == []
