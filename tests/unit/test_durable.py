"""Durable writes: when a step fails the old content stands, and the error says what to do."""

import errno
import os
from pathlib import Path

import pytest

from controlplane.durable import (
    OsFs,
    StateError,
    make_directory,
    read_state,
    remove_durably,
    write_durably,
)

STEPS = ("create", "write", "fsync", "rename", "sync_directory")


class FullDisk(OsFs):
    """Fails one step with ENOSPC, after ``grace`` successes of it."""

    def __init__(self, step: str, grace: int = 0) -> None:
        self.step, self.grace = step, grace

    def _maybe(self, step: str) -> None:
        if step == self.step:
            if self.grace == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.grace -= 1

    def create(self, path: Path, mode: int) -> int:
        self._maybe("create")
        return super().create(path, mode)

    def write(self, fd: int, data: bytes) -> int:
        self._maybe("write")
        return super().write(fd, data[:3])  # short writes are legal

    def fsync(self, fd: int) -> None:
        self._maybe("fsync")
        super().fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        self._maybe("rename")
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self._maybe("sync_directory")
        super().sync_directory(path)


def test_write_read_remove(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    assert read_state(path) is None
    write_durably(path, b"one")
    write_durably(path, b"two")
    assert read_state(path) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["tokens"]
    assert remove_durably(path)
    assert not remove_durably(path)


def test_short_writes_are_continued(tmp_path: Path) -> None:
    write_durably(tmp_path / "f", b"0123456789", fs=FullDisk("nothing"))
    assert read_state(tmp_path / "f") == b"0123456789"


@pytest.mark.parametrize("step", STEPS)
def test_full_disk_at_each_step(tmp_path: Path, step: str) -> None:
    path = tmp_path / "ca.json"
    write_durably(path, b"old")
    with pytest.raises(StateError) as caught:
        write_durably(path, b"new", fs=FullDisk(step))
    named = step.replace("_", " ")
    assert str(caught.value) == (
        f"{path}: {named} failed: no space left on device. "
        "Free space on the file system of the state directory"
    )
    assert path.read_bytes() == (b"new" if step == "sync_directory" else b"old")
    assert os.listdir(tmp_path) == ["ca.json"]


def test_disk_fills_up_midway(tmp_path: Path) -> None:
    path = tmp_path / "ca.json"
    write_durably(path, b"old")
    with pytest.raises(StateError):
        write_durably(path, b"longer than three bytes", fs=FullDisk("write", grace=2))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["ca.json"]


def test_directory_in_the_file_s_place(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(StateError, match="Move the directory that stands where this file belongs"):
        read_state(tmp_path / "key")
    with pytest.raises(StateError, match="rename failed: is a directory"):
        write_durably(tmp_path / "key", b"x")


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / ".plait-key.tmp").symlink_to(victim)
    with pytest.raises(StateError, match="create failed"):
        write_durably(tmp_path / "key", b"x")
    assert victim.read_bytes() == b"mine"


def test_make_directory(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="Move the file that stands where this directory belongs"):
        make_directory(tmp_path / "file")
