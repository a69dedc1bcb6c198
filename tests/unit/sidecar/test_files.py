"""The files beside the bootstrap: modes, and renewal by one rename."""

import json
import os
import stat
from pathlib import Path

import pytest

from sidecar.bootstrap import BootstrapError, Sidecar
from sidecar.files import DATA, SidecarFiles


def described(directory: Path) -> Sidecar:
    return Sidecar("local", "shop", "web-1", "web", "127.0.0.1", 15012, directory)


@pytest.fixture
def files(tmp_path: Path) -> SidecarFiles:
    made = SidecarFiles(tmp_path / "web")
    made.write(described(made.directory), "token-1", b"roots-1")
    return made


def test_layout(files: SidecarFiles) -> None:
    assert files.token.read_text() == "token-1"
    assert files.roots.read_bytes() == b"roots-1"
    assert json.loads(files.bootstrap.read_text())["node"]["id"] == "local/shop/web-1"
    assert "token-1" not in files.bootstrap.read_text()


def test_modes(files: SidecarFiles) -> None:
    assert stat.S_IMODE(files.directory.stat().st_mode) == 0o700
    for path in files.directory.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_wide_directory_is_closed(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir(mode=0o755)
    SidecarFiles(tmp_path / "web").write(described(tmp_path / "web"), "token-1", b"roots-1")
    assert stat.S_IMODE((tmp_path / "web").stat().st_mode) == 0o700


def test_renewal_swaps_a_link(files: SidecarFiles) -> None:
    """The directory's own name is what changes: the event that Envoy waits for."""
    directory = files.token.parent
    seen = set()
    for number in range(2, 7):
        before = os.readlink(directory / DATA)
        files.renew_token(f"token-{number}")
        after = os.readlink(directory / DATA)
        assert after != before
        assert files.token.read_text() == f"token-{number}"
        assert os.readlink(files.token) == f"{DATA}/token"
        seen.add(frozenset(os.listdir(directory)))
    assert all(len(names) == 3 for names in seen), "old content is removed"
    files.renew_roots(b"roots-2")
    assert files.roots.read_bytes() == b"roots-2"


def test_old_token_stands_until_the_rename(files: SidecarFiles) -> None:
    """A crash at any moment before leaves the old one; leftovers do not stop the next renewal."""
    directory = files.token.parent
    (directory / "..2").mkdir()
    (directory / "..2" / "token").write_text("half")
    (directory / "..data_new").symlink_to("..2")
    assert files.token.read_text() == "token-1"
    files.renew_token("token-2")
    assert files.token.read_text() == "token-2"


def test_a_link_elsewhere_is_not_followed_for_removal(files: SidecarFiles, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "token").write_text("theirs")
    (files.token.parent / DATA).unlink()
    (files.token.parent / DATA).symlink_to(victim)
    files.renew_token("token-2")
    assert (victim / "token").read_text() == "theirs"
    assert files.token.read_text() == "token-2"


def test_nothing_is_written_for_a_sidecar_that_cannot_be_described(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    with pytest.raises(BootstrapError):
        SidecarFiles(directory).write(described(directory), "token-1", b"roots-1")
    assert not directory.exists()


def test_writing_again_replaces_all(files: SidecarFiles) -> None:
    files.write(described(files.directory), "token-2", b"roots-2")
    assert files.token.read_text() == "token-2"
    assert files.roots.read_bytes() == b"roots-2"


def test_a_link_in_place_of_a_directory_is_not_followed(
    files: SidecarFiles, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    files.token.parent.rename(tmp_path / "aside")
    files.token.parent.symlink_to(victim)
    with pytest.raises(OSError, match="token"):
        files.renew_token("token-2")
    assert stat.S_IMODE(victim.stat().st_mode) == 0o755
    assert not list(victim.iterdir())


@pytest.mark.root
def test_the_user_of_given_files_can_replace_none_of_their_directories(tmp_path: Path) -> None:
    given = SidecarFiles(tmp_path / "web", 1337)
    given.write(described(given.directory), "token-1", b"roots-1")
    given.renew_token("token-2")
    top = given.directory.stat()
    assert (top.st_uid, top.st_gid, stat.S_IMODE(top.st_mode)) == (os.geteuid(), 1337, 0o1770)
    for path in given.directory.rglob("*"):
        found = path.stat()
        assert found.st_gid == 1337, path
        if path.is_dir():
            assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o750), path
        else:
            assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (1337, 0o600), path
