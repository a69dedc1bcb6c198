"""Evaluates, before the port opens, what the sidecars of known workloads will be given.

After a restart a whole fleet connects at once. Each stream would then evaluate its destinations on
the event loop, in one step; done before, a stream finds everything that its workload has learnt.
What nobody comes for is forgotten like every result that nobody reads.
"""

import asyncio
from collections.abc import Callable, Iterable

from controlplane.graph import Failed, Graph
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.learnt_lines import Owner
from controlplane.rollout.modes import Found, mode_of
from controlplane.translate.resources import fixed
from controlplane.translate.scope import Wanted
from controlplane.translate.workloads import workload
from controlplane.world.rows import Key
from controlplane.world.schema import PODS

BUDGET = 10.0
"""Seconds after which whoever waits is served rather than prepared for."""


async def prepare(
    graph: Graph, learnt: Learnt, monotonic: Callable[[], float], budget: float = BUDGET
) -> int:
    """Evaluate for every pod with a sidecar whose workload has learnt something; how many."""
    until = monotonic() + budget
    known: set[tuple[object, ...]] = set()
    count = 0
    for key, row in tuple(graph.world.rows(PODS).items()):
        if row.sidecar and monotonic() < until:
            try:
                count += _prepared(graph, learnt, key, known)
            except Failed:
                continue  # a stream meets it again, and says so
            await asyncio.sleep(0)
    return count


def _prepared(graph: Graph, learnt: Learnt, pod: Key, known: set[tuple[object, ...]]) -> bool:
    work = graph.read(workload, pod)
    references = learnt.of(Owner(work.namespace, work.owner)) if work is not None else ()
    if work is None or not references:
        return False
    _read(graph, graph.read(fixed, pod))
    mode = mode_of(work)
    for target in mode.learnt(graph, references):
        part = mode.part(work, target)
        if (part.query, part.args) in known:
            continue
        known.add((part.query, part.args))
        found: Found = graph.read(part.query, *part.args)
        _read(graph, found.needs)
        if found.fragment is not None:
            graph.read(found.fragment.query, *found.fragment.args)
    return True


def _read(graph: Graph, wanted: Iterable[Wanted]) -> None:
    for each in wanted:
        graph.read(each.query, *each.args)
