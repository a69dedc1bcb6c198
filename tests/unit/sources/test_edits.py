"""Whatever the sequence of edits, the world ends as a fresh load of the final files begins, and
restarts in between change nothing, also while files are bad."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.sources.addresses import Addresses
from controlplane.sources.claims import TREE, FileId
from controlplane.sources.files import FilesSource
from controlplane.sources.files_scan import Content
from controlplane.sources.files_state import FilesState, FileState, interpret
from controlplane.sources.last_good import dump, restore
from tests.unit.sources.recorder import Recorder, running, service, shift, write

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.sampled_from(["1.yaml", "2.yaml", "x/3.yaml"])
DOCUMENTS = st.one_of(
    st.builds(service, NAMES, st.integers(1, 3)),
    st.builds(service, NAMES, st.just(80), st.just("shop"), st.just(", clusterIP: 240.0.0.9")),
    st.builds(shift, NAMES, st.integers(0, 2), st.integers(1, 2)),
    st.just("# a comment\n"),
    st.just("kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n"),
)
GOOD = st.lists(DOCUMENTS, min_size=1, max_size=4).map("---\n".join)
BOTH = (
    "apiVersion: v1\nkind: List\nitems:\n"
    "- {apiVersion: v1, kind: Service, metadata: {name: b, namespace: shop}, spec: {ports: [{port: "
    "%d}]}}\n"
    "- {apiVersion: v1, kind: Service, metadata: {name: a, namespace: shop}, spec: {ports: [{port: "
    "%d}]}}\n"
)
"""Two Services in one document; port 0 is invalid."""
MIXED = st.lists(
    st.one_of(
        st.builds(lambda one, two: BOTH % (one, two), st.integers(0, 1), st.integers(0, 1)),
        st.builds(shift, NAMES, st.integers(0, 1)),
        DOCUMENTS,
        st.just("kind: [\n"),
    ),
    min_size=1,
    max_size=3,
).map("---\n".join)
BAD = st.sampled_from(["kind: [", "", shift("a", 0), "just text\n"])
EDITS = st.lists(st.tuples(PATHS, st.one_of(GOOD, BAD, st.none())), max_size=12)
STEPS = st.lists(
    st.one_of(
        st.just("restart"),
        st.tuples(st.just("1.yaml"), MIXED),
        st.tuples(PATHS, st.one_of(MIXED, BAD, st.none())),
    ),
    max_size=14,
)
"""Edits, and restarts between them."""


def feed(state: FilesState, recorder: Recorder, texts: dict[str, str | None]) -> None:
    changes = {}
    for path, text in texts.items():
        file = FileId(TREE, path)
        changes[file] = interpret(Content(text), file, state.file(file), "default")
    step = state.update(changes)
    recorder.apply(step.transaction, step.problems)


@settings(max_examples=150, deadline=None)
@given(EDITS, st.dictionaries(PATHS, st.one_of(GOOD, st.none()), min_size=3, max_size=3))
def test_edits_end_where_a_fresh_load_begins(
    edits: list[tuple[str, str | None]], final: dict[str, str | None]
) -> None:
    """Each file's last edit is good: bad ones keep what a fresh load cannot know."""
    state, recorder = FilesState("default", Addresses()), Recorder()
    for path, text in edits:
        feed(state, recorder, {path: text})
    feed(state, recorder, final)
    fresh, expected = FilesState("default", state.addresses), Recorder()
    feed(fresh, expected, final)
    assert recorder.world == expected.world
    assert recorder.texts == expected.texts
    assert fresh.addresses == state.addresses


class Restarted:
    """A state that is thrown away at each restart, but for what the disk would keep."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.state, self.recorder = FilesState("default", Addresses()), Recorder()

    def feed(self, path: str, text: str | None) -> None:
        if text is None:
            self.texts.pop(path, None)
        else:
            self.texts[path] = text
        feed(self.state, self.recorder, {path: text})

    def restart(self) -> None:
        old = self.state
        self.state, self.recorder = FilesState("default", old.addresses), Recorder()
        changes = {}
        for path, text in self.texts.items():
            file = FileId(TREE, path)
            before = old.file(file)
            assert before is not None
            record = None
            if before.kept:
                kept = restore(dump("/", file, before.kept), "default").entries
                assert kept == before.kept
                record = FileState(kept, kept=kept)
            changes[file] = interpret(Content(text), file, record, "default")
        step = self.state.update(changes)
        self.recorder.apply(step.transaction, step.problems)


@settings(max_examples=300, deadline=None)
@given(STEPS)
@example([("1.yaml", BOTH % (1, 2)), ("1.yaml", BOTH % (0, 0)), "restart"])
def test_restarts_change_nothing(steps: list[str | tuple[str, str | None]]) -> None:
    state, recorder, restarted = FilesState("default", Addresses()), Recorder(), Restarted()
    for step in steps:
        if isinstance(step, str):
            restarted.restart()
        else:
            feed(state, recorder, {step[0]: step[1]})
            restarted.feed(*step)
        assert restarted.recorder.world == recorder.world
        assert restarted.recorder.texts == recorder.texts
    assert restarted.state.addresses == state.addresses


async def play(root: Path, steps: list[str | tuple[str, str | None]], restarts: bool) -> Recorder:
    """The same on a disk; what the sink of the last run has at the end."""
    tree, rest = root / "tree", list(steps)
    tree.mkdir()
    while True:
        source = FilesSource(tree, addresses=root / "addresses", last_good=root / "last-good")
        async with running(source) as recorder:
            while rest:
                step = rest.pop(0)
                if isinstance(step, str):
                    if restarts:
                        break
                    continue
                path, text = step
                if text is None:
                    (tree / path).unlink(missing_ok=True)
                else:
                    write(tree, {path: text})
                await source.refresh()
            else:
                return recorder


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_restarts_change_nothing_on_a_disk(steps: list[str | tuple[str, str | None]]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        plain = asyncio.run(play(Path(one), steps, restarts=False))
        restarted = asyncio.run(play(Path(two), steps, restarts=True))
    assert restarted.world == plain.world
    assert restarted.texts == plain.texts
