"""A sink that keeps the world a source made, and lets a test wait for it with a deadline."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from controlplane.api.problem import Problem
from controlplane.sources.files import FilesSource
from controlplane.world.transaction import Delete, Put, Transaction

World = dict[tuple[str, str, str], Any]
"""Rows by (table, namespace, name)."""


class Recorder:
    """Applies transactions to a dict, as the world would."""

    def __init__(self) -> None:
        self.world: World = {}
        self.transactions: list[Transaction] = []
        self.problems: tuple[Problem, ...] = ()
        self._changed = asyncio.Event()

    def apply(self, transaction: Transaction, problems: tuple[Problem, ...]) -> None:
        for edit in transaction:
            key = (edit.table.name, edit.key.namespace, edit.key.name)  # type: ignore[union-attr]
            if isinstance(edit, Put):
                assert self.world.get(key) != edit.row, "a put of an equal row"
                self.world[key] = edit.row
            else:
                assert isinstance(edit, Delete)
                del self.world[key]
        if transaction:
            self.transactions.append(transaction)
        self.problems = problems
        self._changed.set()

    @property
    def names(self) -> set[str]:
        """``Kind name`` of all rows."""
        return {f"{table} {name}" for table, _, name in self.world}

    @property
    def texts(self) -> list[str]:
        return [str(problem) for problem in self.problems]

    async def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Return when ``condition`` holds; it is looked at after each delivery."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(source: FilesSource) -> AsyncIterator[Recorder]:
    """A source that runs for the time of the block, synced at its start."""
    recorder = Recorder()
    task = asyncio.create_task(source.run(recorder))
    try:
        async with asyncio.timeout(10):
            await source.synced.wait()
        yield recorder
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files in place."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def replace(root: Path, name: str, text: str) -> None:
    """Replace a file by rename, as editors and tools do."""
    temporary = root / f".{name}.new"
    temporary.write_text(text)
    temporary.rename(root / name)


def service(name: str, port: int = 80, namespace: str = "shop", extra: str = "") -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec: {{ports: [{{port: {port}}}]{extra}}}\n"
    )


def shift(name: str, *weights: int, target: str = "reviews") -> str:
    shares = ", ".join(f"{{name: {target}-v{i + 1}, weight: {w}}}" for i, w in enumerate(weights))
    return (
        "apiVersion: mesh.plait.dev/v1alpha1\nkind: TrafficShift\n"
        f"metadata: {{name: {name}, namespace: shop}}\n"
        f"spec:\n  targetRef: {{name: {target}}}\n  weights: [{shares}]\n"
    )
