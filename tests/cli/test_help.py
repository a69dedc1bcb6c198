"""Every command explains itself with examples; names complete from the live mesh."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from controlplane.meshctl.cli import build
from tests.cli.conftest import Called, Mesh


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            found += commands(command, (*path, name))
        else:
            assert isinstance(command, TyperCommand)
            found.append((*path, name))
    return found


root = get_command(build())
assert isinstance(root, TyperGroup)
ALL = commands(root)


def test_the_commands_are_these() -> None:
    assert {" ".join(path) for path in ALL} == {
        "status",
        "proxy list",
        "proxy config",
        "proxy evict",
        "proxy bootstrap",
        "proxy token",
        "proxy run",
        "why",
        "simulate",
        "validate",
        "apply",
        "delete",
        "wait",
        "traffic-shift set",
        "traffic-shift get",
        "certs list",
        "certs rotate",
        "version",
    }


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_examples(path: tuple[str, ...], meshctl: Callable[..., Called]) -> None:
    called = meshctl(*path, "--help")
    assert called.code == 0
    assert "Examples" in called.out
    shown = "meshctl certs" if path == ("certs", "list") else "meshctl " + " ".join(path)
    assert called.out.count(shown) >= 2  # the usage line, and an example


@pytest.mark.parametrize(
    ("path", "defaults"),
    [
        (("status",), ["$XDG_STATE_HOME/plait"]),
        (("wait",), ["$XDG_STATE_HOME/plait", "default", "60s"]),
        (("proxy", "run"), ["$XDG_STATE_HOME/plait", "default", "a temporary one", "yours"]),
    ],
    ids=" ".join,
)
def test_help_tells_the_defaults(
    path: tuple[str, ...], defaults: list[str], meshctl: Callable[..., Called]
) -> None:
    shown = " ".join(meshctl(*path, "--help").out.replace("\u2502", " ").split())
    for default in defaults:
        assert f"[default: {default}]" in shown


def complete(mesh: Mesh, *words: str) -> list[str]:
    """What bash would be offered for the last word."""
    environment = os.environ | {
        "_MESHCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["meshctl", *words]),
        "COMP_CWORD": str(len(words)),
        "PLAIT_STATE": str(mesh.state),
    }
    environment.pop("PLAIT_NAMESPACE", None)
    done = subprocess.run(
        [sys.executable, "-c", "from controlplane.meshctl.cli import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_completion(mesh: Mesh) -> None:
    assert complete(mesh, "pro") == ["proxy"]
    assert complete(mesh, "proxy", "config", "we") == ["web.shop"]
    assert complete(mesh, "proxy", "config", "-n", "shop", "rev") == ["reviews-v1", "reviews-v2"]
    assert complete(mesh, "traffic-shift", "set", "-n", "shop", "rat") == ["ratings"]
    assert complete(mesh, "wait", "traffics") == ["trafficshift/"]


def test_completion_is_silent_without_a_server(mesh: Mesh, tmp_path: str) -> None:
    mesh.state = mesh.state / "elsewhere"
    assert complete(mesh, "proxy", "config", "we") == []
