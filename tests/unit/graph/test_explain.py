"""Provenance, suspects, dependants and the tree of reasons."""

import pytest

from controlplane.graph import Failed, Graph
from controlplane.world.log import Forgotten, Log
from controlplane.world.tables import Cell
from controlplane.world.transaction import Delete, Put
from tests.unit.graph.shop import (
    LEDGER,
    ROUTES,
    ROUTES_OF,
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


def test_provenance_names_absent_cells_too() -> None:
    graph = Graph()
    graph.apply([Put(SERVICES, WEB, Service(80))])
    root = graph.subscribe("a", cluster, WEB)
    graph.settle()
    assert graph.provenance(root) == {Cell(SERVICES, WEB), Cell(SETTINGS, "tail")}
    assert str(Cell(SERVICES, WEB)) == "Service shop/web"


def test_suspects_are_the_changed_rows_of_the_provenance() -> None:
    graph = Graph()
    first, second = Ref("shop", "r1"), Ref("shop", "r2")
    graph.apply(
        [
            Put(SERVICES, WEB, Service(80)),
            Put(ROUTES, first, Route(WEB)),
            Put(ROUTES, second, Route(LEDGER)),
        ]
    )
    web = graph.subscribe("a", routes, WEB)
    tail = graph.subscribe("a", cluster, WEB)
    graph.settle()
    acknowledged = graph.revision
    graph.apply([Put(SERVICES, LEDGER, Service(1))])
    graph.apply([Delete(ROUTES, first)])
    graph.apply([Put(ROUTES, second, Route(LEDGER, 7))])
    graph.settle()
    assert graph.suspects(web, acknowledged) == {Cell(ROUTES, first)}, (
        "deleted, so in no bucket now"
    )
    assert graph.suspects(tail, acknowledged) == frozenset()
    assert graph.changed_since(acknowledged) == {
        Cell(SERVICES, LEDGER),
        Cell(ROUTES, first),
        Cell(ROUTES, second),
    }
    assert graph.changed_since(graph.revision) == frozenset()


def test_a_row_that_left_the_bucket_is_a_suspect() -> None:
    graph = Graph()
    route = Ref("shop", "r")
    graph.apply([Put(ROUTES, route, Route(WEB))])
    web = graph.subscribe("a", routes, WEB)
    graph.settle()
    graph.apply([Put(ROUTES, route, Route(LEDGER))])
    graph.apply([Put(ROUTES, route, Route(LEDGER, 9))])
    graph.settle()
    assert graph.suspects(web, 1) == {Cell(ROUTES, route)}


def test_a_forgotten_revision_is_said_to_be_so() -> None:
    graph = Graph(log=Log(limit=1))
    root = graph.subscribe("a", cluster, WEB)
    graph.apply([Put(SERVICES, WEB, Service(1))])
    graph.apply([Put(SERVICES, WEB, Service(2))])
    graph.settle()
    with pytest.raises(Forgotten):
        graph.suspects(root, 0)


def test_dependants_are_roots_by_key_and_by_bucket() -> None:
    graph = Graph()
    route = Ref("shop", "r")
    graph.apply([Put(ROUTES, route, Route(WEB))])
    by_bucket = graph.subscribe("a", routes, WEB)
    by_key = graph.subscribe("a", cluster, WEB)
    graph.subscribe("a", cluster, LEDGER)
    graph.settle()
    assert graph.dependants(ROUTES, route) == {by_bucket}
    assert graph.dependants(SERVICES, WEB) == {by_key}
    assert graph.dependants(SERVICES, Ref("shop", "unknown")) == frozenset()


def test_why_is_a_tree_with_revisions() -> None:
    graph = Graph()
    graph.apply([Put(SERVICES, WEB, Service(80))])
    graph.apply([Put(SETTINGS, "tail", "!")])
    root = graph.subscribe("a", cluster, WEB)
    graph.settle()
    graph.apply([Put(SERVICES, WEB, Service(81))])
    graph.settle()
    step = graph.why(root)
    assert (step.kind, step.value, step.changed_at) == ("query", b"web:81!", 3)
    assert [part.label for part in step.parts] == ["service_port(shop/web)", "tail()"]
    (row,) = step.parts[0].parts
    assert (row.kind, row.cell, row.newest) == ("row", Cell(SERVICES, WEB), True)
    assert str(step) == (
        "cluster(shop/web)         @3\n"
        "  service_port(shop/web)  @3\n"
        "    Service(shop, web)    @3  <- newest\n"
        "  tail()                  @2\n"
        "    Setting(tail)         @2"
    )


def test_why_shows_empty_buckets_and_shared_parts_once() -> None:
    graph = Graph()
    root = graph.subscribe("a", routes, WEB)
    graph.settle()
    (bucket,) = graph.why(root).parts
    assert (bucket.kind, bucket.cell, bucket.changed_at) == ("bucket", Cell(ROUTES_OF, WEB), 0)
    graph.apply(
        [
            Put(PROGRAMS, "a", (Step("call", "b"), Step("call", "c"))),
            Put(PROGRAMS, "b", (Step("call", "c"),)),
        ]
    )
    graph.read(node, "a")
    top = graph.node(node, "a")
    assert top is not None
    text = str(graph.why(top))
    assert text.count("Program(c)") == 1
    assert "(see above)" in text


def test_why_explains_a_failure_and_ends_in_a_cycle() -> None:
    graph = Graph()
    graph.apply([Put(PROGRAMS, "a", (Step("call", "a"),))])
    with pytest.raises(Failed):
        graph.read(node, "a")
    top = graph.node(node, "a")
    assert top is not None
    assert "failed: node(a): Cycle" in str(graph.why(top))
