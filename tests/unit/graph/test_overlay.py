"""Plans and replays by example; that they equal applying is a property of random histories."""

import pytest

from controlplane.graph import Failed, Graph, Overlay, Stale
from controlplane.world.log import Forgotten, Log
from controlplane.world.transaction import Delete, Put
from tests.unit.graph.shop import (
    LEDGER,
    ROUTES,
    SERVICES,
    SETTINGS,
    WEB,
    Ref,
    Route,
    Service,
    cluster,
    routes,
)
from tests.unit.graph.toy import PROGRAMS, Step, node


def loaded(services: int = 20) -> Graph:
    graph = Graph()
    refs = [Ref("shop", f"s{number}") for number in range(services)]
    graph.apply([Put(SERVICES, ref, Service(80)) for ref in refs])
    for ref in refs:
        graph.subscribe("a", cluster, ref)
        graph.subscribe("a", routes, ref)
    graph.settle()
    return graph


def test_a_plan_runs_what_the_change_reaches_and_no_more(runs: list[str]) -> None:
    graph = loaded()
    target = Ref("shop", "s7")
    runs.clear()
    overlay = Overlay(graph, [Put(ROUTES, Ref("shop", "r"), Route(target, 5))])
    (change,) = overlay.plan()
    assert (change.node, change.old, change.new) == (graph.node(routes, target), b"", b"5")
    assert set(change.streams) == {"a"}
    assert runs == ["routes"]
    assert overlay.runs == 1
    assert graph.read(routes, target) == b""
    assert runs == ["routes"], "the live value stands"


def test_a_plan_is_cut_off_like_a_settle(runs: list[str]) -> None:
    graph = loaded()
    runs.clear()
    overlay = Overlay(graph, [Put(SERVICES, Ref("shop", "s7"), Service(80, note="annotated"))])
    assert overlay.plan() == []
    assert runs == ["service_port"]


def test_an_overlay_computes_what_the_live_graph_never_did() -> None:
    graph = Graph()
    overlay = Overlay(graph, [Put(SERVICES, WEB, Service(81)), Put(SETTINGS, "tail", "!")])
    assert overlay.read(cluster, WEB) == b"web:81!"
    assert overlay.read(cluster, LEDGER) is None
    assert graph.metrics().nodes == 0


def test_a_plan_tells_what_would_fail() -> None:
    graph = Graph()
    graph.apply([Put(PROGRAMS, "b", (Step("data", "x"),))])
    root = graph.subscribe("a", node, "b")
    graph.settle()
    overlay = Overlay(graph, [Put(PROGRAMS, "b", (Step("call", "b"),))])
    assert overlay.plan() == []
    assert set(overlay.failed) == {root}
    with pytest.raises(Failed, match="reads itself"):
        overlay.read(node, "b")
    assert graph.failed == {}


def test_an_overlay_is_valid_for_one_revision() -> None:
    graph = loaded(2)
    overlay = Overlay(graph, [Delete(SERVICES, Ref("shop", "s1"))])
    assert len(overlay.plan()) == 1
    graph.apply([Put(SETTINGS, "tail", "!")])
    with pytest.raises(Stale):
        overlay.plan()
    with pytest.raises(Stale):
        overlay.read(cluster, WEB)


def test_replay_goes_back_as_far_as_the_log() -> None:
    graph = Graph(log=Log(limit=3))
    for port in range(1, 7):
        graph.apply([Put(SERVICES, WEB, Service(port))])
    assert Overlay(graph, graph.log.rewind(4)).read(cluster, WEB) == b"web:4"
    assert Overlay(graph, graph.log.rewind(3)).read(cluster, WEB) == b"web:3"
    with pytest.raises(Forgotten, match="reaches back to 3"):
        graph.log.rewind(2)
