"""Waiting for sidecars: follows the server's answers until all have acknowledged or time is up."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from controlplane.api.base import parse_duration
from controlplane.meshctl.trouble import misused

NAMES_SHOWN = 3
"""Waiting sidecars named beside the bar."""


class Answer(Protocol):
    @property
    def done(self) -> bool: ...


A = TypeVar("A", bound=Answer)


def seconds(text: str) -> float:
    """Parse ``30s`` or ``1m30s``; ``0s`` means: look once. Raises Trouble."""
    try:
        return float(parse_duration(text).total_seconds())
    except ValueError as error:
        raise misused(str(error), "Write --timeout 30s") from None


async def follow(
    answers: AsyncIterator[A], limit: float, show: Callable[[A], None]
) -> tuple[A | None, bool]:
    """The last answer, and whether it is done. The stream is followed for ``limit`` seconds from
    now; ``show`` sees each answer."""
    last: A | None = None
    try:
        async with asyncio.timeout(limit if limit > 0 else None):
            async for last in answers:
                show(last)
                if last.done or limit <= 0:
                    break
    except TimeoutError:
        pass
    return last, last is not None and last.done


class Bar:
    """A progress bar on standard error while it is a terminal; nothing otherwise."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._live = sys.stderr.isatty()

    def __enter__(self) -> Self:
        if self._live:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[names]}", style="yellow"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task(self._title, total=None, names="")
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._progress.stop()

    def update(self, acked: int, total: int, waiting: Sequence[str]) -> None:
        """Show that ``acked`` of ``total`` are through, and some names of ``waiting``."""
        if self._live:
            more = f" and {len(waiting) - NAMES_SHOWN} more" if len(waiting) > NAMES_SHOWN else ""
            names = ", ".join(waiting[:NAMES_SHOWN]) + more
            self._progress.update(self._task, completed=acked, total=total, names=names)
