"""A simulation as the admin API answers it."""

from dataclasses import fields

from controlplane.app import views
from controlplane.graph import Graph
from controlplane.rollout.eviction import Eviction
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.member import Member
from controlplane.rollout.ondemand import owner_of
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


def held(found: views.Simulated, member: Member | None, eviction: Eviction, learnt: Learnt) -> str:
    """Whether the caller's sidecar holds what a simulation says that it would (`views.Simulated`).

    ``member``: its stream, None when it is not connected.
    """
    if not found.promotion or found.promotion.startswith("no:"):
        return ""
    if member is None or member.workload is None:
        return "no: the sidecar is not connected"
    namespace, _, service = found.service.partition("/")
    name, _, port = service.rpartition(":")
    named = f"{name}.{namespace}:{port}" if found.service else found.authority.lower()
    # In redirect mode each address has a listener of its own.
    kind, _, target = found.promotion.partition(" p|")
    for state in eviction.destinations(member):
        if target in state.targets if kind == "listener" else state.name == named:
            return "yes"
    if named in learnt.evicted(owner_of(member), member.pod.name):
        return "no: it was taken back, and the pod has not asked for it since"
    return "no: the pod has not asked for it"
