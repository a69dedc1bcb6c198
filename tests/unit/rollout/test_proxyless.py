"""Streams of gRPC's own client at the edge: held by subscription, and nothing lost on the way."""

from pathlib import Path
from types import SimpleNamespace

from tests.fakes.delta_wire import fields
from tests.unit.rollout.mesh import Mesh, service
from xds.serve.sotw import StateBodies, StateSession
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SHORT
from xds.wire.request import Node, StateRequest

CLIENT = """
apiVersion: v1
kind: Pod
metadata:
  name: client
  namespace: shop
  annotations: {mesh.plait.dev/capture: proxyless}
spec: {serviceAccountName: client, containers: [{name: client}]}
status: {podIP: 127.0.9.1}
"""
SHIFT = """
apiVersion: mesh.plait.dev/v1alpha1
kind: TrafficShift
metadata: {name: one, namespace: shop}
spec:
  targetRef: {kind: Service, name: one}
  weights: [{name: two, weight: 1}]
"""
NAME = "one.shop.svc.cluster.local:80"
CLUSTER_1, CLUSTER_2 = "h|shop|one|80", "h|shop|two|80"


class Client:
    """A stream that ACKs what comes. ``got``: short type and names of each response."""

    def __init__(self, mesh: Mesh) -> None:
        principal = SimpleNamespace(account="client", expires_at=None)
        self.session = StateSession(mesh.edge, StateBodies(), principal=principal)  # type: ignore[arg-type]
        self.names: dict[str, tuple[str, ...]] = {}

    def ask(self, type_url: str, *names: str) -> None:
        node = None if self.names else Node("default/shop/client")
        self.names[type_url] = names
        self.session.receive(StateRequest(node, type_url, names))

    def take(self) -> list[tuple[str, list[str]]]:
        got = []
        while (outgoing := self.session.pull()) is not None:
            kind = outgoing.batch.type_url
            found = [dict(fields(body)) for n, body in fields(outgoing.batch.body) if n == 2]
            named = [dict(fields(each[2]))[1].decode() for each in found]
            got.append((SHORT[kind], named))
            self.session.receive(
                StateRequest(type_url=kind, names=self.names[kind], nonce=outgoing.nonce)
            )
        return got


def mesh(state: Path) -> Mesh:
    return Mesh(state, CLIENT, service("one", "1"), service("two", "2"))


def test_a_target_is_held_while_it_is_subscribed_to(tmp_path: Path) -> None:
    made = mesh(tmp_path)
    client = Client(made)
    client.ask(LISTENER, NAME)
    assert client.take() == [("lds", [NAME])]
    client.ask(ROUTE, NAME)
    client.ask(CLUSTER, CLUSTER_1)
    client.ask(ENDPOINT, "e|shop|one|80")
    assert client.take() == [
        ("cds", [CLUSTER_1]),
        ("eds", ["e|shop|one|80"]),
        ("rds", [NAME]),
    ]
    assert client.session.settled
    client.session.close()
    assert not made.edge.members


def test_a_shift_sends_routes_and_then_what_the_client_asks_for(tmp_path: Path) -> None:
    made = mesh(tmp_path)
    client = Client(made)
    client.ask(LISTENER, NAME)
    client.ask(ROUTE, NAME)
    client.ask(CLUSTER, CLUSTER_1)
    client.take()
    made.apply(SHIFT)
    assert client.take() == [("rds", [NAME])]
    client.ask(CLUSTER, CLUSTER_1, CLUSTER_2)
    assert client.take() == [("cds", [CLUSTER_1, CLUSTER_2])]
    client.ask(CLUSTER, CLUSTER_2)
    assert client.take() == []
    assert client.session.settled


def test_a_client_that_reconnects_behind_a_shift_keeps_its_cluster(tmp_path: Path) -> None:
    """Its calls use the old cluster until it has the routes and the cluster that replace it."""
    made = mesh(tmp_path)
    made.apply(SHIFT)
    client = Client(made)
    client.ask(ENDPOINT, "e|shop|one|80")
    client.ask(CLUSTER, CLUSTER_1)
    client.ask(ROUTE, NAME)
    client.take()
    client.ask(LISTENER, NAME)
    got = client.take()
    assert ("cds", [CLUSTER_1]) in got
    assert ("rds", [NAME]) in got
    assert all(kind != "cds" or CLUSTER_1 in names for kind, names in got)
    client.ask(CLUSTER, CLUSTER_1, CLUSTER_2)
    assert client.take() == [("cds", [CLUSTER_1, CLUSTER_2])]


def test_names_of_no_service_are_left_out(tmp_path: Path) -> None:
    client = Client(mesh(tmp_path))
    client.ask(LISTENER, NAME)
    client.take()
    client.ask(CLUSTER, "h|shop|none|80", "h|shop|one|9", "a|one.shop|1", "px", "n|text")
    assert client.take() == [("cds", [])]
