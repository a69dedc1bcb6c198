"""A bounded, repeatable run of each fuzz target; longer ones are started by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", ["request", "metrics", "token"])
def test_the_target_survives_a_bounded_run(target: str, tmp_path: Path) -> None:
    command = (sys.executable, "-m", f"tests.fuzz.{target}", str(tmp_path))
    options = ("-runs=30000", "-seed=1", "-max_len=4096", f"-artifact_prefix={tmp_path}/")
    done = subprocess.run(
        (*command, *options), cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Done 30000 runs" in done.stderr
