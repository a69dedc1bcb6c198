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
        steps += [calls] * 4
    return st.lists(st.one_of(steps), min_size=1, max_size=longest).map(tuple)


def _programs_of(key: str, cycles: bool) -> st.SearchStrategy[Program]:
    # With long programs nearly all nodes are one cycle, and none is ever mended.
    return programs(NODES, 2) if cycles else programs(NODES[: NODES.index(key)], 5)


def _program_edit(key: str, cycles: bool) -> st.SearchStrategy[Edit]:
    return st.one_of(
        *[st.builds(lambda program: Put(PROGRAMS, key, program), _programs_of(key, cycles))] * 3,
        st.just(Delete(PROGRAMS, key)),
    )


def edits(cycles: bool) -> st.SearchStrategy[Edit]:
    """One edit. Without ``cycles`` a program calls earlier keys only."""
    numbers = st.integers(0, 4)
    return st.one_of(
        *[st.sampled_from(NODES).flatmap(lambda key: _program_edit(key, cycles))] * 3,
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
    return st.lists(edits(cycles), min_size=1, max_size=3)


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
    """A history: (kind, argument) pairs; the test interprets them. Most begin with every node
    subscribed and settled, and most changes are settled at once, or little could go stale."""
    stream_and_node = st.tuples(st.sampled_from(STREAMS), st.sampled_from(NODES))
    kinds: dict[str, tuple[int, st.SearchStrategy[object]]] = {
        "change": (4, transactions(cycles)),
        "apply": (1, transactions(cycles)),
        "plan": (1, transactions(cycles)),
        "subscribe": (2, stream_and_node),
        "unsubscribe": (2, stream_and_node),
        "settle": (1, st.sampled_from((None, 1, 2))),
        "only": (1, st.sampled_from(NODES)),
        "read": (1, st.sampled_from(NODES)),
        "collect": (1, st.sampled_from((0, 0, 1, 3))),
    }
    weighted = [kind for kind, (weight, _) in kinds.items() for _ in range(weight)]
    action = st.sampled_from(weighted).flatmap(
        lambda kind: st.tuples(st.just(kind), kinds[kind][1])
    )
    start = starts(cycles).map(lambda edits: ("apply", edits))
    prefix = st.sampled_from(([], *[ALL_SETTLED] * 3))
    rest = st.lists(action, min_size=6, max_size=12)
    return st.builds(lambda first, then, rest: [first, *then, *rest], start, prefix, rest)


ALL_SETTLED: list[tuple[str, object]] = [
    *(("subscribe", (STREAMS[0], key)) for key in NODES),
    ("settle", None),
]
