"""Tests that need root, where they cannot have it: counted as blocked, failed in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import pytest

@pytest.fixture(scope="module")
def namespace():
    raise AssertionError("begun without root")

@pytest.mark.root
@pytest.mark.parametrize("n", [1, 2])
def test_with_root(namespace, n):
    pass

def test_without():
    pass
"""


def run(directory: Path, *options: str, **environment: str) -> tuple[int, str]:
    """Exit code and output of pytest where there is no program to make namespaces with."""
    (directory / "conftest.py").write_text(CONFTEST.read_text())
    (directory / "pytest.ini").write_text("[pytest]\nmarkers =\n    root: needs root\n")
    (directory / "test_it.py").write_text(TESTS)
    kept = {key: value for key, value in os.environ.items() if key != "CI"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-ra", "-p", "no:cacheprovider", *options],
        cwd=directory,
        env=kept | {"PATH": str(directory)} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_they_are_counted_apart(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, output = run(tmp_path, *options)
    assert code == 0, output
    assert "1 passed, 2 blocked" in output
    assert output.count("blocked: needs root") >= 3
    assert "2 tests did not run" in output
    assert "begun without root" not in output


def test_in_ci_they_fail(tmp_path: Path) -> None:
    code, output = run(tmp_path, CI="true")
    assert code == 1
    assert "2 errors" in output
    assert "blocked: needs root (" in output
