"""What one stream does, or one defect, costs no other stream: failures, hostile clients, memory."""

from dataclasses import replace
from pathlib import Path

import pytest

from controlplane.rollout.joined import fragment
from controlplane.rollout.member import COMPOSITIONS
from controlplane.sources.manifests import load
from controlplane.world.transaction import Put
from tests.unit.rollout.mesh import BASE, Mesh, service
from tests.unit.rollout.test_verdicts import refuse, route
from xds import types
from xds.serve.limits import Denied
from xds.wire.request import DeltaRequest

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  annotations: {{mesh.plait.dev/app-address: {app}}}
spec:
  serviceAccountName: web
  containers: [{{name: web, ports: [{ports}]}}]
status: {{podIP: {address}, conditions: [{{type: Ready, status: "True"}}]}}
"""


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path, BASE, service("reviews", "7"), service("ratings", "8"))


def broken(mesh: Mesh, name: str) -> None:
    """A row that our queries fail on, as after a defect of the intake."""
    (taken,) = [each for each in load(service(name, "7")).rows if each.table.name == "Service"]
    row = replace(taken.row, ports=("no port",))
    mesh.graph.apply([Put(taken.table, taken.key, row)])
    mesh.edge.publish(mesh.graph.settle())


def test_a_query_that_fails_costs_its_destination_alone(mesh: Mesh) -> None:
    broken(mesh, "reviews")
    web = mesh.connect("web")
    name = web.ask("reviews")
    assert mesh.graph.failed
    assert name in web.held[types.CLUSTER], "the request that waits gets an answer"
    web.ask("ratings")
    assert "h|shop|ratings|80" in web.held[types.CLUSTER]
    assert web.session.ending is None
    again = mesh.connect("web", held=web)
    assert again.session.ending is None
    mesh.apply(service("reviews", "7"))
    again.drain()
    assert "h|shop|reviews|80" in again.held[types.CLUSTER]


def test_a_pod_that_moves_and_closes_a_port_keeps_no_listener_of_it(mesh: Mesh) -> None:
    one, two = "{containerPort: 8080}", "{containerPort: 8080}, {containerPort: 9090}"
    mesh.apply(POD.format(app="127.0.1.2", address="127.0.1.1", ports=two))
    web = mesh.connect("web")
    assert {"in|8080", "in|9090"} <= web.held[types.LISTENER].keys()
    mesh.apply(POD.format(app="127.0.1.2", address="127.0.1.9", ports=one))
    web.drain()
    assert "in|8080" in web.held[types.LISTENER]
    assert "in|9090" not in web.held[types.LISTENER]
    assert not [name for name in web.held[types.CLUSTER] if name.startswith("in|9090")]


def test_a_pod_that_captures_another_way_reconnects(mesh: Mesh) -> None:
    web = mesh.connect("web")
    text = POD.format(app="127.0.1.2", address="127.0.1.1", ports="{containerPort: 8080}")
    mesh.apply(text.replace("annotations: {mesh.plait.dev/app-address: 127.0.1.2}", ""))
    assert web.session.ending is not None
    assert web.session.ending.code == "UNAVAILABLE"


def test_types_of_a_client_that_waits_for_its_pod_do_no_harm(mesh: Mesh) -> None:
    late = mesh.connect("late")
    for number in range(12):
        late.session.receive(DeltaRequest(type_url=f"type/{number}", subscribe=("x",)))
    with pytest.raises(Denied):
        late.session.receive(DeltaRequest(type_url="type/12", subscribe=("x",)))
    mesh.apply(BASE.replace("name: web\n  namespace", "name: late\n  namespace"))
    late.drain()
    assert "proxy" in late.held[types.LISTENER]


def test_names_asked_before_the_pod_is_known_are_bounded(mesh: Mesh) -> None:
    late = mesh.connect("late")
    first, second = (tuple(f"a|{n}|{turn}" for n in range(30_000)) for turn in range(2))
    late.session.receive(DeltaRequest(type_url=types.CLUSTER, subscribe=first))
    late.session.receive(DeltaRequest(type_url=types.CLUSTER, unsubscribe=first))
    with pytest.raises(Denied) as caught:
        late.session.receive(DeltaRequest(type_url=types.CLUSTER, subscribe=second))
    assert caught.value.code == "RESOURCE_EXHAUSTED"


def test_joined_tables_are_remembered_until_they_are_accepted(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(12)]
    mesh = Mesh(tmp_path, BASE, *(service(name, str(20 + n)) for n, name in enumerate(names)))
    web = mesh.connect("web")
    for name in names:
        web.ask(name)
    (member,) = next(iter(mesh.edge.members.values()))
    assert {name for name, _ in member.compositions} == {"px", "pxfc"}
    assert len(member.compositions) <= 4


def test_a_table_all_of_whose_hosts_are_bad_is_bisected_to_the_end(tmp_path: Path) -> None:
    count = COMPOSITIONS + 10
    names = [f"s{number}" for number in range(count)]
    mesh = Mesh(tmp_path, BASE, *(service(name, str(20 + n)) for n, name in enumerate(names)))
    web = mesh.connect("web")
    for name in names:
        web.ask(name)
    web.refuses = refuse("poison")  # type: ignore[assignment]
    mesh.apply(*(route(name, "poison") for name in names))
    web.drain()
    assert len(mesh.verdicts.rejected()) == count
    assert web.session.settled
    (member,) = next(iter(mesh.edge.members.values()))
    assert len(member.compositions) <= 4
    assert member.trials == {}


def test_what_stands_in_for_a_virtual_host_is_never_its_last_good_form(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE, service("two", "9"), route("two", "poison"))
    web = mesh.connect("web")
    web.refuses = refuse("poison")  # type: ignore[assignment]
    web.ask("two")
    assert b"Envoy rejected the routes" in web.bodies[types.ROUTE, "px"]
    (member,) = next(iter(mesh.edge.members.values()))
    (host,) = member.hosts
    assert mesh.verdicts.host(member, host, fragment(host.value)) is None
