"""Addresses, the default state directory, and what `plait serve` says about wrong flags."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from controlplane.app.cli import app
from controlplane.app.settings import Address, Settings, parse_address
from controlplane.app.statedir import default_state


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:15012", Address("127.0.0.1", 15012)),
        ("[::1]:0", Address("::1", 0)),
        ("plait.example:1", Address("plait.example", 1)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "15012", ":15012", "::1:15012", "a:b", "a:65536", "a:-1"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="write HOST:PORT"):
        parse_address(text)


def test_default_state(tmp_path: Path) -> None:
    assert default_state({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "plait"
    relative = default_state({"XDG_STATE_HOME": "state"})
    assert relative == Path("~/.local/state/plait").expanduser()
    assert default_state({}) == relative


def test_the_socket_stands_in_the_state_directory(tmp_path: Path) -> None:
    assert Settings(tmp_path, tmp_path / "s").admin_socket == tmp_path / "s" / "admin.sock"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "nowhere"),
        ([".", "--source", "magic"], "magic"),
        ([".", "--listen", "15012"], "HOST:PORT"),
        ([".", "--metrics-address", "x"], "HOST:PORT"),
        ([".", "--debounce", "soon"], "is not a duration"),
    ],
)
def test_wrong_flags_are_usage_errors(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(app, ["serve", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert text in result.output


def test_help_names_the_variables() -> None:
    result = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for name in ("PLAIT_STATE", "PLAIT_LISTEN", "PLAIT_METRICS_ADDRESS", "Examples"):
        assert name in result.output
    assert "[default: $XDG_STATE_HOME/plait]" in result.output
