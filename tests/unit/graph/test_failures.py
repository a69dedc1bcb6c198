"""Exceptions, cycles, depth, interrupts and impurity: contained, memoised, mended."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from controlplane.graph import (
    ABSENT,
    Cycle,
    Failed,
    Graph,
    Impure,
    Reader,
    ReaderClosed,
    TooDeep,
    query,
)
from controlplane.world.transaction import Delete, Put
from tests.unit.graph.shop import RUNS, SERVICES, SETTINGS, WEB, Service
from tests.unit.graph.toy import DATA, PROGRAMS, Step, node


@query
def length(q: Reader, key: str) -> int:
    RUNS.append("length")
    text = q.get(SETTINGS, key)
    if text is None:
        raise ValueError(f"no {key}")
    return len(text)


@query
def twice(q: Reader, key: str) -> int:
    RUNS.append("twice")
    return 2 * length(q, key)


@query
def safe(q: Reader, key: str) -> int:
    RUNS.append("safe")
    try:
        return twice(q, key)
    except Failed:
        return -1


def test_a_failure_travels_up_and_is_mended() -> None:
    graph = Graph()
    graph.apply([Put(SETTINGS, "k", "abc")])
    root = graph.subscribe("a", twice, "k")
    graph.settle()
    graph.apply([Delete(SETTINGS, "k")])
    assert graph.settle() == [], "the client keeps its last good value"
    failure = graph.failed[root]
    assert failure.node is graph.node(length, "k")
    assert isinstance(failure.error, ValueError)
    assert "no k" in failure.trace
    assert root.value is ABSENT
    with pytest.raises(Failed, match="no k"):
        graph.read(twice, "k")
    graph.apply([Put(SETTINGS, "k", "abc")])
    assert graph.settle() == [], "the same value again is no difference"
    assert graph.failed == {}
    graph.apply([Put(SETTINGS, "k", "abcd")])
    assert [(change.old, change.new) for change in graph.settle()] == [(6, 8)]


def test_a_failure_is_memoised_and_cut_off(runs: list[str]) -> None:
    graph = Graph()
    root = graph.subscribe("a", safe, "k")
    graph.settle()
    assert root.value == -1
    assert graph.failed == {}
    runs.clear()
    graph.read(safe, "k")
    assert runs == []
    graph.apply([Put(SETTINGS, "k", "abc")])
    graph.apply([Delete(SETTINGS, "k")])
    assert graph.settle() == []
    assert runs == ["length"], "the same failure again is no change"


def test_a_stream_that_joins_a_failed_node_is_told_when_it_is_mended() -> None:
    graph = Graph()
    graph.apply([Put(SETTINGS, "k", "abc")])
    root = graph.subscribe("a", twice, "k")
    graph.settle()
    graph.apply([Delete(SETTINGS, "k")])
    graph.settle()
    graph.subscribe("b", twice, "k")
    assert not graph.is_pending(root)
    graph.apply([Put(SETTINGS, "k", "abc")])
    (change,) = graph.settle()
    assert (change.old, change.new, set(change.streams)) == (ABSENT, 6, {"b"})


def test_a_failure_holds_no_frames() -> None:
    class Held:
        pass

    references: list[weakref.ref[Held]] = []

    @query
    def fails(q: Reader) -> int:
        held = Held()
        references.append(weakref.ref(held))
        raise ValueError("with a frame")

    graph = Graph()
    with pytest.raises(Failed, match="with a frame"):
        graph.read(fails)
    gc.collect()
    assert references[0]() is None


def test_every_member_of_a_cycle_fails_and_repair_is_noticed() -> None:
    graph = Graph()
    graph.apply(
        [
            Put(PROGRAMS, "a", (Step("try", "b"),)),
            Put(PROGRAMS, "b", (Step("call", "a"),)),
            Put(PROGRAMS, "c", (Step("try", "a"),)),
        ]
    )
    roots = {key: graph.subscribe("s", node, key) for key in "abc"}
    graph.settle()
    assert set(graph.failed) == {roots["a"], roots["b"]}, "also the one that catches"
    assert all(failure.cyclic for failure in graph.failed.values())
    assert isinstance(graph.failed[roots["a"]].error, Cycle)
    assert roots["c"].value == 1, "a reader outside of the cycle may do without it"
    assert graph.metrics().cyclic == 2
    graph.apply([Put(PROGRAMS, "b", (Step("data", "x"),))])
    assert {change.node: change.new for change in graph.settle()} == {
        roots["a"]: 0,
        roots["b"]: 0,
        roots["c"]: 0,
    }
    assert graph.metrics().cyclic == 0


@pytest.mark.parametrize("mended", ["a", "b", "c"])
def test_a_cycle_is_mended_at_any_of_its_members(mended: str) -> None:
    graph = Graph()
    way = {"a": "b", "b": "c", "c": "a"}
    graph.apply([Put(PROGRAMS, key, (Step("call", other),)) for key, other in way.items()])
    for key in "bca":
        graph.subscribe("s", node, key)
    graph.settle()
    assert len(graph.failed) == 3
    graph.apply([Put(PROGRAMS, mended, (Step("data", "x"),))])
    assert {change.node.args[0]: change.new for change in graph.settle()} == dict.fromkeys("abc", 0)


LATE_JOINER = {
    "x": (Step("try", "p"), Step("try", "y")),
    "p": (Step("call", "w"),),
    "w": (Step("call", "x"),),
    "y": (Step("call", "z"),),
    "z": (Step("try", "w"),),
}
"""From x, the loop x -> p -> w -> x is found first; y -> z -> w joins it later."""
GROWING = {
    "x": (Step("try", "p"), Step("try", "y"), Step("try", "z")),
    "p": (Step("try", "w"), Step("try", "x")),
    "w": (Step("call", "p"),),
    "y": (Step("try", "w"),),
    "z": (Step("try", "w"),),
}
"""From x, the loop w -> p -> w is finished before p is found to reach x; y and z join through w."""


@pytest.mark.parametrize("first", "xpwyz")
@pytest.mark.parametrize("shape", [LATE_JOINER, GROWING], ids=["late joiner", "growing"])
def test_the_outcome_of_a_cycle_does_not_depend_on_where_the_pull_began(
    shape: dict[str, tuple[Step, ...]], first: str
) -> None:
    graph = Graph()
    graph.apply([Put(PROGRAMS, key, program) for key, program in shape.items()])
    for key in (first, *shape):
        with pytest.raises(Failed, match="Cycle"):
            graph.read(node, key)
    assert graph.metrics().cyclic == 5


def test_a_node_joins_a_cycle_that_failed_before_though_its_reads_fail_as_they_did() -> None:
    """w failed alone, and z, which catches, did without; now w reads x, which reads them."""
    graph = Graph()
    programs = {
        "x": (Step("data", "u"), Step("call", "y")),
        "y": (Step("call", "z"),),
        "z": (Step("try", "w"),),
        "w": (Step("call", "w"),),
    }
    graph.apply([Put(PROGRAMS, key, program) for key, program in programs.items()])
    roots = {key: graph.subscribe("s", node, key) for key in "wzyx"}
    graph.settle()
    assert set(graph.failed) == {roots["w"]}
    graph.apply([Put(PROGRAMS, "w", (Step("call", "x"),)), Put(DATA, "u", 1)])
    graph.settle()
    assert set(graph.failed) == set(roots.values())


def test_a_verified_node_joins_a_cycle_that_a_change_closes() -> None:
    graph = Graph()
    graph.apply([Put(PROGRAMS, "n", (Step("call", "x"),))])
    for first in "nx":
        roots = {key: graph.subscribe("s", node, key) for key in "nx"}
        graph.apply([Put(PROGRAMS, "x", (Step("data", "u"),))])
        graph.settle()
        graph.apply([Put(PROGRAMS, "x", (Step("call", "n"),))])
        graph.settle(only=[roots[first]])
        graph.settle()
        assert set(graph.failed) == set(roots.values())


def test_a_cycle_whose_members_read_on_is_run_again_as_a_cycle(runs: list[str]) -> None:
    """Verifying a member would lead round the loop; it runs at once instead."""
    graph = Graph()
    graph.apply(
        [
            Put(PROGRAMS, "a", (Step("try", "b"), Step("data", "u"))),
            Put(PROGRAMS, "b", (Step("call", "a"),)),
        ]
    )
    roots = [graph.subscribe("s", node, key) for key in "ab"]
    graph.settle()
    for number in range(3):
        before = graph.metrics().runs
        graph.apply([Put(DATA, "u", number)])
        graph.settle()
        assert graph.metrics().runs == before + 2
        assert all(graph.failed[root].cyclic for root in roots)


def chain(length: int) -> list[Put[str, tuple[Step, ...]]]:
    return [
        Put(PROGRAMS, f"n{number}", (Step("call", f"n{number + 1}"), Step("data", "x")))
        for number in range(length)
    ]


def test_depth_is_bounded_and_a_shorter_chain_mends_it() -> None:
    graph = Graph()
    graph.apply([*chain(100), Put(DATA, "x", 1)])
    root = graph.subscribe("a", node, "n0")
    graph.settle()
    assert isinstance(graph.failed[root].error, TooDeep)
    # The end of the chain was never read: nothing but the depth itself can say that it changed.
    graph.apply([Delete(PROGRAMS, "n70")])
    graph.settle()
    assert root in graph.failed
    graph.apply([Delete(PROGRAMS, "n50")])
    (change,) = graph.settle()
    assert change.node is root
    assert graph.failed == {}


def test_an_interrupt_leaves_the_graph_usable(runs: list[str]) -> None:
    graph = Graph()
    interrupts = [KeyboardInterrupt()]

    @query
    def interrupted(q: Reader) -> int:
        value = q.get(SETTINGS, "k")
        if interrupts:
            raise interrupts.pop()
        return len(value or "")

    @query
    def outer(q: Reader) -> int:
        return interrupted(q)

    root = graph.subscribe("a", outer)
    with pytest.raises(KeyboardInterrupt):
        graph.settle()
    assert graph.is_pending(root)
    assert [change.new for change in graph.settle()] == [0]
    graph.apply([Put(SETTINGS, "k", "abc")])
    assert [change.new for change in graph.settle()] == [3]
    graph.unsubscribe("a", root)
    graph.collect(keep=0)
    assert (graph.metrics().nodes, graph.metrics().leaves) == (0, 0)


def test_a_reader_dies_with_its_query() -> None:
    @query
    def lazy(q: Reader) -> Iterator[Service | None]:
        return (q.get(SERVICES, WEB) for _ in range(1))

    graph = Graph()
    values = graph.read(lazy)
    with pytest.raises(ReaderClosed, match="after the query had returned"):
        next(values)


def test_a_value_whose_comparison_raises_counts_as_changed() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = None  # type: ignore[assignment]

    @query
    def odd(q: Reader) -> Odd:
        q.get(SETTINGS, "k")
        return Odd()

    graph = Graph()
    graph.subscribe("a", odd)
    graph.settle()
    graph.apply([Put(SETTINGS, "k", "abc")])
    assert len(graph.settle()) == 1


def test_types_tell_equal_numbers_apart() -> None:
    @query
    def flag(q: Reader) -> object:
        return True if q.get(SETTINGS, "k") is None else 1

    graph = Graph()
    graph.subscribe("a", flag)
    graph.settle()
    graph.apply([Put(SETTINGS, "k", "abc")])
    assert [change.new is True for change in graph.settle()] == [False]


def test_audit_refuses_what_can_be_mutated_and_what_varies() -> None:
    served = iter(range(100))

    @query
    def mutable(q: Reader) -> tuple[list[int], ...]:
        return ([1],)

    @query
    def varies(q: Reader) -> int:
        return next(served)

    graph = Graph(audit=True)
    for broken in (mutable, varies):
        with pytest.raises(Failed) as caught:
            graph.read(broken)  # type: ignore[arg-type]
        assert isinstance(caught.value.failure.error, Impure)
    graph.apply([Put(SETTINGS, "k", "abc")])
    assert graph.read(twice, "k") == 6
