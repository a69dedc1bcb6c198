"""What a bad file does: its last good objects stay, and the problem names file, line and remedy."""

import errno
import os
from pathlib import Path

import pytest

from controlplane.api.problem import ObjectRef, Severity, Source
from controlplane.durable import OsFs
from controlplane.sources.addresses import Addresses
from controlplane.sources.claims import CREATED, TREE, FileId
from controlplane.sources.files import FilesSource
from controlplane.sources.files_scan import MAX_BYTES, Content, read
from controlplane.sources.files_state import FilesState, Step, interpret
from controlplane.sources.objects import remove_object, save_object
from tests.unit.sources.recorder import Recorder, replace, running, service, shift, write


class Files:
    """A state that is fed with texts."""

    def __init__(self) -> None:
        self.state = FilesState("default", Addresses())
        self.recorder = Recorder()

    def put(self, **texts: str | None) -> list[str]:
        """Set files by name (``a`` is a.yaml); the texts of all problems there now are."""
        changes = {}
        for name, text in texts.items():
            file = FileId(TREE, f"{name}.yaml")
            content = Content(text)
            changes[file] = interpret(content, file, self.state.file(file), "default")
        step: Step = self.state.update(changes)
        self.recorder.apply(step.transaction, step.problems)
        return self.recorder.texts

    def port(self, name: str) -> int:
        return int(self.recorder.world["Service", "shop", name].ports[0].port)


def test_a_file_that_does_not_parse_keeps_its_objects() -> None:
    files = Files()
    assert files.put(a=service("one") + "---\n" + service("two")) == []
    assert files.put(a=service("one", 81) + "---\nkind: [\n") == [
        "a.yaml:6: File a.yaml: is not YAML: did not find expected node content while parsing a "
        "flow node (the file's last good objects stay in effect). "
        "Check the indentation, colons and quotes at this line"
    ]
    assert files.recorder.names == {"Service one", "Service two"}
    assert files.port("one") == 80
    assert files.put(a=service("one", 81)) == []
    assert files.recorder.names == {"Service one"}
    assert files.port("one") == 81


def test_the_good_documents_of_a_new_file_count() -> None:
    files = Files()
    problems = files.put(a=service("one") + "---\nkind: [\n---\n" + service("two"))
    assert len(problems) == 1
    assert files.recorder.names == {"Service one", "Service two"}


def test_a_text_that_is_read_twice_counts_once() -> None:
    files = Files()
    text = service("one") + "---\nkind: [\n"
    problems = files.put(a=text)
    assert files.put(a=text) == problems
    assert "stay in effect" not in problems[0]
    assert "stay in effect" in files.put(a=text + "# more\n")[0]


def test_of_duplicates_that_turn_bad_the_first_stays() -> None:
    files = Files()
    assert len(files.put(a=shift("a", 1) + "---\n" + shift("a", 2))) == 1
    files.put(a=shift("a", 0) + "---\n" + shift("a", 0))
    [share] = files.recorder.world["TrafficShift", "shop", "a"].spec.weights
    assert share.weight == 1


def test_an_invalid_object_keeps_its_last_version() -> None:
    files = Files()
    files.put(a=shift("reviews", 80, 20) + "---\n" + service("a"))
    assert files.put(a=shift("reviews", 0, 0) + "---\n" + service("a", 81)) == [
        "a.yaml:6: TrafficShift shop/reviews: spec.weights: all weights are zero, so no request "
        "could go anywhere (its last version stays in effect). "
        "Give at least one Service a weight above zero"
    ]
    kept = files.recorder.world["TrafficShift", "shop", "reviews"]
    assert [share.weight for share in kept.spec.weights] == [80, 20]
    assert files.port("a") == 81
    files.put(a=shift("reviews", 0, 0) + "---\n" + service("a", 82))
    assert "TrafficShift reviews" in files.recorder.names
    files.put(a=service("a", 82))
    assert files.recorder.names == {"Service a"}


def test_an_invalid_object_without_an_earlier_version() -> None:
    files = Files()
    [problem] = files.put(a=shift("reviews", 0))
    assert "stays in effect" not in problem
    assert files.recorder.names == set()


def test_a_file_that_is_emptied_keeps_its_objects() -> None:
    files = Files()
    files.put(a=service("a"))
    assert files.put(a="") == [
        "a.yaml:1: File a.yaml: is empty; its last good objects stay in effect. "
        "Delete the file to delete its objects"
    ]
    assert files.recorder.names == {"Service a"}
    assert files.put(a="# nothing more\n") == []
    assert files.recorder.names == set()


def test_duplicates_in_two_files() -> None:
    files = Files()
    clash = (
        "b.yaml:1: Service shop/a: stands in b.yaml:1 and in a.yaml:1; the latter is used. "
        "Remove one of the two, or give it another name"
    )
    assert files.put(b=service("a", 2), c=service("c")) == []
    assert files.put(a=service("a", 1)) == [clash]
    assert files.port("a") == 1
    assert files.put(b=service("a", 3)) == [clash]
    assert files.port("a") == 1
    assert files.put(a=None) == []
    assert files.port("a") == 3


def test_duplicates_in_one_file() -> None:
    files = Files()
    [problem] = files.put(a=service("a", 1) + "---\n" + service("a", 2))
    assert problem.startswith("a.yaml:6: Service shop/a: stands in a.yaml:6 and in a.yaml:1;")
    assert files.port("a") == 1


def test_unchanged_documents_are_not_parsed_again() -> None:
    file = FileId(TREE, "a.yaml")
    first = interpret(Content(service("a") + "---\n" + service("b")), file, None, "default")
    assert first is not None
    text = "# a comment above\n---\n" + service("a") + "---\n" + service("c")
    second = interpret(Content(text), file, first, "default")
    assert second is not None
    shared = first.documents.keys() & second.documents.keys()
    assert not shared  # the marker is part of the first document's text now
    third = interpret(Content(text + "---\n" + service("d")), file, second, "default")
    assert third is not None
    for digest in second.documents:
        assert third.documents[digest] is second.documents[digest]
    assert [entry.line for entry in third.entries] == [3, 8, 13]


def test_a_file_over_4_mib_is_not_read(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_text(service("a") + "#" * MAX_BYTES)
    content = read(str(big), "big.yaml")
    assert str(content.problem) == (
        f"big.yaml:1: File big.yaml: has {big.stat().st_size} bytes, more than 4194304, and is not "
        "read. Split it into several files"
    )
    assert content.text is None
    exact = tmp_path / "exact.yaml"
    exact.write_text("#" * MAX_BYTES)
    assert read(str(exact), "exact.yaml").problem is None


async def test_a_file_grows_over_4_mib_and_shrinks(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": service("a", 80)})
    async with running(FilesSource(tmp_path)) as recorder:
        replace(tmp_path, "a.yaml", service("a", 81) + "#" * MAX_BYTES)
        await recorder.until(lambda: bool(recorder.problems))
        assert recorder.world["Service", "shop", "a"].ports[0].port == 80
        assert "is not read (the file's last good objects stay in effect)" in recorder.texts[0]
        replace(tmp_path, "a.yaml", service("a", 82))
        await recorder.until(lambda: not recorder.problems)
        assert recorder.world["Service", "shop", "a"].ports[0].port == 82


def test_a_file_that_disappears_before_it_is_read(tmp_path: Path) -> None:
    assert read(str(tmp_path / "a.yaml"), "a.yaml").gone
    (tmp_path / "file").write_text("")
    assert read(str(tmp_path / "file" / "a.yaml"), "a.yaml").gone


def test_what_is_no_file_any_more(tmp_path: Path) -> None:
    (tmp_path / "dir.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    assert read(str(tmp_path / "dir.yaml"), "dir.yaml").gone
    assert read(str(tmp_path / "pipe.yaml"), "pipe.yaml").gone


def test_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xff\n")
    content = read(str(tmp_path / "a.yaml"), "a.yaml")
    assert str(content.problem) == "a.yaml:2: File a.yaml: is not UTF-8. Save it as UTF-8"


def test_a_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    text = service("a").replace("\n", "\r\n")
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    files = Files()
    assert files.put(a=read(str(tmp_path / "a.yaml"), "a.yaml").text) == []
    assert files.port("a") == 80


def test_an_unreadable_file(tmp_path: Path) -> None:
    """By a loop of links: unlike a mode, it stops root too."""
    path = tmp_path / "a.yaml"
    path.symlink_to("a.yaml")
    assert str(read(str(path), "a.yaml").problem) == (
        "a.yaml:1: File a.yaml: cannot be read: too many levels of symbolic links. "
        "Let the user who runs Plait read it"
    )


async def test_objects_that_meshctl_created(tmp_path: Path) -> None:
    tree, objects = tmp_path / "tree", tmp_path / "state" / "objects"
    write(tree, {"a.yaml": service("a")})
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "b", "namespace": "shop"},
        "spec": {"ports": [{"port": 80}]},
    }
    saved = save_object(objects, manifest)
    assert saved.name == "Service.shop.b.json"
    source = FilesSource(tree, objects)
    ref = ObjectRef("Service", "shop", "b")
    async with running(source) as recorder:
        assert recorder.names == {"Service a", "Service b"}
        assert source.find(ref) is None
        assert source.find(ObjectRef("Service", "shop", "a")) == Source("a.yaml", 1)
        write(tree, {"b.yaml": service("b", 81)})
        await recorder.until(lambda: bool(recorder.problems))
        assert recorder.texts == [
            f"{saved}:1: Service shop/b: was created with meshctl and also stands in b.yaml:1, "
            "which is used. Remove it from b.yaml, or delete what meshctl created"
        ]
        assert recorder.world["Service", "shop", "b"].ports[0].port == 81
        assert source.find(ref) == Source("b.yaml", 1)
        assert remove_object(objects, ref)
        await recorder.until(lambda: not recorder.problems)


def test_an_object_s_name_cannot_leave_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a file"):
        save_object(tmp_path, {"kind": "Service", "metadata": {"name": "../../etc/x"}})


class FullDisk(OsFs):
    full = True

    def write(self, fd: int, data: bytes) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(fd, data)


async def test_a_full_state_directory_stops_nothing(tmp_path: Path) -> None:
    tree, kept, fs = tmp_path / "tree", tmp_path / "addresses.json", FullDisk()
    write(tree, {"a.yaml": service("a")})
    async with running(FilesSource(tree, addresses=kept, fs=fs)) as recorder:
        assert recorder.world["Service", "shop", "a"].cluster_ips
        replace(tree, "a.yaml", service("a", 81))
        await recorder.until(lambda: bool(recorder.problems))
        assert "no space left on device" in recorder.texts[0]
        assert recorder.problems[0].severity is Severity.WARNING
        fs.full = False
        replace(tree, "a.yaml", service("a", 82))
        await recorder.until(lambda: not recorder.problems)
    assert kept.exists()


def test_ranks_order_files() -> None:
    assert FileId(TREE, "z") < FileId(CREATED, "a")
