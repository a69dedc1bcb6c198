"""A simulation as the admin API answers it."""

from dataclasses import fields

from controlplane.app import views
from controlplane.graph import Graph
from controlplane.translate.simulate import simulate
from controlplane.world.rows import Key


def simulated(
    graph: Graph,
    source: Key,
    authority: str,
    method: str,
    path: str,
    headers: tuple[tuple[str, str], ...],
) -> views.Simulated:
    """What a request of the pod ``source`` would meet. Raises Failed for a bug in a query."""
    found = graph.read(simulate, source, authority, method, path, headers)
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    values["split"] = tuple(
        views.Share(**{field.name: getattr(share, field.name) for field in fields(share)})
        for share in found.split
    )
    values["source"] = f"{source.name}.{source.namespace}"
    return views.Simulated(**values)
