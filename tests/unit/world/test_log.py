"""The log reaches back as far as it says, and no further."""

import pytest

from controlplane.world.log import Forgotten, Log
from controlplane.world.rows import EndpointSlice, Key, SliceEndpoint
from controlplane.world.store import World
from controlplane.world.tables import Cell, Table
from controlplane.world.transaction import Delete, Put, Transaction

WORDS: Table[str, str] = Table("Word")


def logged(log: Log, *transactions: Transaction) -> World:
    world = World()
    for transaction in transactions:
        applied = world.apply(transaction)
        log.record(applied.revision, applied.inverse)
    return world


def test_the_merged_inverses_lead_back_to_each_revision() -> None:
    log = Log()
    world = logged(
        log,
        [Put(WORDS, "a", "1"), Put(WORDS, "b", "1")],
        [Put(WORDS, "a", "2")],
        [Delete(WORDS, "b")],
        [Put(WORDS, "a", "4"), Put(WORDS, "c", "4")],
    )
    assert log.rewind(4) == ()
    assert set(log.rewind(3)) == {Put(WORDS, "a", "2"), Delete(WORDS, "c")}
    assert set(log.rewind(1)) == {Put(WORDS, "a", "1"), Delete(WORDS, "c"), Put(WORDS, "b", "1")}
    world.apply(log.rewind(0))
    assert dict(world.rows(WORDS)) == {}


def test_versions_are_the_former_rows_newest_first() -> None:
    log = Log()
    logged(log, [Put(WORDS, "a", "1")], [Put(WORDS, "a", "2")], [Delete(WORDS, "a")])
    assert log.versions(0) == {Cell(WORDS, "a"): ["2", "1", None]}
    assert log.versions(2) == {Cell(WORDS, "a"): ["2"]}
    assert log.changed_at() == {Cell(WORDS, "a"): 3}


def test_the_oldest_transactions_are_dropped_above_the_limit() -> None:
    log = Log(limit=4)
    logged(
        log,
        [Put(WORDS, str(number), "x") for number in range(3)],
        [Put(WORDS, "a", "1")],
        [Put(WORDS, "b", "1"), Put(WORDS, "c", "1")],
    )
    assert (len(log), log.horizon) == (2, 1)
    assert len(log.rewind(1)) == 3
    with pytest.raises(Forgotten, match="revision 0 is forgotten; the log reaches back to 1"):
        log.rewind(0)


def test_the_newest_transaction_is_kept_whatever_its_size() -> None:
    log = Log(limit=1)
    logged(log, [Put(WORDS, "a", "1")], [Put(WORDS, str(number), "x") for number in range(9)])
    assert (len(log), log.horizon) == (1, 1)
    assert len(log.rewind(1)) == 9


def test_a_slice_counts_by_its_endpoints() -> None:
    """Or a log of large Services would be a thousand times as large as one of small ones."""
    slices: Table[Key, EndpointSlice] = Table("Slice")
    key = Key("c1", "shop", "reviews")
    endpoint = SliceEndpoint(("10.0.0.1",))
    large = [EndpointSlice(key, str(n), "IPv4", (endpoint,) * 9, ()) for n in range(4)]
    log = Log(limit=25)
    logged(log, *([Put(slices, key, row)] for row in large))
    assert (len(log), log.horizon) == (2, 2), "two former slices of nine endpoints each"
