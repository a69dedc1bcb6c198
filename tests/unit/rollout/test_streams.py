"""Streams of one pod are bounded, and whoever comes newly gets in."""

from pathlib import Path

from controlplane.rollout.edge import APPLICATION_STREAMS, STREAMS
from tests.unit.rollout.mesh import BASE, Mesh
from tests.unit.rollout.test_proxyless import CLIENT
from tests.unit.rollout.test_proxyless import Client as Application
from xds import types


def test_the_oldest_stream_of_a_pod_ends(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE)
    first, *rest = [mesh.connect("web") for _ in range(STREAMS)]
    neighbour = mesh.connect("other")
    assert first.session.ending is None
    newest = mesh.connect("web")
    assert "proxy" in newest.held[types.LISTENER]
    ending = first.session.ending
    assert ending is not None
    assert ending.code == "RESOURCE_EXHAUSTED"
    assert "web.shop" in ending.detail
    assert "one sidecar" in ending.detail
    assert [each.session.ending for each in (*rest, newest, neighbour)] == [None] * (STREAMS + 1)
    first.session.close()
    rest[0].session.close()
    again = mesh.connect("web")
    assert [each.session.ending for each in (*rest[1:], newest, again)] == [None] * STREAMS


def test_a_burst_of_streams_leaves_the_newest(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE)
    every = [mesh.connect("web") for _ in range(3 * STREAMS)]
    assert [each.session.ending is None for each in every] == [
        number >= 2 * STREAMS for number in range(3 * STREAMS)
    ]


def test_streams_that_wait_for_their_pod_are_bounded_too(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE)
    every = [mesh.connect("late") for _ in range(STREAMS + 1)]
    assert [each.session.ending is None for each in every] == [False] + [True] * STREAMS


def test_an_application_may_have_a_stream_for_each_target(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, BASE, CLIENT)
    every = [Application(mesh) for _ in range(APPLICATION_STREAMS + 1)]
    for each in every:
        each.ask(types.LISTENER, "one.shop.svc.cluster.local:80")
    ended = [each.session.ending is not None for each in every]
    assert ended == [True] + [False] * APPLICATION_STREAMS
