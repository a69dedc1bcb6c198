"""Every input that earlier runs found and kept, once, in seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.grow import LONGEST, MOST_BYTES, MOST_FILES
from tests.fuzz.guided import CORPUS, UNDER_TEST, kept

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", UNDER_TEST)
def test_the_target_survives_what_is_kept(target: str, tmp_path: Path) -> None:
    command = (sys.executable, "-m", f"tests.fuzz.{target}", str(tmp_path), "-runs=0")
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    known = int(done.stderr.rpartition("Done ")[2].partition(" known inputs")[0])
    assert known > len(kept(target)) > 0


@pytest.mark.parametrize("target", UNDER_TEST)
def test_what_is_kept_is_small(target: str) -> None:
    sizes = [len(data) for data in kept(target).values()]
    assert len(sizes) <= MOST_FILES
    assert sum(sizes) <= MOST_BYTES
    assert max(sizes) <= LONGEST


def test_nothing_else_is_kept() -> None:
    assert {path.name for path in CORPUS.iterdir()} == UNDER_TEST.keys()
