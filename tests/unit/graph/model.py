"""The brute-force model of which nodes must run: no marks, no edges, everything is looked at.

A node runs when it is pulled for the first time, or when a read that it recorded changed since it
was last verified; reads are looked at in their order. What changed is found by comparing worlds.
Only for worlds without cycles.
"""

from dataclasses import dataclass, field

from controlplane.world.store import World
from tests.unit.graph.toy import BY_VALUE, DATA, PROGRAMS, Gone, interpret

Read = tuple[str, str]
"""(kind of read, key): a program, a datum, a bucket or a node."""


@dataclass
class Memo:
    """What the model remembers of a node. ``outcome`` is a value, or why there is none."""

    outcome: int | str
    reads: list[Read] = field(default_factory=list)
    changed: int = 0
    verified: int = 0


class Model:
    """Tells the runs of each settle; ``runs`` is emptied by whoever looks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.memo: dict[str, Memo] = {}
        self.runs: set[str] = set()
        self._cells: dict[Read, object] = {}
        self._changed: dict[Read, int] = {}
        self.applied()

    def applied(self) -> None:
        """Compare all cells with those before the transaction."""
        before, self._cells = self._cells, self._photo()
        for cell in before.keys() | self._cells.keys():
            if before.get(cell) != self._cells.get(cell):
                self._changed[cell] = self.world.revision

    def _photo(self) -> dict[Read, object]:
        cells: dict[Read, object] = {}
        for key, program in self.world.rows(PROGRAMS).items():
            cells["program", key] = program
        for key, row in sorted(self.world.rows(DATA).items()):
            cells["datum", key] = row
            for name in BY_VALUE.buckets(row):
                held = cells.setdefault(("bucket", name), [])
                assert isinstance(held, list)
                held.append((key, row))
        return cells

    def pull(self, key: str) -> Memo:
        """Bring a node up to date, noting what runs."""
        memo = self.memo.get(key)
        now = self.world.revision
        if memo is not None and memo.verified == now:
            return memo
        if memo is not None and not any(self._moved(read, memo.verified) for read in memo.reads):
            memo.verified = now
            return memo
        return self._run(key, memo)

    def _moved(self, read: Read, since: int) -> bool:
        kind, key = read
        return (self.pull(key).changed if kind == "node" else self._changed.get(read, 0)) > since

    def _run(self, key: str, former: Memo | None) -> Memo:
        assert key not in self.runs, "a node runs once per revision"
        self.runs.add(key)
        reads: dict[Read, None] = {("program", key): None}

        def call(other: str) -> int:
            reads["node", other] = None
            outcome = self.pull(other).outcome
            if isinstance(outcome, str):
                raise Gone(outcome)
            return outcome

        def get(name: str) -> int | None:
            reads["datum", name] = None
            return self.world.get(DATA, name)

        def find(bucket: str) -> tuple[int, ...]:
            reads["bucket", bucket] = None
            return self.world.find(BY_VALUE, bucket)

        outcome: int | str
        try:
            outcome = interpret(self.world.get(PROGRAMS, key), get, find, call, Gone)
        except Gone as gone:
            outcome = str(gone)
        except ValueError as error:
            outcome = f"{key}: {error}"
        now = self.world.revision
        changed = now if former is None or former.outcome != outcome else former.changed
        self.memo[key] = memo = Memo(outcome, list(reads), changed, now)
        return memo

    def collect(self, roots: set[str]) -> None:
        """Forget what no root reads."""
        kept: set[str] = set()
        stack = [key for key in roots if key in self.memo]
        while stack:
            key = stack.pop()
            kept.add(key)
            reads = self.memo[key].reads
            stack += [other for kind, other in reads if kind == "node" and other not in kept]
        self.memo = {key: memo for key, memo in self.memo.items() if key in kept}
