"""A restart while a manifest is bad: its last good objects, and its problem, are there again."""

import json
import os
from pathlib import Path

import pytest

from controlplane.api.problem import Severity
from controlplane.durable import OsFs
from controlplane.sources.claims import TREE, FileId
from controlplane.sources.files import FilesSource
from controlplane.sources.last_good import dump, record_name, restore
from controlplane.sources.manifests import read_text
from tests.fakes.full_disk import STEPS, FullDisk
from tests.unit.sources.recorder import Recorder, running, service, shift, write

BROKEN = "kind: [\n"


class Place:
    """A directory of manifests, and the records beside it."""

    def __init__(self, root: Path) -> None:
        self.tree, self.state = root / "tree", root / "state" / "rollout" / "last-good"
        self.tree.mkdir()

    def source(self, fs: OsFs | None = None, tree: Path | None = None) -> FilesSource:
        addresses = self.state.parent.parent / "addresses.json"
        addresses.parent.mkdir(exist_ok=True)
        return FilesSource(
            tree or self.tree, addresses=addresses, last_good=self.state, fs=fs or OsFs()
        )

    def records(self) -> list[str]:
        """Names of all that stands there, leftovers included."""
        return sorted(os.listdir(self.state)) if self.state.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def number(recorder: Recorder, name: str) -> int:
    return int(recorder.world["Service", "shop", name].ports[0].port)


async def turn_bad(place: Place, good: str, bad: str) -> tuple[Recorder, list[str]]:
    """Run with a good text, then a bad one; what the sink had at the end, and the problems."""
    write(place.tree, {"a.yaml": good})
    source = place.source()
    async with running(source) as recorder:
        assert recorder.problems == ()
        write(place.tree, {"a.yaml": bad})
        await source.refresh()
    return recorder, recorder.texts


async def test_a_broken_file_keeps_its_objects(place: Place) -> None:
    good = "# head\n---\n" + service("one") + "---\n" + service("two", 81)
    before, problems = await turn_bad(place, good, service("one", 99) + "---\n" + BROKEN)
    [problem] = problems
    assert "(the file's last good objects stay in effect)" in problem
    async with running(place.source()) as after:
        assert after.world == before.world
        assert after.texts == problems
        assert len(after.transactions) == 1
        assert number(after, "one") == 80
    async with running(place.source()) as again:
        assert again.world == before.world


async def test_a_broken_file_among_duplicates(place: Place) -> None:
    """The lines of what is kept stand in other files' problems."""
    write(place.tree, {"b.yaml": service("two", 82)})
    write(place.tree, {"a.yaml": service("one") + "---\n" + service("two", 81)})
    source = place.source()
    async with running(source) as before:
        write(place.tree, {"a.yaml": BROKEN})
        await source.refresh()
    assert any("stands in b.yaml:1 and in a.yaml:6;" in text for text in before.texts)
    async with running(place.source()) as after:
        assert after.world == before.world
        assert after.texts == before.texts


async def test_an_invalid_object_keeps_its_last_version(place: Place) -> None:
    good = shift("reviews", 80, 20) + "---\n" + service("a")
    before, problems = await turn_bad(place, good, shift("reviews", 0, 0) + "---\n" + service("b"))
    [problem] = problems
    assert "(its last version stays in effect)" in problem
    source = place.source()
    async with running(source) as after:
        assert after.world == before.world
        assert after.texts == problems
        assert after.names == {"TrafficShift reviews", "Service b"}
        write(place.tree, {"a.yaml": shift("reviews", 0, 0)})
        await source.refresh()
        assert after.names == {"TrafficShift reviews"}
        write(place.tree, {"a.yaml": service("b")})
        await source.refresh()
        assert after.names == {"Service b"}
    assert place.records() == []


@pytest.mark.parametrize("bad", ["", "a: \xff"])
async def test_an_emptied_or_undecodable_file(place: Place, bad: str) -> None:
    write(place.tree, {"a.yaml": service("a")})
    source = place.source()
    async with running(source) as before:
        (place.tree / "a.yaml").write_bytes(bad.encode("latin-1"))
        await source.refresh()
    async with running(place.source()) as after:
        assert after.names == {"Service a"}
        assert after.texts == before.texts


async def test_mended_and_then_restarted(place: Place) -> None:
    await turn_bad(place, service("one") + "---\n" + service("two"), BROKEN)
    source = place.source()
    async with running(source) as recorder:
        write(place.tree, {"a.yaml": service("one", 81)})
        await source.refresh()
        assert recorder.names == {"Service one"}
    assert place.records() == []
    async with running(place.source()) as recorder:
        assert recorder.names == {"Service one"}
        assert number(recorder, "one") == 81
    write(place.tree, {"a.yaml": BROKEN})
    async with running(place.source()) as recorder:
        assert recorder.names == set()  # an old version does not come back


async def test_mended_while_down(place: Place) -> None:
    await turn_bad(place, service("one") + "---\n" + service("two"), BROKEN)
    write(place.tree, {"a.yaml": service("one", 81)})
    async with running(place.source()) as recorder:
        assert recorder.names == {"Service one"}
        assert recorder.problems == ()
    assert place.records() == []


async def test_deleted_while_down(place: Place) -> None:
    await turn_bad(place, service("one"), BROKEN)
    assert len(place.records()) == 1
    (place.tree / "a.yaml").unlink()
    async with running(place.source()) as recorder:
        assert recorder.names == set()
        assert recorder.problems == ()
    assert place.records() == []


async def test_deleted_while_it_runs(place: Place) -> None:
    await turn_bad(place, service("one"), BROKEN)
    source = place.source()
    async with running(source) as recorder:
        assert recorder.names == {"Service one"}
        (place.tree / "a.yaml").unlink()
        await source.refresh()
        assert recorder.names == set()
    assert place.records() == []


async def test_a_file_that_never_was_good_has_none(place: Place) -> None:
    await turn_bad(place, "# nothing yet\n", BROKEN + "---\n" + shift("reviews", 0))
    assert place.records() == []
    write(place.tree, {"a.yaml": shift("reviews", 1)})
    async with running(place.source()) as recorder:
        assert recorder.problems == ()


async def test_the_directory_is_not_there_yet(place: Place) -> None:
    """A volume that is mounted late: nothing is taken for deleted."""
    before, problems = await turn_bad(place, service("one"), BROKEN)
    aside = place.tree.rename(place.tree.with_name("aside"))
    source = place.source()
    async with running(source) as recorder:
        assert recorder.world == {}
        assert "cannot be read" in recorder.texts[0]
        aside.rename(place.tree)
        await source.refresh()
        assert recorder.world == before.world
        assert recorder.texts == problems


async def test_another_directory_has_its_own(place: Place, tmp_path: Path) -> None:
    await turn_bad(place, service("one"), BROKEN)
    write(tmp_path / "other", {"a.yaml": BROKEN})
    async with running(place.source(tree=tmp_path / "other")) as recorder:
        assert recorder.names == set()
    async with running(place.source()) as recorder:
        assert recorder.names == {"Service one"}


@pytest.mark.parametrize("step", STEPS)
async def test_a_full_disk_at_each_step(place: Place, step: str) -> None:
    write(place.tree, {"a.yaml": service("a"), "b.yaml": service("b")})
    fs = FullDisk()
    source = place.source(fs)
    async with running(source) as recorder:
        fs.step = step
        write(place.tree, {"a.yaml": BROKEN, "b.yaml": service("b", 81)})
        await source.refresh()
        assert recorder.names == {"Service a", "Service b"}
        assert number(recorder, "b") == 81
        await recorder.until(lambda: len(recorder.problems) == 2)
        [text] = [t for t in recorder.texts if "cannot be kept" in t]
        assert text.startswith("a.yaml:1: File a.yaml: its last good version cannot be kept: ")
        assert "no space left on device" in text
        assert Severity.WARNING in {problem.severity for problem in recorder.problems}
        write(place.tree, {"b.yaml": service("b", 82)})
        await source.refresh()
        assert number(recorder, "b") == 82
        fs.step = ""
        write(place.tree, {"a.yaml": BROKEN + "# touched\n"})
        await source.refresh()
        await recorder.until(lambda: len(recorder.problems) == 1)
    assert len(place.records()) == 1
    async with running(place.source()) as after:
        assert after.world == recorder.world


async def test_tried_again_by_itself(place: Place) -> None:
    write(place.tree, {"a.yaml": service("a")})
    fs = FullDisk()
    source = place.source(fs)
    async with running(source) as recorder:
        fs.step = "write"
        write(place.tree, {"a.yaml": BROKEN})
        await source.refresh()
        await recorder.until(lambda: len(recorder.problems) == 2)
        assert place.records() == []
        fs.step = ""
    assert len(place.records()) == 1


class NoRemoval(OsFs):
    refused = True

    def unlink(self, path: Path) -> None:
        if self.refused and path.suffix == ".json":
            raise OSError(30, os.strerror(30))
        super().unlink(path)


async def test_a_record_that_cannot_be_removed(place: Place) -> None:
    await turn_bad(place, service("one"), BROKEN)
    fs = NoRemoval()
    source = place.source(fs)
    async with running(source) as recorder:
        write(place.tree, {"a.yaml": service("one", 81)})
        await source.refresh()
        assert number(recorder, "one") == 81
        await recorder.until(lambda: bool(recorder.problems))
        assert "its former last good version cannot be removed" in recorder.texts[0]
        fs.refused = False
        write(place.tree, {"a.yaml": service("one", 82)})
        await source.refresh()
        await recorder.until(lambda: not recorder.problems)
    assert place.records() == []


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b'{"version": 2}', b'{"version": 1, "root": "x"}']
)
async def test_a_damaged_record(place: Place, data: bytes) -> None:
    await turn_bad(place, service("one"), BROKEN)
    [name] = place.records()
    (place.state / name).write_bytes(data)
    source = place.source()
    async with running(source) as recorder:
        assert recorder.names == set()
        [first, _] = recorder.texts
        assert first.startswith(f"File {place.state / name}: the last good version of a bad file")
        assert (place.state / name).read_bytes() == data
        write(place.tree, {"a.yaml": service("one")})
        await source.refresh()
        await recorder.until(lambda: not recorder.problems)
    assert place.records() == []


async def test_records_are_for_their_owner_alone(place: Place) -> None:
    await turn_bad(place, service("one"), BROKEN)
    [name] = place.records()
    assert (place.state / name).stat().st_mode & 0o777 == 0o600


def test_an_object_that_this_version_refuses_is_left_out() -> None:
    file = FileId(TREE, "d\udcff/a.yaml")
    text = service("one") + "---\n" + shift("reviews", 1)
    documents, _ = read_text(text, file.path)
    entries = [entry for document in documents for entry in document.entries]
    data = dump("/manifests", file, entries)
    assert restore(data, "default") == ("/manifests", file, tuple(entries))
    body = json.loads(data)
    body["documents"][1]["text"] = shift("reviews", 0)
    refused = restore(json.dumps(body).encode(), "default")
    assert refused.entries == tuple(entries[:1])
    assert record_name("/manifests", file) != record_name("/other", file)
