"""Whatever the sequence of edits, the world ends as a fresh load of the final files begins."""

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.sources.addresses import Addresses
from controlplane.sources.claims import TREE, FileId
from controlplane.sources.files_scan import Content
from controlplane.sources.files_state import FilesState, interpret
from tests.unit.sources.recorder import Recorder, service, shift

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
BAD = st.sampled_from(["kind: [", "", shift("a", 0), "just text\n"])
EDITS = st.lists(st.tuples(PATHS, st.one_of(GOOD, BAD, st.none())), max_size=12)


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
