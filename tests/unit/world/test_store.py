"""Tables, transactions and indexes: what is read after any edits is what the rows say."""

from typing import NamedTuple

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from controlplane.world.fork import Fork
from controlplane.world.store import World
from controlplane.world.tables import Cell, Index, Table
from controlplane.world.transaction import Delete, Edit, Put, Replace, Transaction


class Ref(NamedTuple):
    namespace: str
    name: str


PEOPLE: Table[Ref, tuple[str, ...]] = Table("Person")
BY_FRIEND = Index("people by friend", PEOPLE, lambda row: row)
BY_LENGTH = Index("people by number of friends", PEOPLE, lambda row: (len(row),))

ANN, BOB, EVE = Ref("a", "ann"), Ref("a", "bob"), Ref("b", "eve")
FRIENDS = ("x", "y", "z")


def test_rows_are_found_in_the_order_of_their_keys() -> None:
    world = World()
    world.apply([Put(PEOPLE, EVE, ("x",)), Put(PEOPLE, ANN, ("x", "y")), Put(PEOPLE, BOB, ("x",))])
    assert world.find(BY_FRIEND, "x") == (("x", "y"), ("x",), ("x",))
    assert world.find(BY_FRIEND, "y") == (("x", "y"),)
    assert world.find(BY_FRIEND, "nobody") == ()
    assert world.get(PEOPLE, Ref("a", "nobody")) is None
    assert dict(world.rows(PEOPLE)) == {EVE: ("x",), ANN: ("x", "y"), BOB: ("x",)}


def test_changed_cells_are_rows_and_all_their_buckets() -> None:
    world = World()
    world.apply([Put(PEOPLE, ANN, ("x", "y"))])
    world.find(BY_FRIEND, "x")
    applied = world.apply([Put(PEOPLE, ANN, ("y", "z"))])
    assert set(applied.cells) == {
        Cell(PEOPLE, ANN),
        Cell(BY_FRIEND, "x"),
        Cell(BY_FRIEND, "y"),
        Cell(BY_FRIEND, "z"),
    }
    assert (applied.revision, applied.inverse) == (2, (Put(PEOPLE, ANN, ("x", "y")),))


def test_edits_are_taken_together() -> None:
    world = World()
    applied = world.apply([Put(PEOPLE, ANN, ("x",)), Delete(PEOPLE, ANN), Delete(PEOPLE, BOB)])
    assert applied == (0, (), ())
    applied = world.apply([Put(PEOPLE, ANN, ("x",)), Put(PEOPLE, ANN, ("y",))])
    assert applied.inverse == (Delete(PEOPLE, ANN),)
    assert world.get(PEOPLE, ANN) == ("y",)


def test_replace_deletes_what_vanished() -> None:
    world = World()
    world.apply([Put(PEOPLE, ANN, ("x",)), Put(PEOPLE, BOB, ("y",)), Put(PEOPLE, EVE, ("z",))])
    before = dict(world.rows(PEOPLE))
    applied = world.apply(
        [Replace(PEOPLE, {BOB: ("y", "z")}, where=lambda ref: ref.namespace == "a")]
    )
    assert dict(world.rows(PEOPLE)) == {BOB: ("y", "z"), EVE: ("z",)}
    world.apply(applied.inverse)
    assert dict(world.rows(PEOPLE)) == before
    world.apply([Put(PEOPLE, Ref("c", "new"), ()), Replace(PEOPLE, {})])
    assert dict(world.rows(PEOPLE)) == {}


def test_a_transaction_that_is_refused_changes_nothing() -> None:
    def buckets(row: int) -> tuple[int, ...]:
        return (12 // row,)

    numbers: Table[str, int] = Table("Number")
    index = Index("by twelfth", numbers, buckets)
    world = World()
    world.apply([Put(numbers, "a", 4)])
    assert world.find(index, 3) == (4,)
    refused: list[tuple[type[Exception], Transaction]] = [
        (ZeroDivisionError, [Put(numbers, "b", 6), Put(numbers, "c", 0)]),
        (ValueError, [Delete(numbers, "a"), Replace(numbers, {"b": 1}, lambda key: key == "a")]),
        (TypeError, [Delete(numbers, "a"), Put(numbers, "b", None)]),
    ]
    for error, transaction in refused:
        with pytest.raises(error):
            world.apply(transaction)
    assert (world.revision, dict(world.rows(numbers)), world.find(index, 3)) == (1, {"a": 4}, (4,))


def test_a_large_bucket_is_read_as_the_same_tuple_until_it_changes() -> None:
    world = World()
    world.apply([Put(PEOPLE, Ref("a", f"{number:03}"), ("x",)) for number in range(100)])
    first = world.find(BY_FRIEND, "x")
    assert world.find(BY_FRIEND, "x") is first
    world.apply([Put(PEOPLE, Ref("a", "0500"), ("x", "y"))])
    assert world.find(BY_FRIEND, "x")[51] == ("x", "y")
    assert len(world.find(BY_FRIEND, "x")) == 101


def test_an_index_declared_late_is_built_from_the_rows() -> None:
    table: Table[str, str] = Table("Word")
    world = World()
    world.apply([Put(table, "k", "abc")])
    late = Index("by first letter", table, lambda row: row[:1])
    assert world.find(late, "a") == ("abc",)
    fork = Fork(world, [Put(table, "l", "axe")])
    later = Index("by last letter", table, lambda row: row[-1:])
    assert fork.find(late, "a") == ("abc", "axe")
    assert world.find(later, "c") == ("abc",)


refs = st.sampled_from((ANN, BOB, EVE, Ref("b", "zed")))
rows = st.lists(st.sampled_from(FRIENDS), max_size=3).map(tuple)
edits: st.SearchStrategy[Edit] = st.one_of(
    st.builds(lambda ref, row: Put(PEOPLE, ref, row), refs, rows),
    st.builds(lambda ref: Delete(PEOPLE, ref), refs),
    st.builds(
        lambda new: Replace(PEOPLE, new, lambda ref: ref.namespace == "a"),
        st.dictionaries(st.sampled_from((ANN, BOB)), rows),
    ),
)
histories = st.lists(st.lists(edits, max_size=4), max_size=8)


def reads(world: World | Fork) -> object:
    return (
        dict(world.rows(PEOPLE)),
        {ref: world.get(PEOPLE, ref) for ref in (ANN, BOB, EVE)},
        {friend: world.find(BY_FRIEND, friend) for friend in FRIENDS},
        {length: world.find(BY_LENGTH, length) for length in range(4)},
    )


@seed(6)
@settings(max_examples=150, deadline=None, database=None)
@given(histories, st.lists(edits, max_size=4), st.booleans())
def test_indexes_forks_and_inverses_agree_with_the_rows(
    history: list[list[Edit]], last: list[Edit], early: bool
) -> None:
    world = World()
    photos = []
    inverses = []
    if early:
        reads(world)
    for transaction in history:
        photos.append(dict(world.rows(PEOPLE)))
        inverses.append(world.apply(transaction).inverse)
        fresh = World()
        fresh.apply([Put(PEOPLE, ref, row) for ref, row in world.rows(PEOPLE).items()])
        if early:
            assert reads(world) == reads(fresh)
    live = reads(world)
    fork = Fork(world, last)
    forked = reads(fork)
    assert reads(world) == live, "a fork writes nothing"
    applied = world.apply(last)
    assert reads(world) == forked
    assert set(applied.cells) == fork.cells
    world.apply(applied.inverse)
    assert reads(world) == live
    for photo, inverse in zip(reversed(photos), reversed(inverses), strict=True):
        world.apply(inverse)
        assert dict(world.rows(PEOPLE)) == photo
