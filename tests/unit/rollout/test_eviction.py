"""Destinations leave a sidecar when they are no longer used, and come again when they are."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.rollout.eviction import QUESTIONS, Kept
from controlplane.rollout.member import Member
from tests.unit.rollout.mesh import BASE, Client, Mesh, service
from xds import types
from xds.wire.metrics import Report

REVIEWS, RATINGS = "h|shop|reviews|80", "h|shop|ratings|80"
BUCKET_OVER, DRAINED = 66.0, 7.5


def config(idle: str = "5m", floor: int = 0, ceiling: int = 500) -> str:
    return f"""
apiVersion: mesh.plait.dev/v1alpha1
kind: MeshConfig
metadata: {{name: default, namespace: plait-system}}
spec: {{onDemand: {{idle: {idle}, floor: {floor}, ceiling: {ceiling}}}}}
"""


@pytest.fixture
def mesh(tmp_path: Path) -> Mesh:
    return Mesh(tmp_path, BASE, config(), service("reviews", "7"), service("ratings", "8"))


def member(client: Client) -> Member:
    found = client.session.owner
    assert isinstance(found, Member)
    return found


def later(mesh: Mesh, client: Client, seconds: float) -> None:
    mesh.clock.pass_time(timedelta(seconds=seconds))
    mesh.edge.tick(mesh.clock.monotonic())
    client.drain()


def report(mesh: Mesh, client: Client, **values: dict[str, float]) -> None:
    """The sidecar reports, and the control plane looks at it."""
    mesh.edge.eviction.reported(member(client).pod, Report(**values))  # type: ignore[arg-type]
    later(mesh, client, 0)


def held(client: Client) -> set[str]:
    return {name for name in client.held[types.CLUSTER] if name.startswith("h|")}


def in_routes(client: Client, service: str) -> bool:
    return f"{service}.shop".encode() in client.bodies[types.ROUTE, "px"]


def both_known(mesh: Mesh) -> Client:
    """A sidecar that has learnt both Services; first contact is over."""
    web = mesh.connect("web")
    web.ask("reviews")
    web.ask("ratings.shop", "2")
    later(mesh, web, BUCKET_OVER)
    return web


def test_an_idle_destination_goes_first_from_the_routes_then_its_cluster(mesh: Mesh) -> None:
    web = both_known(mesh)
    report(mesh, web, requests={REVIEWS: 1, RATINGS: 1})
    mesh.clock.pass_time(timedelta(seconds=299))
    report(mesh, web, requests={REVIEWS: 1, RATINGS: 2})
    assert in_routes(web, "reviews")
    mesh.clock.pass_time(timedelta(seconds=1))
    report(mesh, web, requests={REVIEWS: 1, RATINGS: 2})
    assert not in_routes(web, "reviews")
    assert in_routes(web, "ratings")
    assert held(web) == {REVIEWS, RATINGS}, "requests that were routed before"
    later(mesh, web, DRAINED)
    assert held(web) == {RATINGS}
    assert [name for name in web.held[types.ENDPOINT] if "reviews" in name] == []
    assert web.session.settled


def test_contact_again_at_once_promotes_again(mesh: Mesh) -> None:
    web = both_known(mesh)
    mesh.edge.eviction.evict(member(web), ["reviews.shop:80"])
    web.drain()
    assert not in_routes(web, "reviews")
    name = web.ask("reviews", "3")
    assert in_routes(web, "reviews")
    assert name in web.held[types.CLUSTER]
    later(mesh, web, DRAINED)
    assert held(web) == {REVIEWS, RATINGS}, "the cluster that was to go is needed again"


def test_no_eviction_before_the_bucket_of_the_last_question_is_over(mesh: Mesh) -> None:
    mesh.apply(config("1s"))
    web = mesh.connect("web")
    web.ask("reviews")
    for _ in range(6):
        later(mesh, web, 10)
        report(mesh, web, requests={REVIEWS: 1})
        assert in_routes(web, "reviews")
    later(mesh, web, 6)
    report(mesh, web, requests={REVIEWS: 1})
    assert not in_routes(web, "reviews")


def test_without_reports_nothing_is_evicted(mesh: Mesh) -> None:
    web = both_known(mesh)
    later(mesh, web, 100_000)
    assert held(web) == {REVIEWS, RATINGS}


def test_open_requests_are_use(mesh: Mesh) -> None:
    web = both_known(mesh)
    for _ in range(10):
        mesh.clock.pass_time(timedelta(seconds=200))
        report(mesh, web, requests={REVIEWS: 1}, active_requests={REVIEWS: 1})
    assert in_routes(web, "reviews")
    assert not in_routes(web, "ratings")


def test_floor_and_ceiling(mesh: Mesh) -> None:
    mesh.apply(config("5m", floor=1, ceiling=2))
    mesh.apply(service("details", "9"))
    web = both_known(mesh)
    web.ask("details", "3")
    later(mesh, web, BUCKET_OVER)
    report(mesh, web, requests={RATINGS: 1})
    assert not in_routes(web, "reviews"), "the oldest of three is above the ceiling"
    assert in_routes(web, "ratings")
    assert in_routes(web, "details")
    mesh.clock.pass_time(timedelta(seconds=1000))
    report(mesh, web, requests={RATINGS: 1})
    assert [state.name for state in mesh.edge.eviction.destinations(member(web))] == [
        "ratings.shop:80"
    ]


def test_all_names_of_a_service_go_together(mesh: Mesh) -> None:
    web = both_known(mesh)
    web.ask("reviews.shop.svc.cluster.local", "3")
    web.ask("nosuch", "3")
    later(mesh, web, BUCKET_OVER)
    states = {state.name: state for state in mesh.edge.eviction.destinations(member(web))}
    assert states.keys() == {"reviews.shop:80", "ratings.shop:80", "nosuch"}
    assert set(states["reviews.shop:80"].targets) == {"reviews", "reviews.shop.svc.cluster.local"}
    done = mesh.edge.eviction.evict(member(web), ["reviews.shop", "nosuch", "other"])
    assert (done.evicted, done.unknown) == (("reviews.shop:80", "nosuch"), ("other",))
    web.drain()
    assert list(member(web).promotions.targets) == ["ratings.shop"]


def test_evicted_stays_evicted_at_a_reconnect_and_after_a_restart(
    tmp_path: Path, mesh: Mesh
) -> None:
    web = both_known(mesh)
    web.ask("nosuch", "2")
    later(mesh, web, BUCKET_OVER)
    mesh.edge.eviction.evict(member(web), ["reviews", "nosuch"])
    later(mesh, web, DRAINED)
    web.session.close()
    again = mesh.connect("web", held=web)
    assert again.resources == 0
    assert list(member(again).promotions.targets) == ["ratings.shop:80", "ratings.shop"]
    restarted = Mesh(tmp_path, BASE, service("reviews", "7"), service("ratings", "8"))
    third = restarted.connect("web", held=web)
    assert third.resources == 0
    assert "reviews" not in member(third).promotions.targets
    # Asked for meanwhile, under a new name: the mark is gone, here and after the next restart.
    third.ask("reviews", "9")
    assert in_routes(third, "reviews")
    later(restarted, third, BUCKET_OVER)
    restarted = Mesh(tmp_path, BASE, service("reviews", "7"), service("ratings", "8"))
    fourth = restarted.connect("web", held=third)
    assert "reviews" in member(fourth).promotions.targets
    assert fourth.resources == 0


def test_a_question_asked_while_nobody_answered_undoes_the_mark(tmp_path: Path, mesh: Mesh) -> None:
    web = both_known(mesh)
    mesh.edge.eviction.evict(member(web), ["reviews"])
    later(mesh, web, DRAINED)
    web.asked.add("a|reviews|3")
    restarted = Mesh(tmp_path, BASE, service("reviews", "7"), service("ratings", "8"))
    again = restarted.connect("web", held=web)
    assert "a|reviews|3" in again.held[types.CLUSTER]
    assert in_routes(again, "reviews")


def test_an_evicted_destination_stays_in_its_workloads_set(tmp_path: Path, mesh: Mesh) -> None:
    """Other pods of the workload start with it; the pod itself, started anew, does not."""
    other_pod = BASE.replace("name: other\n", "name: web-2\n").replace("other", "web")
    mesh.apply(other_pod)
    web = both_known(mesh)
    mesh.edge.eviction.evict(member(web), ["reviews"])
    assert held(mesh.connect("web-2")) == {REVIEWS, RATINGS}
    web.session.close()
    assert held(mesh.connect("web")) == {RATINGS}


def test_by_hand_what_was_just_asked_for_is_kept_with_a_reason(mesh: Mesh) -> None:
    web = mesh.connect("web")
    web.ask("reviews")
    done = mesh.edge.eviction.evict(member(web), ["reviews"])
    assert done.evicted == ()
    [kept] = done.kept
    assert kept.name == "reviews.shop:80"
    assert "just now" in kept.reason


def test_by_hand_idle_ones(mesh: Mesh) -> None:
    web = both_known(mesh)
    assert mesh.edge.eviction.evict(member(web), (), idle=0).evicted == (), "nothing is known"
    report(mesh, web, requests={REVIEWS: 1})
    mesh.clock.pass_time(timedelta(seconds=60))
    report(mesh, web, requests={REVIEWS: 2})
    done = mesh.edge.eviction.evict(member(web), (), idle=60)
    assert done.evicted == ("ratings.shop:80",)


def test_a_sidecar_that_asked_for_too_many_names_keeps_what_it_has(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    web = both_known(mesh)
    assert member(web).promotions.questions == 2
    member(web).promotions.questions = QUESTIONS
    for _ in range(3):
        mesh.clock.pass_time(timedelta(seconds=10_000))
        report(mesh, web, memory=7_000_000)  # type: ignore[arg-type]
    assert held(web) == {REVIEWS, RATINGS}
    assert [each.getMessage() for each in caplog.records if "too many" in each.getMessage()] == [
        "a sidecar has asked for too many names and keeps what it has; restart it"
    ]
    [kept] = mesh.edge.eviction.evict(member(web), ["reviews"]).kept
    assert kept == Kept(
        "reviews.shop:80", "the sidecar has asked for 5,000 names; restart it instead"
    )
    assert mesh.edge.eviction.memory(member(web).pod) == 7_000_000


def test_a_cluster_of_two_destinations_is_used_for_both(mesh: Mesh) -> None:
    mesh.apply(
        """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ratings, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: ratings}]
  rules:
    - backendRefs: [{name: reviews, port: 80}]
"""
    )
    web = both_known(mesh)
    report(mesh, web, requests={REVIEWS: 1})
    mesh.clock.pass_time(timedelta(seconds=1000))
    report(mesh, web, requests={REVIEWS: 2})
    assert in_routes(web, "ratings")
    assert in_routes(web, "reviews")
    mesh.edge.eviction.evict(member(web), ["ratings"])
    later(mesh, web, DRAINED)
    assert REVIEWS in held(web), "the other one needs it"


def test_sidecars_that_are_gone_are_forgotten(mesh: Mesh) -> None:
    web = both_known(mesh)
    report(mesh, web, memory=7)  # type: ignore[arg-type]
    pod = member(web).pod
    web.session.close()
    mesh.edge.sweep()
    assert mesh.edge.eviction.memory(pod) is None
