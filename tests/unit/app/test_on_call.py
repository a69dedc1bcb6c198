"""docs/on-call.md stays true: every log field and flag is explained, every command exists."""

import re
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

from controlplane.meshctl.cli import build
from xds.build import access_log

PAGE = (Path(__file__).parents[3] / "docs" / "on-call.md").read_text()


def test_every_field_is_explained() -> None:
    table = PAGE.partition("## 5.")[2]
    fields = {"direction", "listener", "event", *access_log._CONNECTION, *access_log._REQUEST}
    assert {field for field in fields if f"`{field}`" not in table} == set()


def test_the_flags_are_explained() -> None:
    rows = set(re.findall(r"^\| `([A-Z]+)` \|", PAGE, re.MULTILINE))
    assert rows >= {"UH", "UF", "NR", "UC", "URX", "UO", "DC", "NC", "UT", "LR"}


def test_every_command_exists() -> None:
    named = re.findall(r"meshctl ((?:[a-z-]+ )*[a-z-]+)", PAGE)
    assert len(named) > 10
    for words in named:
        group = get_command(build())
        for word in words.split():
            if not isinstance(group, TyperGroup):
                break
            assert word in group.commands, words
            group = group.commands[word]
