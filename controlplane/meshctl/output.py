"""How results are printed: a table for people, JSON or YAML for programs.

A command gives a result dataclass and the blocks of its table form: lines and tables. On a
terminal tables are drawn by rich; elsewhere columns are padded with spaces and nothing is cut, so
that ``grep`` and ``awk`` work.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import yaml

from controlplane.api.problem import Problem, Severity
from controlplane.app.codec import to_json

T = TypeVar("T")


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class WideOutput(StrEnum):
    """`Output` of a command that leaves columns out of its table."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def form(self) -> Output:
        return Output.TABLE if self is WideOutput.WIDE else Output(self.value)


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "none"
    """Printed in place of a table without rows."""
    gap: int = 3
    """Spaces between two columns."""


Block = str | Table


def print_result(result: T, output: Output, table: Callable[[T], Iterable[Block]]) -> None:
    """Print ``result`` to standard output in the form that was asked for."""
    if output is Output.JSON:
        print_plain(json.dumps(to_json(result), indent=2, ensure_ascii=False))
    elif output is Output.YAML:
        print_plain(yaml.safe_dump(to_json(result), sort_keys=False, allow_unicode=True).rstrip())
    else:
        print_blocks(table(result))


def print_blocks(blocks: Iterable[Block]) -> None:
    for block in blocks:
        if isinstance(block, str):
            print_plain(block)
        elif not block.rows:
            print_plain(block.empty)
        elif sys.stdout.isatty():
            _print_rich(block)
        else:
            print_plain("\n".join(_padded(block)))


def print_plain(text: str) -> None:
    sys.stdout.write(text + "\n")


def print_error(text: str) -> None:
    sys.stderr.write(text + "\n")


def _padded(table: Table) -> list[str]:
    lines = [table.columns, *table.rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(table.columns))]
    return [
        (" " * table.gap)
        .join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        .rstrip()
        for line in lines
    ]


def _print_rich(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=None, pad_edge=False, padding=(0, table.gap, 0, 0), header_style="bold")
    for column in table.columns:
        drawn.add_column(column, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    Console().print(drawn)


_STYLES = {
    "acked": "green",
    "current": "green",
    "ready": "green",
    "yes": "green",
    "sent": "yellow",
    "waiting": "yellow",
    "removing": "yellow",
    "warning": "yellow",
    "rejected": "red",
    "rejecting": "red",
    "error": "red",
    "disconnected": "red",
}


def _style(cell: str) -> str:
    return _STYLES.get(cell, "")


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """One line each, errors first: ``error: file:line: Kind ns/name: field: message. remedy``."""
    ordered = sorted(problems, key=lambda p: p.severity is not Severity.ERROR)
    return [f"{problem.severity}: {problem}" for problem in ordered]


def yes(value: bool) -> str:
    return "yes" if value else "no"


def amount(count: int, noun: str, plural: str = "") -> str:
    """``1 sidecar``, ``2 sidecars``."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
