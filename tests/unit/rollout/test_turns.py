"""What concerns a whole fleet is done in steps: whoever else wants something waits milliseconds."""

from pathlib import Path

import pytest

from controlplane.graph import Change
from controlplane.sources.manifests import load
from controlplane.world.transaction import Put
from tests.fakes.clock import ManualClock
from tests.unit.rollout.mesh import BASE, Client, Mesh, service
from tests.unit.rollout.test_replicas import REDIRECT, SPLIT, replica
from tests.unit.rollout.test_verdicts import refuse, route
from xds import types

FLEET = 30


class Slow(ManualClock):
    """Between two looks at it goes a millisecond by, as when each stream takes as long."""

    def monotonic(self) -> float:
        self._monotonic += 0.001
        return self._monotonic


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    pods = [replica(place) for place in range(1, FLEET + 2)]
    services = (service("reviews", "7"), service("third", "6"))
    return Mesh(tmp_path, BASE, *services, *pods, clock=Slow())


def fleet_of(mesh: Mesh) -> list[Client]:
    fleet = [mesh.connect(f"client-{place}") for place in range(1, FLEET + 1)]
    for each in fleet:
        each.ask("reviews")
    return fleet


def changes(mesh: Mesh, text: str) -> list[Change]:
    """Of a text that is applied."""
    mesh.graph.apply([Put(taken.table, taken.key, taken.row) for taken in load(text).rows])
    return mesh.graph.settle()


def test_a_change_reaches_a_fleet_in_steps_and_streams_may_come_and_go(mesh: Mesh) -> None:
    fleet = fleet_of(mesh)
    steps = 0
    newcomer = None
    for _ in mesh.edge.publishing(changes(mesh, SPLIT)):
        steps += 1
        if steps == 1:
            fleet[-1].session.close()
            newcomer = mesh.connect(f"client-{FLEET + 1}")
    assert steps > FLEET / 10
    assert newcomer is not None
    for each in (*fleet[:-1], newcomer):
        each.drain()
        assert "h|shop|third|80" in each.held[types.CLUSTER]
        assert each.session.settled
    assert fleet[-1].session.pull() is None


def test_between_two_steps_a_stream_knows_all_of_a_change_or_nothing(tmp_path: Path) -> None:
    """A port becomes TCP: its listener changes with its routes, which alone would answer 500."""
    pods = [replica(place, REDIRECT) for place in range(1, FLEET + 1)]
    mesh = Mesh(tmp_path, BASE, service("reviews", "7"), *pods, clock=Slow())
    fleet = [mesh.connect(f"client-{place}", routes=()) for place in range(1, FLEET + 1)]
    seen: list[bytes] = []

    def note(_kind: str, _name: str, body: bytes) -> str:
        seen.append(body)
        return ""

    for each in fleet:
        each.ask("240.0.0.7:80", capture="f")
        each.refuses = note
    tcp = service("reviews", "7").replace("appProtocol: http", "appProtocol: tcp")
    steps = 0
    for _ in mesh.edge.publishing(changes(mesh, tcp)):
        steps += 1
        for each in fleet:
            each.drain()
    assert steps > FLEET / 10
    for each in fleet:
        each.drain()
        assert each.session.settled
    assert len(seen) > FLEET
    assert not [body for body in seen if b"leads nowhere" in body]


def test_a_verdict_reaches_a_fleet_by_and_by(mesh: Mesh) -> None:
    fleet = fleet_of(mesh)
    for each in fleet:
        each.ask("third")
        each.refuses = refuse("poison")  # type: ignore[assignment]
    mesh.apply(route("reviews", "poison"), route("third", "fine"))
    late = 0
    for _ in range(FLEET):
        for each in fleet:
            each.drain()
        late += sum(b"/fine" not in each.bodies[types.ROUTE, "px"] for each in fleet)
        mesh.edge.tick(mesh.clock.monotonic())
    assert late, "not all in one step"
    for each in fleet:
        each.drain()
        assert b"/fine" in each.bodies[types.ROUTE, "px"]
        assert b"poison" not in each.bodies[types.ROUTE, "px"]
        assert each.session.settled
