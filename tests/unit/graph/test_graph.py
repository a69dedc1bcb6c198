"""Subscriptions, slices, cut-offs and upkeep, by example."""

from itertools import count

import pytest

from controlplane.graph import ABSENT, Graph, Reader, query
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
    service_port,
    tail,
)


def test_nothing_is_computed_before_it_is_settled(runs: list[str]) -> None:
    graph = Graph()
    graph.apply([Put(SERVICES, WEB, Service(80))])
    node = graph.subscribe("a", cluster, WEB)
    assert runs == []
    assert graph.is_pending(node)
    assert node.value is ABSENT
    (change,) = graph.settle()
    assert (change.node, change.old, change.new) == (node, ABSENT, b"web:80")
    assert set(change.streams) == {"a"}
    assert not graph.is_pending(node)
    assert sorted(runs) == ["cluster", "service_port", "tail"]


def test_a_projection_stops_noise(runs: list[str]) -> None:
    graph = Graph()
    graph.apply([Put(SERVICES, WEB, Service(80))])
    graph.subscribe("a", cluster, WEB)
    graph.settle()
    runs.clear()
    graph.apply([Put(SERVICES, WEB, Service(80, note="annotated"))])
    assert graph.pending == 1
    assert graph.settle() == []
    assert runs == ["service_port"]
    assert graph.metrics().cutoffs == 1
    assert graph.metrics().verified == 1


def test_absence_is_a_read() -> None:
    graph = Graph()
    node = graph.subscribe("a", cluster, WEB)
    bucket = graph.subscribe("a", routes, WEB)
    graph.settle()
    assert (node.value, bucket.value) == (None, b"")
    graph.apply([Put(SERVICES, WEB, Service(80)), Put(ROUTES, Ref("shop", "r"), Route(WEB))])
    assert {change.node: change.new for change in graph.settle()} == {
        node: b"web:80",
        bucket: b"1",
    }
    graph.apply([Delete(SERVICES, WEB)])
    assert [change.new for change in graph.settle()] == [None]


def test_an_unrelated_change_marks_nothing(runs: list[str]) -> None:
    graph = Graph()
    graph.subscribe("a", cluster, WEB)
    graph.settle()
    runs.clear()
    graph.apply([Put(SERVICES, LEDGER, Service(9000)), Put(ROUTES, LEDGER, Route(LEDGER))])
    assert graph.pending == 0
    assert graph.read(cluster, WEB) is None
    assert runs == []


def test_a_value_that_returns_before_it_is_settled_is_no_change() -> None:
    graph = Graph()
    undo = graph.apply([Put(SERVICES, WEB, Service(80))])
    node = graph.subscribe("a", cluster, WEB)
    graph.settle()
    redo = graph.apply(undo)
    assert graph.read(cluster, WEB) is None
    graph.apply(redo)
    assert graph.is_pending(node)
    assert graph.settle() == []


def test_a_transaction_without_effect_is_no_revision() -> None:
    graph = Graph()
    graph.apply([Put(SERVICES, WEB, Service(80))])
    assert graph.apply([Put(SERVICES, WEB, Service(80)), Delete(SERVICES, LEDGER)]) == ()
    assert graph.revision == 1


def test_a_second_stream_takes_the_settled_value() -> None:
    graph = Graph()
    node = graph.subscribe("a", cluster, WEB)
    graph.settle()
    assert graph.subscribe("b", cluster, WEB) is node
    assert not graph.is_pending(node)
    assert graph.settle() == []
    assert set(graph.streams(node)) == {"a", "b"}
    graph.apply([Put(SERVICES, WEB, Service(80))])
    assert [set(change.streams) for change in graph.settle()] == [{"a", "b"}]


def test_a_stream_that_joins_a_pending_node_is_told_even_without_a_difference() -> None:
    graph = Graph()
    graph.apply([Put(SERVICES, WEB, Service(80))])
    node = graph.subscribe("a", cluster, WEB)
    graph.settle()
    graph.apply([Put(SERVICES, WEB, Service(80, note="annotated"))])
    graph.subscribe("b", cluster, WEB)
    (change,) = graph.settle()
    assert (change.node, change.old, change.new) == (node, ABSENT, b"web:80")
    assert set(change.streams) == {"b"}


def test_unsubscribing_forgets_what_is_owed() -> None:
    graph = Graph()
    node = graph.subscribe("a", cluster, WEB)
    graph.subscribe("a", cluster, WEB)
    graph.unsubscribe("a", node)
    assert graph.pending == 0
    assert graph.settle() == []
    assert graph.streams(node) == frozenset()
    with pytest.raises(KeyError):
        graph.unsubscribe("a", node)


def test_the_newest_pending_nodes_go_first() -> None:
    graph = Graph()
    refs = [Ref("shop", f"s{number}") for number in range(5)]
    for ref in refs:
        graph.subscribe("a", cluster, ref)
    late = graph.subscribe("a", routes, WEB)
    first = graph.settle(max_nodes=2)
    assert [change.node for change in first] == [late, graph.node(cluster, refs[4])]
    assert graph.pending == 4
    chosen = graph.node(cluster, refs[1])
    assert chosen is not None
    assert [change.node for change in graph.settle(only=[chosen])] == [chosen]
    assert [change.node.args for change in graph.settle()] == [(refs[3],), (refs[2],), (refs[0],)]


def test_a_slice_ends_with_its_budget_and_does_one_node_at_least() -> None:
    graph = Graph()
    for number in range(10):
        graph.subscribe("a", cluster, Ref("shop", f"s{number}"))
    ticks = count()
    assert len(graph.settle(3.0, lambda: float(next(ticks)))) == 3
    assert len(graph.settle(0.0, lambda: 0.0)) == 1
    assert graph.pending == 6
    with pytest.raises(ValueError, match="clock"):
        graph.settle(0.002)


def test_a_mixture_of_revisions_is_never_seen() -> None:
    seen: list[tuple[str, str]] = []

    @query
    def copy(q: Reader) -> str:
        return q.get(SETTINGS, "tail") or ""

    @query
    def both(q: Reader) -> str:
        seen.append((q.get(SETTINGS, "tail") or "", copy(q)))
        return "".join(seen[-1])

    graph = Graph()
    graph.subscribe("a", both)
    for text in "xyz":
        graph.apply([Put(SETTINGS, "tail", text)])
        graph.settle()
    assert [first == second for first, second in seen] == [True] * 3


def test_results_are_collected_with_what_they_alone_held() -> None:
    graph = Graph()
    graph.apply([Put(SERVICES, WEB, Service(80)), Put(SETTINGS, "tail", "!")])
    web = graph.subscribe("a", cluster, WEB)
    ledger = graph.subscribe("a", cluster, LEDGER)
    graph.settle()
    graph.unsubscribe("a", ledger)
    assert graph.metrics().idle == 1
    assert graph.collect(keep=1) == 0, "idle for less than one revision"
    graph.apply([Put(SETTINGS, "other", "?")])
    assert graph.collect(keep=1) == 2
    assert graph.node(service_port, LEDGER) is None
    assert graph.node(tail) is not None
    graph.unsubscribe("a", web)
    graph.collect(keep=0)
    metrics = graph.metrics()
    assert (metrics.nodes, metrics.leaves, metrics.idle) == (0, 0, 0)


def test_what_is_subscribed_outlives_its_readers() -> None:
    graph = Graph()
    graph.apply([Put(SERVICES, WEB, Service(80))])
    inner = graph.subscribe("a", service_port, WEB)
    outer = graph.subscribe("a", cluster, WEB)
    graph.settle()
    graph.unsubscribe("a", outer)
    graph.collect(keep=0)
    assert graph.node(service_port, WEB) is inner
    graph.apply([Put(SERVICES, WEB, Service(81))])
    assert [(change.node, change.new) for change in graph.settle()] == [(inner, 81)]


def test_an_idle_result_is_reused_and_no_longer_idle(runs: list[str]) -> None:
    graph = Graph()
    graph.read(cluster, WEB)
    runs.clear()
    graph.subscribe("a", cluster, WEB)
    assert [change.new for change in graph.settle()] == [None]
    assert runs == []
    assert graph.collect(keep=0) == 0


def test_a_cell_that_a_running_query_has_read_survives_its_other_readers() -> None:
    """The inner query drops its last read of a cell that the outer one, still running, has read."""
    graph = Graph()

    @query
    def inner(q: Reader) -> int:
        service = q.get(SERVICES, WEB)
        if service is not None and service.port == 80:
            return len(q.get(SETTINGS, "tail") or "")
        return 0

    @query
    def outer(q: Reader) -> str:
        return f"{q.get(SETTINGS, 'tail')} {inner(q)}"

    graph.apply([Put(SERVICES, WEB, Service(80)), Put(SETTINGS, "tail", "x")])
    graph.read(inner)
    graph.apply([Put(SERVICES, WEB, Service(81))])
    node = graph.subscribe("a", outer)
    graph.settle()
    graph.apply([Put(SETTINGS, "tail", "y")])
    assert [change.new for change in graph.settle()] == ["y 0"]
    assert graph.dependants(SETTINGS, "tail") == {node}


def test_the_graph_is_closed_to_a_running_query() -> None:
    graph = Graph()

    @query
    def meddles(q: Reader) -> bool:
        graph.apply([Put(SETTINGS, "tail", "x")])
        return True

    @query
    def escapes(q: Reader) -> bytes:
        return graph.read(tail)

    graph.subscribe("a", meddles)
    node = graph.subscribe("a", escapes)
    assert graph.settle() == []
    assert {type(failure.error) for failure in graph.failed.values()} == {RuntimeError}
    assert "inside a query" in str(graph.failed[node])


def test_arguments_are_positional() -> None:
    graph = Graph()
    with pytest.raises(TypeError, match="positional"):
        graph.read(cluster, ref=WEB)
    with pytest.raises(TypeError, match="positional"):
        graph.subscribe("a", cluster, ref=WEB)


def test_a_stale_value_raises_the_alarm() -> None:
    outside = ["first"]

    @query
    def impure(q: Reader) -> str:
        return outside[0]

    graph = Graph()
    assert graph.recheck(lambda _: 0) is None
    node = graph.subscribe("a", impure)
    graph.settle()
    assert graph.recheck(lambda _: 0) == (node, True)
    outside[0] = "second"
    assert graph.recheck(lambda _: 0) == (node, False)
    assert node.value == "first"


def test_the_longest_runs_exclude_inner_queries() -> None:
    now = [0.0]

    @query
    def slow_leaf(q: Reader) -> int:
        now[0] += 5.0
        return 1

    @query
    def quick(q: Reader) -> int:
        now[0] += 1.0
        return slow_leaf(q)

    graph = Graph(clock=lambda: now[0])
    assert graph.read(quick) == 1
    metrics = graph.metrics()
    assert {name.rpartition(".")[2]: took for name, took in metrics.longest.items()} == {
        "slow_leaf": 5.0,
        "quick": 1.0,
    }
    assert sorted(metrics.by_query.values()) == [1, 1]
