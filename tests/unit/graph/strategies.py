"""Hypothesis strategies of toy transactions and of what a client may do between them."""

from collections.abc import Sequence

from hypothesis import strategies as st

from controlplane.world.transaction import Delete, Edit, Put, Replace
from tests.unit.graph.toy import DATA, PROGRAMS, Program, Step

NODES = "abcdef"
DATA_KEYS = "uvw"
BUCKETS = ("m0", "m1", "all")
STREAMS = ("s1", "s2", "s3")


def programs(targets: Sequence[str], longest: int) -> st.SearchStrategy[Program]:
    """Programs that call ``targets`` only."""
    steps: list[st.SearchStrategy[Step]] = [
        st.builds(Step, st.just("data"), st.sampled_from(DATA_KEYS)),
        st.builds(Step, st.just("bucket"), st.sampled_from(BUCKETS)),
        st.builds(Step, st.sampled_from(("stop", "boom", "stop"))),
    ]
    if targets:
        calls = st.builds(Step, st.sampled_from(("call", "try")), st.sampled_from(targets))
        steps += [calls, calls, calls]
    return st.lists(st.one_of(steps), max_size=longest).map(tuple)


def _programs_of(key: str, cycles: bool) -> st.SearchStrategy[Program]:
    # With long programs nearly all nodes are one cycle, and none is ever mended.
    return programs(NODES, 2) if cycles else programs(NODES[: NODES.index(key)], 5)


def _program_edit(key: str, cycles: bool) -> st.SearchStrategy[Edit]:
    return st.one_of(
        st.builds(lambda program: Put(PROGRAMS, key, program), _programs_of(key, cycles)),
        st.just(Delete(PROGRAMS, key)),
    )


def edits(cycles: bool) -> st.SearchStrategy[Edit]:
    """One edit. Without ``cycles`` a program calls earlier keys only."""
    numbers = st.integers(0, 4)
    return st.one_of(
        st.sampled_from(NODES).flatmap(lambda key: _program_edit(key, cycles)),
        st.builds(lambda key, row: Put(DATA, key, row), st.sampled_from(DATA_KEYS), numbers),
        st.builds(lambda key: Delete(DATA, key), st.sampled_from(DATA_KEYS)),
        st.builds(
            lambda rows, spared: Replace(DATA, rows, lambda key: key != spared),
            st.dictionaries(st.sampled_from("uv"), numbers, max_size=2),
            st.just("w"),
        ),
    )


def transactions(cycles: bool) -> st.SearchStrategy[list[Edit]]:
    """A few edits at once."""
    return st.lists(edits(cycles), min_size=1, max_size=4)


def starts(cycles: bool) -> st.SearchStrategy[list[Edit]]:
    """A world in which most nodes have a program."""
    numbers = st.integers(0, 4)
    put_all = st.tuples(
        *(
            st.builds(
                lambda program, key=key: Put(PROGRAMS, key, program),
                _programs_of(key, cycles),
            )
            for key in NODES
        ),
        *(st.builds(lambda row, key=key: Put(DATA, key, row), numbers) for key in DATA_KEYS),
    )
    return put_all.map(list)


def actions(cycles: bool) -> st.SearchStrategy[list[tuple[str, object]]]:
    """A history: (kind, argument) pairs; the test interprets them."""
    stream_and_node = st.tuples(st.sampled_from(STREAMS), st.sampled_from(NODES))
    action = st.one_of(
        st.tuples(st.just("apply"), transactions(cycles)),
        st.tuples(st.just("apply"), transactions(cycles)),
        st.tuples(st.just("plan"), transactions(cycles)),
        st.tuples(st.just("subscribe"), stream_and_node),
        st.tuples(st.just("subscribe"), stream_and_node),
        st.tuples(st.just("unsubscribe"), stream_and_node),
        st.tuples(st.just("settle"), st.sampled_from((None, None, 1, 2))),
        st.tuples(st.just("only"), st.sampled_from(NODES)),
        st.tuples(st.just("read"), st.sampled_from(NODES)),
        st.tuples(st.just("collect"), st.sampled_from((0, 0, 1, 3))),
    )
    start = starts(cycles).map(lambda edits: [("apply", edits)])
    return st.builds(lambda first, rest: first + rest, start, st.lists(action, max_size=14))
