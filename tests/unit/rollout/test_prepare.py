"""A sidecar whose workload is known finds everything evaluated."""

from pathlib import Path

from controlplane.rollout.learnt_lines import Owner, Reference
from controlplane.rollout.prepare import prepare
from tests.unit.rollout.mesh import BASE, Mesh, service


async def test_a_stream_of_a_known_workload_runs_no_query(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE, service("reviews", "7"))
    mesh.learnt.learn(Owner("shop", "web"), Reference("shop", "reviews", 80))
    assert await prepare(mesh.graph, mesh.learnt, mesh.clock.monotonic) == 1
    before = mesh.graph.metrics().runs
    client = mesh.connect("web")
    assert mesh.graph.metrics().runs == before
    assert "h|shop|reviews|80" in client.held["type.googleapis.com/envoy.config.cluster.v3.Cluster"]


async def test_nothing_is_evaluated_for_pods_that_have_learnt_nothing(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE, service("reviews", "7"))
    assert await prepare(mesh.graph, mesh.learnt, mesh.clock.monotonic) == 0


async def test_preparing_ends_when_its_time_is_over(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE, service("reviews", "7"))
    mesh.learnt.learn(Owner("shop", "web"), Reference("shop", "reviews", 80))
    assert await prepare(mesh.graph, mesh.learnt, mesh.clock.monotonic, budget=0.0) == 0
