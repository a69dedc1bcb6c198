"""What the recorded reads tell: provenance, suspects, dependants, and why a value is what it is.

All of it walks edges and evaluates nothing, so it speaks of the last evaluation: settle a node
before asking about it. Provenance says "could have"; the revision filter of `suspects` says "did".
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.graph.engine import Engine
from controlplane.graph.node import AnyNode, Leaf, Vertex, readers
from controlplane.graph.query import described
from controlplane.world.store import World
from controlplane.world.tables import AnyIndex, AnyTable, Cell, Table


@dataclass(frozen=True, slots=True)
class Step:
    """One value in the tree of `Graph.why`: a query's result, or a cell of the world."""

    label: str
    kind: str
    """``query``, ``row`` or ``bucket``."""
    cell: Cell | None
    """The cell, unless it is a query."""
    value: Any
    """A query's value (ABSENT if it failed), None for cells: read them from the world."""
    failure: str
    """Why a query has no value, or empty."""
    changed_at: int
    """Revision of the last change; 0: before all that the log and the graph remember."""
    newest: bool
    """Nothing in the tree changed later."""
    repeated: bool
    """Its parts are shown where it stands first."""
    parts: tuple["Step", ...]
    """What it was made from, in the order of reads."""

    def lines(self, depth: int = 0) -> Iterator[tuple[str, str]]:
        """(indented label, revision and remarks) of this step and its parts, in order."""
        revision = f"@{self.changed_at}" if self.changed_at else ""
        remarks = (
            revision,
            "<- newest" if self.newest and not self.parts else "",
            "(see above)" if self.repeated else "",
            self.failure,
        )
        yield "  " * depth + self.label, "  ".join(filter(None, remarks))
        for part in self.parts:
            yield from part.lines(depth + 1)

    def __str__(self) -> str:
        lines = list(self.lines())
        width = max(len(label) for label, _ in lines) + 2
        return "\n".join(f"{label:<{width}}{remark}".rstrip() for label, remark in lines)


def provenance(node: AnyNode) -> frozenset[Cell]:
    """Every cell that ``node`` transitively read."""
    return frozenset(vertex.cell for vertex in _below(node) if isinstance(vertex, Leaf))


def _below(node: AnyNode) -> set[Vertex]:
    seen: set[Vertex] = {node}
    stack: list[Vertex] = [node]
    while stack:
        vertex = stack.pop()
        if not isinstance(vertex, Leaf):
            fresh = [dep for dep in vertex.deps if dep not in seen]
            seen.update(fresh)
            stack.extend(fresh)
    return seen


def suspects(node: AnyNode, versions: Mapping[Cell, list[Any]], world: World) -> frozenset[Cell]:
    """Changed rows that ``node`` read by key, or in a bucket that any version of them was in."""
    cells = provenance(node)
    found = set()
    for row, former in versions.items():
        table: AnyTable = row.source  # type: ignore[assignment]  # the log holds rows only
        if row in cells or any(
            Cell(index, bucket) in cells
            for version in (*former, world.get(table, row.key))
            if version is not None
            for index in table.indexes
            for bucket in index.buckets(version)
        ):
            found.add(row)
    return frozenset(found)


def dependants(engine: Engine, table: AnyTable, key: Hashable) -> frozenset[AnyNode]:
    """Subscribed transitive readers of a row's cell and of the cells of its present buckets."""
    cells = [Cell(table, key)]
    row = engine.world.get(table, key)
    if row is not None:
        cells += [Cell(index, name) for index in table.indexes for name in index.buckets(row)]
    leaves = [engine.leaves[cell.source].get(cell.key) for cell in cells]
    return frozenset(
        node
        for node in reached(leaf for leaf in leaves if leaf is not None)
        if node.streams is not None
    )


def reached(leaves: Iterator[Leaf]) -> set[AnyNode]:
    """All nodes that transitively read one of ``leaves``."""
    seen: set[AnyNode] = set()
    stack: list[Vertex] = list(leaves)
    while stack:
        for node in readers(stack.pop()):
            if node not in seen:
                seen.add(node)
                stack.append(node)
    return seen


def why(node: AnyNode, changed_at: Mapping[Cell, int]) -> Step:
    """The tree under ``node``; ``changed_at`` knows rows that changed before they were read."""
    leaves = [vertex for vertex in _below(node) if isinstance(vertex, Leaf)]
    newest = max((_changed(leaf, changed_at) for leaf in leaves), default=0)
    return _step(node, changed_at, newest, set())


def _changed(leaf: Leaf, changed_at: Mapping[Cell, int]) -> int:
    return leaf.changed_at or changed_at.get(leaf.cell, 0)


def _step(vertex: Vertex, changed_at: Mapping[Cell, int], newest: int, seen: set[AnyNode]) -> Step:
    if isinstance(vertex, Leaf):
        at = _changed(vertex, changed_at)
        return Step(
            label=_cell_label(vertex),
            kind="row" if isinstance(vertex.source, Table) else "bucket",
            cell=vertex.cell,
            value=None,
            failure="",
            changed_at=at,
            newest=at == newest > 0,
            repeated=False,
            parts=(),
        )
    repeated = vertex in seen
    seen.add(vertex)
    return Step(
        label=described(vertex.query, vertex.args),
        kind="query",
        cell=None,
        value=vertex.value,
        failure="" if vertex.failure is None else f"failed: {vertex.failure}",
        changed_at=max(vertex.changed_at, 0),
        newest=vertex.changed_at == newest > 0,
        repeated=repeated and bool(vertex.deps),
        parts=()
        if repeated
        else tuple(_step(dep, changed_at, newest, seen) for dep in vertex.deps),
    )


def _cell_label(leaf: Leaf) -> str:
    source: AnyTable | AnyIndex = leaf.source
    key = leaf.key if isinstance(leaf.key, tuple) else (leaf.key,)
    return f"{source.name}({', '.join(str(part) for part in key if part != '')})"
