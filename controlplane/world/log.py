"""The log: inverses of the newest transactions. Replay needs no snapshots.

The merged inverses since revision R are a transaction that takes the world back to R. The log is
bounded by the number of rows and endpoints that it holds: the oldest transactions are dropped
first, and a question about a revision before the horizon is answered with `Forgotten`, never with
half the truth.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from controlplane.world.rows import EndpointSlice
from controlplane.world.tables import Cell
from controlplane.world.transaction import Delete, Inverse, Put


class Entry(NamedTuple):
    """``inverse`` takes the world from ``revision`` to ``revision - 1``."""

    revision: int
    inverse: Inverse


class Forgotten(LookupError):
    """The log no longer reaches back to a revision; ``horizon`` is the oldest one it reaches."""

    def __init__(self, revision: int, horizon: int) -> None:
        super().__init__(f"revision {revision} is forgotten; the log reaches back to {horizon}")
        self.revision = revision
        self.horizon = horizon


class Log:
    """Keeps at most ``limit`` row changes, each endpoint of a slice being one more, some 260 bytes
    each; and always the newest transaction."""

    __slots__ = ("_entries", "_held", "horizon", "limit")

    def __init__(self, limit: int = 50_000, revision: int = 0) -> None:
        self.limit = limit
        self.horizon = revision
        self._held = 0
        self._entries: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def record(self, revision: int, inverse: Inverse) -> None:
        """Add the transaction that led to ``revision``; drop the oldest above the limit."""
        self._entries.append(Entry(revision, inverse))
        self._held += _weight(inverse)
        while self._held > self.limit and len(self._entries) > 1:
            dropped = self._entries.popleft()
            self._held -= _weight(dropped.inverse)
            self.horizon = dropped.revision

    def since(self, revision: int) -> Iterator[Entry]:
        """The transactions after ``revision``, newest first. Raises Forgotten."""
        if revision < self.horizon:
            raise Forgotten(revision, self.horizon)
        for entry in reversed(self._entries):
            if entry.revision <= revision:
                return
            yield entry

    def rewind(self, revision: int) -> Inverse:
        """One transaction that takes the present world back to ``revision``. Raises Forgotten."""
        merged: dict[Cell, Put[Any, Any] | Delete[Any]] = {}
        for entry in self.since(revision):
            for edit in entry.inverse:
                merged[Cell(edit.table, edit.key)] = edit
        return tuple(merged.values())

    def versions(self, revision: int) -> dict[Cell, list[Any]]:
        """Rows changed after ``revision``, each with its former rows, newest first (None: absent).

        Raises Forgotten.
        """
        changed: dict[Cell, list[Any]] = {}
        for entry in self.since(revision):
            for edit in entry.inverse:
                row = edit.row if isinstance(edit, Put) else None
                changed.setdefault(Cell(edit.table, edit.key), []).append(row)
        return changed

    def changed_at(self) -> dict[Cell, int]:
        """The newest revision at which each row in the log changed."""
        return {
            Cell(edit.table, edit.key): entry.revision
            for entry in self._entries
            for edit in entry.inverse
        }


def _weight(inverse: Inverse) -> int:
    slices = (e.row for e in inverse if isinstance(e, Put) and isinstance(e.row, EndpointSlice))
    return len(inverse) + sum(len(row.endpoints) for row in slices)
