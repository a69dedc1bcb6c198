"""Any sequence of edits: incremental values are those from scratch, whatever the order of rows,
no query fails on any mixture of mistakes, and make-before-break has what it needs."""

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane.graph import Graph
from controlplane.world.intake import Taken
from controlplane.world.transaction import Delete, Put
from tests.unit.translate.random_meshes import EDITS, OBJECTS, everything
from xds import types
from xds.wire.resource import Resource

slow = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=False
)


def transactions(edits: list[list[tuple[int, int]]]) -> list[list[Put | Delete]]:
    made: list[list[Put | Delete]] = []
    for edit in edits:
        transaction: list[Put | Delete] = []
        for place, variant in edit:
            transaction.extend(Delete(row.table, row.key) for row in OBJECTS[place])
            if variant >= 0:
                row = OBJECTS[place][variant]
                transaction.append(Put(row.table, row.key, row.row))
        made.append(transaction)
    return made


def held(edits: list[list[tuple[int, int]]]) -> list[Taken]:
    last = {place: variant for edit in edits for place, variant in edit}
    return [OBJECTS[place][variant] for place, variant in last.items() if variant >= 0]


@slow
@given(EDITS, st.randoms(use_true_random=False))
def test_incremental_is_from_scratch_in_any_order(
    edits: list[list[tuple[int, int]]], chance: random.Random
) -> None:
    live = Graph(audit=True)
    everything(live)
    for transaction in transactions(edits):
        live.apply(transaction)
        if chance.random() < 0.7:
            everything(live)
    shuffled = held(edits)
    chance.shuffle(shuffled)
    fresh = Graph()
    for row in shuffled:
        fresh.apply([Put(row.table, row.key, row.row)])
    assert everything(live) == everything(fresh)


@slow
@given(EDITS)
def test_what_is_wanted_is_there_under_its_name(edits: list[list[tuple[int, int]]]) -> None:
    graph = Graph()
    for transaction in transactions(edits):
        graph.apply(transaction)
    for key, value in everything(graph).items():
        wanted = value if key[0] == "fixed" else getattr(value, "needs", ())  # type: ignore[index]
        names = {each.name for each in wanted}
        assert len({(each.type_url, each.name) for each in wanted}) == len(wanted)
        for each in wanted:
            found = graph.read(each.query, *each.args)
            assert isinstance(found, Resource)
            assert (found.type_url, found.name) == (each.type_url, each.name)
            assert not each.endpoints or each.endpoints in names, "an EDS cluster has its load"
            assert not each.endpoints or each.type_url == types.CLUSTER
