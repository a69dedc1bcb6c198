"""What the demo shows: a live page on a terminal, plain lines elsewhere.

The page is a function of a `View`; nothing here measures or decides.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

EVENTS = 12
BAR = 40
"""Width of the split's bar, in characters."""


@dataclass(frozen=True, slots=True)
class ClientRow:
    name: str
    rate: float
    """Good calls per second, of late."""
    good: int
    failed: int

    @property
    def success(self) -> str:
        total = self.good + self.failed
        return f"{100 * self.good / total:.3f} %" if total else "–"


@dataclass(frozen=True, slots=True)
class View:
    phase: str = "starting"
    clients: tuple[ClientRow, ...] = ()
    split: Mapping[str, int] = field(default_factory=dict)
    """Replies of late by version of reviews."""
    callers: Mapping[str, str] = field(default_factory=dict)
    """SPIFFE id that each service saw of its caller."""


def split_text(split: Mapping[str, int]) -> str:
    """``v1 80.1 %  v2 19.9 %``; empty without replies."""
    total = sum(split.values())
    shares = (f"{name} {100 * count / total:.1f} %" for name, count in sorted(split.items()))
    return "  ".join(shares) if total else ""


def split_bar(split: Mapping[str, int]) -> Text:
    """The split as a bar of two colours."""
    total = sum(split.values())
    bar = Text()
    left = BAR
    for index, (name, count) in enumerate(sorted(split.items())):
        last = index == len(split) - 1
        width = left if last else round(BAR * count / total)
        left -= width
        bar.append("█" * width, "cyan" if name == "v1" else "magenta")
    return bar


def render(view: View, events: list[str]) -> RenderableType:
    """The whole page."""
    traffic = Table(title="load clients", title_justify="left", expand=False)
    traffic.add_column("client")
    for name in ("calls/s", "good", "failed", "success"):
        traffic.add_column(name, justify="right")
    for row in view.clients:
        failed = Text(str(row.failed), "bold red" if row.failed else "green")
        traffic.add_row(row.name, f"{row.rate:.0f}", str(row.good), failed, row.success)
    callers = Table(title="who each service saw as its caller", title_justify="left")
    callers.add_column("service")
    callers.add_column("SPIFFE id of the caller")
    for service, caller in sorted(view.callers.items()):
        callers.add_row(service, caller)
    split = Text.assemble("reviews  ", split_bar(view.split), "  ", split_text(view.split))
    log = Text("\n".join(events), "dim", no_wrap=True, overflow="ellipsis")
    return Group(Text(f"bookstore: {view.phase}", "bold"), traffic, split, callers, log)


def plain(view: View) -> str:
    """The page as one line."""
    rate = sum(row.rate for row in view.clients)
    failed = sum(row.failed for row in view.clients)
    split = split_text(view.split)
    return f"{rate:.0f} calls/s, {failed} failed" + (f", reviews {split}" if split else "")


class Screen(Protocol):
    def say(self, text: str) -> None:
        """Tell what happens; may have several lines."""
        ...

    def show(self, view: View) -> None:
        """Called a few times a second."""
        ...

    def close(self) -> None: ...


class Page:
    """The live page. After `close` the terminal is as it was, the last page still on it."""

    def __init__(self, console: Console, started: float) -> None:
        self._started = started
        self._events: deque[str] = deque(maxlen=EVENTS)
        self._view = View()
        self._live = Live(console=console, auto_refresh=False, transient=False)
        self._live.start()

    def say(self, text: str) -> None:
        at = time.monotonic() - self._started
        self._events.extend(f"{at:5.1f} s  {line}" for line in text.splitlines())
        self.show(self._view)

    def show(self, view: View) -> None:
        self._view = view
        self._live.update(render(view, list(self._events)), refresh=True)

    def close(self) -> None:
        self._live.stop()


class Lines:
    """Plain lines: what happens, and every few seconds how the traffic goes."""

    EVERY = 5.0

    def __init__(self, console: Console, started: float) -> None:
        self._console, self._started = console, started
        self._shown = started

    def say(self, text: str) -> None:
        at = time.monotonic() - self._started
        for line in text.splitlines():
            self._console.print(
                f"{at:5.1f} s  {line}", highlight=False, markup=False, soft_wrap=True
            )

    def show(self, view: View) -> None:
        if view.clients and time.monotonic() - self._shown >= self.EVERY:
            self._shown = time.monotonic()
            self.say(f"  {view.phase}: {plain(view)}")

    def close(self) -> None:
        """Nothing to restore."""


def screen(started: float) -> tuple[Console, Screen]:
    """A live page when standard output is a terminal and CI is not ``true``; else lines."""
    live = sys.stdout.isatty() and os.environ.get("CI") != "true"
    console = Console(force_terminal=live, no_color=not live, width=None if live else 160)
    return console, Page(console, started) if live else Lines(console, started)
