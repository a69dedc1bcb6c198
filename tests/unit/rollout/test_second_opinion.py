"""One sidecar's rejection is tried by a second one before a version is withheld from all."""

from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.rollout.verdicts import LONGEST, PATIENCE
from tests.unit.rollout.mesh import BASE, Client, Mesh, service
from tests.unit.rollout.test_verdicts import policy, refuse, route
from xds import types
from xds.serve.lanes import TRIALS, Flight
from xds.wire.request import DeltaRequest

CLUSTER = "h|shop|one|80"
TEXT = "not with me"


def pod(name: str, address: str, app: str) -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
  labels: {{app: {app}}}
  annotations: {{mesh.plait.dev/app-address: 127.0.{address}.2}}
spec:
  serviceAccountName: web
  containers: [{{name: app, ports: [{{containerPort: 8080}}]}}]
status: {{podIP: 127.0.{address}.1, conditions: [{{type: Ready, status: "True"}}]}}
"""


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    more = (pod("third", "3", "third"), pod("web-2", "4", "web"), pod("web-3", "5", "web"))
    return Mesh(tmp_path, BASE, *more, service("one", "11"), service("two", "12"))


def joined(mesh: Mesh, *names: str) -> list[Client]:
    """Sidecars that have used both services."""
    clients = [mesh.connect(name) for name in names]
    for client in clients:
        client.ask("one")
        client.ask("two")
    return clients


def no_cluster(kind: str, name: str, body: bytes) -> str:
    return TEXT if (kind, name) == (types.CLUSTER, CLUSTER) else ""


def version(client: Client) -> str:
    return client.held[types.CLUSTER][CLUSTER]


def trial_of(client: Client) -> Flight | None:
    """The next trial that is sent to a client; what comes before is taken."""
    while (flight := client.session.pull()) is not None and not flight.trial:
        client.take(flight)
    return flight


def judge(*clients: Client) -> tuple[Client, Flight]:
    """The one of them that is sent a trial, and what."""
    sent = [(each, flight) for each in clients if (flight := trial_of(each)) is not None]
    assert len(sent) == 1
    return sent[0]


def blamed(mesh: Mesh) -> list[str]:
    return [record.pod for record in mesh.verdicts.rejected()]


def time_passes(mesh: Mesh, seconds: float) -> None:
    """The control plane looks at its clock now, and again after so many seconds."""
    mesh.edge.tick(mesh.clock.monotonic())
    mesh.clock.pass_time(timedelta(seconds=seconds))
    mesh.edge.tick(mesh.clock.monotonic())


def doubtful(mesh: Mesh, *names: str) -> tuple[list[Client], str]:
    """Sidecars, the first of which has just refused a cluster; and the version before."""
    clients = joined(mesh, *names)
    clients[0].refuses = no_cluster
    old = version(clients[0])
    mesh.apply(policy("one", 9))
    clients[0].drain()
    assert blamed(mesh) == [f"{names[0]}.shop"]
    return clients, old


def test_a_rejection_that_nobody_shares_stays_with_its_sidecar(mesh: Mesh) -> None:
    (web, other, third), old = doubtful(mesh, "web", "other", "third")
    asked, trial = judge(other, third)
    waiting = third if asked is other else other
    assert version(waiting) == old
    asked.take(trial)
    for each in (other, third):
        each.drain()
        assert version(each) != old
        assert each.session.settled
    web.drain()
    assert version(web) == old
    assert blamed(mesh) == ["web.shop"]
    (problem,) = mesh.verdicts.problems()
    assert TEXT in problem.message
    assert "web.shop" in problem.remedy
    (late,) = joined(mesh, "web-2")
    assert version(late) == version(other)
    web.session.close()
    assert mesh.verdicts.problems() == ()


def test_what_two_workloads_reject_nobody_else_is_sent(mesh: Mesh) -> None:
    (web, other, third), old = doubtful(mesh, "web", "other", "third")
    asked, trial = judge(other, third)
    asked.refuses = no_cluster
    asked.take(trial)
    for each in (web, other, third):
        each.drain()
        assert version(each) == old
    assert len(other.nacks) + len(third.nacks) == 1
    time_passes(mesh, 2 * PATIENCE)
    assert trial_of(other) is None
    assert trial_of(third) is None
    web.session.close()
    assert len(mesh.verdicts.problems()) == 1
    mesh.apply(policy("one", 8))
    asked.refuses = lambda *_: ""
    asked.drain()
    assert version(asked) != old
    assert mesh.verdicts.problems() == ()


def test_where_nobody_else_holds_it_the_verdict_stands_until_somebody_does(mesh: Mesh) -> None:
    (web,), old = doubtful(mesh, "web")
    time_passes(mesh, PATIENCE)
    (other,) = joined(mesh, "other")
    assert version(other) == old
    mesh.edge.tick(mesh.clock.monotonic())
    other.drain()
    assert version(other) != old
    assert version(web) == old
    assert blamed(mesh) == ["web.shop"]


def test_who_does_not_answer_is_replaced(mesh: Mesh) -> None:
    (web, other, third), old = doubtful(mesh, "web", "other", "third")
    silent, _ = judge(other, third)
    asked = third if silent is other else other
    time_passes(mesh, PATIENCE - 1)
    assert trial_of(asked) is None
    time_passes(mesh, 2)
    asked.drain()
    assert version(asked) != old
    assert version(web) == old


def test_the_verdict_stands_when_nobody_answers(mesh: Mesh) -> None:
    (_, other), old = doubtful(mesh, "web", "other")
    _, trial = judge(other)
    for _ in range(4):
        time_passes(mesh, PATIENCE)
    assert trial_of(other) is None, "it is asked once"
    assert len(mesh.verdicts.problems()) == 1
    other.take(trial)
    assert version(other) != old, "a late answer counts too"
    assert blamed(mesh) == ["web.shop"]


def test_who_leaves_without_an_answer_is_replaced(mesh: Mesh) -> None:
    (web, other, third), old = doubtful(mesh, "web", "other", "third")
    gone, _ = judge(other, third)
    asked = third if gone is other else other
    gone.session.close()
    asked.drain()
    assert version(asked) != old
    assert version(web) == old


def test_who_rejects_and_leaves_takes_the_verdict_along(mesh: Mesh) -> None:
    (web, other, third), old = doubtful(mesh, "web", "other", "third")
    web.session.close()
    assert mesh.verdicts.problems() == ()
    asked, trial = judge(other, third)
    asked.take(trial)
    for each in (other, third):
        each.drain()
        assert version(each) != old


def test_a_rejection_after_that_is_a_first_one_again(mesh: Mesh) -> None:
    (web, other, third), old = doubtful(mesh, "web", "other", "third")
    web.session.close()
    asked, trial = judge(other, third)
    asked.refuses = no_cluster
    asked.take(trial)
    again = third if asked is other else other
    again.drain()
    assert version(again) != old
    assert version(asked) == old
    assert blamed(mesh) == [asked.node.split("/")[2] + ".shop"]


def test_another_workload_is_asked_before_another_pod(mesh: Mesh) -> None:
    (_, kin, other), _ = doubtful(mesh, "web", "web-2", "other")
    asked, _ = judge(kin, other)
    assert asked is other


def test_another_pod_is_asked_where_one_workload_alone_holds_it(mesh: Mesh) -> None:
    (web, twin, kin), old = doubtful(mesh, "web", "web", "web-2")
    asked, trial = judge(twin, kin)
    assert asked is kin, "not a second stream of the same pod"
    asked.take(trial)
    assert version(kin) != old
    assert version(web) == old


def test_two_pods_of_one_workload_keep_nothing_from_another(mesh: Mesh) -> None:
    (web, kin, more), old = doubtful(mesh, "web", "web-2", "web-3")
    asked, trial = judge(kin, more)
    asked.refuses = no_cluster
    asked.take(trial)
    rest = more if asked is kin else kin
    time_passes(mesh, 2 * PATIENCE)
    assert trial_of(rest) is None, "no third of the same workload is tried"
    assert version(rest) == old
    (other,) = joined(mesh, "other")
    mesh.edge.tick(mesh.clock.monotonic())
    for each in (other, rest):
        each.drain()
        assert version(each) != old
    assert version(web) == version(asked) == old
    assert len(mesh.verdicts.problems()) == 1


def test_when_the_first_of_two_pods_leaves_the_other_still_rejects(mesh: Mesh) -> None:
    (web, kin), old = doubtful(mesh, "web", "web-2")
    kin.refuses = no_cluster
    kin.drain()
    web.session.close()
    assert len(mesh.verdicts.problems()) == 1
    assert version(kin) == old
    kin.session.close()
    assert mesh.verdicts.problems() == ()
    (other,) = joined(mesh, "other")
    assert version(other) != old


def test_a_hostile_sidecar_keeps_no_route_from_the_others(mesh: Mesh) -> None:
    """Nor, later, from itself: it goes on without the one that it refuses."""
    web, other, third = joined(mesh, "web", "other", "third")
    web.refuses = refuse("poison")  # type: ignore[assignment]
    mesh.apply(route("one", "poison"), route("two", "fine"))
    for _ in range(3):
        for each in (web, other, third):
            each.drain()
    for each in (other, third):
        assert b"poison" in each.bodies[types.ROUTE, "px"]
        assert b"/fine" in each.bodies[types.ROUTE, "px"]
        assert each.nacks == []
    assert b"/fine" in web.bodies[types.ROUTE, "px"]
    assert blamed(mesh) == ["web.shop"]
    refused = len(web.nacks)
    mesh.apply(route("two", "later"))
    for _ in range(2):
        for each in (web, other, third):
            each.drain()
    for each in (web, other, third):
        assert b"/later" in each.bodies[types.ROUTE, "px"]
        assert each.session.settled
    assert b"one.shop" in web.bodies[types.ROUTE, "px"]
    assert b"poison" not in web.bodies[types.ROUTE, "px"]
    assert len(web.nacks) == refused
    assert blamed(mesh) == ["web.shop"]


def test_a_bad_route_hits_two_sidecars_and_no_third(mesh: Mesh) -> None:
    web, other, third = clients = joined(mesh, "web", "other", "third")
    for each in clients:
        each.refuses = refuse("poison")  # type: ignore[assignment]
    mesh.apply(route("one", "poison"), route("two", "fine"))
    for _ in range(3):
        for each in clients:
            each.drain()
    assert sorted(len(each.nacks) > 0 for each in clients) == [False, True, True]
    for each in (web, other, third):
        assert b"/fine" in each.bodies[types.ROUTE, "px"]
        assert b"poison" not in each.bodies[types.ROUTE, "px"]


def test_what_has_changed_meanwhile_is_not_tried_any_more(mesh: Mesh) -> None:
    (_, other), old = doubtful(mesh, "web", "other")
    mesh.apply(policy("one", 8))
    other.batches.clear()
    other.drain()
    assert [CLUSTER in names for _, names in other.batches].count(True) == 1
    assert version(other) != old
    assert mesh.verdicts.problems() == ()


def test_a_trial_under_way_does_not_outlive_a_newer_version(mesh: Mesh) -> None:
    (_, other, third), old = doubtful(mesh, "web", "other", "third")
    asked, trial = judge(other, third)
    mesh.apply(policy("one", 8))
    asked.take(trial)
    for each in (other, third):
        each.drain()
    assert version(other) == version(third) != old
    assert asked.session.settled


def test_a_batch_with_a_known_bad_part_blames_none_of_its_others(mesh: Mesh) -> None:
    """Sent before anyone had refused anything, answered after."""
    web, other = joined(mesh, "web", "other")
    web.refuses = other.refuses = no_cluster
    old = dict(other.held[types.CLUSTER])
    mesh.apply(policy("one", 9))
    early = other.session.pull()
    assert early is not None
    web.drain()
    mesh.apply(policy("two", 9))
    other.take(early)
    for _ in range(3):
        other.drain()
        web.drain()
    assert other.held[types.CLUSTER]["h|shop|two|80"] != old["h|shop|two|80"]
    assert version(other) == old[CLUSTER]
    assert [record.name for record in mesh.verdicts.rejected()] == [CLUSTER]


def test_a_bisection_ends_however_it_comes_forward(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(16)]
    mesh = Mesh(tmp_path, BASE, *(service(name, str(20 + n)) for n, name in enumerate(names)))
    web, other = mesh.connect("web"), mesh.connect("other")
    for client in (web, other):
        for name in names:
            client.ask(name)
    before = dict(other.held[types.CLUSTER])
    web.refuses = lambda kind, name, body: "no" if kind == types.CLUSTER else ""
    mesh.apply(*(policy(name, 9) for name in names))
    spent = 0.0
    while spent <= LONGEST:
        flight = web.session.pull()
        assert flight is not None
        web.take(flight)
        time_passes(mesh, PATIENCE / 2)
        spent += PATIENCE / 2
    other.drain()
    held = other.held[types.CLUSTER]
    assert all(held[f"h|shop|{name}|80"] != before[f"h|shop|{name}|80"] for name in names)


def test_halves_of_a_batch_are_in_flight_a_few_at_a_time(tmp_path: Path) -> None:
    names = [f"s{number}" for number in range(40)]
    mesh = Mesh(tmp_path, BASE, *(service(name, str(20 + n)) for n, name in enumerate(names)))
    web = mesh.connect("web")
    for name in names:
        web.ask(name)
    web.refuses = lambda kind, name, body: "no" if kind == types.CLUSTER else ""
    mesh.apply(*(policy(name, 9) for name in names))
    flights = [web.session.pull()]
    most = 0
    while flights := [each for each in flights if each is not None]:
        most = max(most, sum(each.trial for each in flights))
        web.take(flights.pop(0))
        while (more := web.session.pull()) is not None:
            flights.append(more)
    assert most == TRIALS
    assert len(mesh.verdicts.rejected()) == len(names)
    assert web.session.settled


def test_who_accepts_after_all_is_blamed_no_more(mesh: Mesh) -> None:
    (web, other), old = doubtful(mesh, "web", "other")
    other.drain()
    assert blamed(mesh) == ["web.shop"]
    web.refuses = lambda *_: ""
    web.session.receive(DeltaRequest(type_url=types.CLUSTER, subscribe=(CLUSTER,)))
    web.drain()
    assert version(web) == version(other) != old
    assert mesh.verdicts.problems() == ()
