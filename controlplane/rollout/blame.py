"""Which objects stand behind a value: rows that were read by key, and rows of buckets read."""

from collections.abc import Iterable

from controlplane.api.problem import ObjectRef
from controlplane.graph import AnyNode, Graph
from controlplane.world.rows import Key
from controlplane.world.tables import AnyIndex, AnyTable, Cell, Table


def objects(cells: Iterable[Cell]) -> tuple[ObjectRef, ...]:
    """The objects of row cells, sorted; other cells are left out."""
    found = {
        ObjectRef(cell.source.name, cell.key.namespace, cell.key.name)
        for cell in cells
        if isinstance(cell.source, Table) and isinstance(cell.key, Key)
    }
    return tuple(sorted(found))


def behind(graph: Graph, nodes: Iterable[AnyNode]) -> tuple[ObjectRef, ...]:
    """Every present object that the nodes' values were made from, sorted."""
    rows: set[Cell] = set()
    for node in nodes:
        for cell in graph.provenance(node):
            if isinstance(cell.source, Table):
                table: AnyTable = cell.source
                if graph.world.get(table, cell.key) is not None:
                    rows.add(cell)
            else:
                index: AnyIndex = cell.source
                found = graph.world.find(index, cell.key)
                rows.update(Cell(index.table, row.key) for row in found)
    return objects(rows)
