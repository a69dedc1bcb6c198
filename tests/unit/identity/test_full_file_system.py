"""A state directory on a file system of 1 MB that is really full."""

import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.durable import StateError
from controlplane.identity import state
from tests.fakes.clock import ManualClock

pytestmark = pytest.mark.root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    mount, umount = shutil.which("mount"), shutil.which("umount")
    assert mount
    assert umount
    place = tmp_path / "small"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m,mode=700", "plait-test"]
    subprocess.run([mount, *options, str(place)], check=True)
    yield place
    subprocess.run([umount, str(place)], check=True)


def fill(place: Path) -> Path:
    """Write until nothing fits."""
    ballast = place / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    return ballast


def test_first_start_is_refused_and_works_once_there_is_room(
    small: Path, clock: ManualClock
) -> None:
    (small / "state").mkdir(mode=0o700)
    ballast = fill(small)
    with pytest.raises(StateError, match=r"no space left on device\. Free space"):
        state.open_state(small / "state", clock.now())
    assert not (small / "state" / "ca").exists()
    ballast.unlink()
    assert state.open_state(small / "state", clock.now()).authority.created


def test_what_is_there_is_read_from_a_full_disk(small: Path, clock: ManualClock) -> None:
    made = state.open_state(small / "state", clock.now())
    fill(small)
    found = state.open_state(small / "state", clock.now())
    assert found.authority.key_id == made.authority.key_id
    assert found.token_key.key_id == made.token_key.key_id
