"""The preflight names what is in the way and what to do, and runs on old Pythons."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from examples import preflight

FILE = Path(preflight.__file__)


def machine(**changes: Any) -> Any:
    good = {
        "system": "Linux",
        "machine": "x86_64",
        "bits": 64,
        "python": (3, 11),
        "glibc": "2.36",
        "modules": ["venv", "ensurepip", "ssl"],
    }
    return preflight.Machine(**{**good, **changes})


@pytest.mark.parametrize("changes", [{}, {"machine": "aarch64", "glibc": "2.31"}])
def test_nothing_is_in_the_way(changes: dict[str, Any]) -> None:
    assert preflight.obstacles(machine(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "reason", "remedy"),
    [
        ({"system": "Darwin"}, "this is Darwin", "Use a Linux machine"),
        ({"machine": "riscv64"}, "no Envoy for riscv64 (64 bit)", "x86_64 or aarch64"),
        ({"bits": 32}, "no Envoy for x86_64 (32 bit)", "64-bit"),
        ({"glibc": "2.28"}, "glibc is 2.28", "Use a newer distribution"),
        ({"glibc": ""}, "not glibc", "Debian"),
        ({"python": (3, 9)}, "Python is 3.9", "make demo PYTHON="),
        ({"modules": ["venv", "ssl"]}, "lacks ensurepip", "apt install python3.11-venv"),
        ({"modules": ["venv", "ensurepip"]}, "without ssl", "apt install python3"),
    ],
)
def test_one_line_with_its_remedy(changes: dict[str, Any], reason: str, remedy: str) -> None:
    (line,) = preflight.obstacles(machine(**changes))
    assert reason in line
    assert remedy in line
    assert "\n" not in line


def test_everything_in_the_way_is_said_at_once() -> None:
    lines = preflight.obstacles(machine(machine="i686", bits=32, glibc="2.17", python=(3, 6)))
    assert len(lines) == 3


def test_its_syntax_is_that_of_old_pythons() -> None:
    ast.parse(FILE.read_text(), feature_version=(3, 6))


def test_it_runs_on_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(FILE)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1 if done.stderr else 0, "")
