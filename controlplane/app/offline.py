"""Judges rows without a running control plane: references, conflicts, and what translation says.

The same queries as in the server, over a world of their own.
"""

from collections.abc import Sequence

from controlplane.api.problem import ObjectRef, Problem, Reason
from controlplane.graph import Failed, Graph
from controlplane.translate.problems import problems
from controlplane.world.intake import Taken
from controlplane.world.transaction import Put


def translation_problems(rows: Sequence[Taken]) -> list[Problem]:
    """Problems of rows that are valid each by itself, in the order of the rows."""
    graph = Graph()
    graph.apply([Put(row.table, row.key, row.row) for row in rows])
    found: list[Problem] = []
    for row in rows:
        try:
            found.extend(graph.read(problems, row.table.name, row.key))
        except Failed as failed:
            ref = ObjectRef(row.table.name, row.key.namespace, row.key.name)
            found.append(
                Problem(
                    ref,
                    Reason.INTERNAL,
                    f"Plait cannot judge it: {failed}",
                    "This is a bug of Plait, please report it with the manifest",
                )
            )
    return found
