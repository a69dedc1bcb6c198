"""Histories by chance: the same steps as `strategies`, drawn evenly and fast.

Hypothesis shrinks what fails and likes the small and the extreme; these are many and varied, so
that rare meetings happen (a cycle that closes over a verified node, a cell that loses its last
reader while another query, still running, has read it). A seed gives the same history always.
"""

from random import Random

from controlplane.world.transaction import Delete, Edit, Put, Replace
from tests.unit.graph.strategies import ALL_SETTLED, BUCKETS, DATA_KEYS, NODES, STREAMS
from tests.unit.graph.toy import DATA, PROGRAMS, Program, Step

Action = tuple[str, object]

KINDS = ("change",) * 8 + ("apply", "plan", "subscribe", "unsubscribe", "settle", "only", "read")


def program(chance: Random, key: str, cycles: bool) -> Program:
    """One to three steps; without ``cycles`` calls lead to earlier keys only."""
    targets = NODES if cycles else NODES[: NODES.index(key)]
    steps = []
    for _ in range(chance.randint(1, 3)):
        op = chance.choice(("data", "bucket", "stop", "boom", "call", "call", "try", "try"))
        if op in ("call", "try") and targets:
            steps.append(Step(op, chance.choice(targets)))
        elif op == "bucket":
            steps.append(Step(op, chance.choice(BUCKETS)))
        elif op in ("stop", "boom"):
            steps.append(Step(op))
        else:
            steps.append(Step("data", chance.choice(DATA_KEYS)))
    return tuple(steps)


def edit(chance: Random, cycles: bool) -> Edit:
    """One edit, of a program or of the data."""
    kind = chance.randrange(10)
    node, datum = chance.choice(NODES), chance.choice(DATA_KEYS)
    if kind < 5:
        return Put(PROGRAMS, node, program(chance, node, cycles))
    if kind == 5:
        return Delete(PROGRAMS, node)
    if kind < 8:
        return Put(DATA, datum, chance.randrange(5))
    if kind == 8:
        return Delete(DATA, datum)
    return Replace(DATA, {"u": chance.randrange(5)}, lambda key: key != "w")


def history(seed: int, cycles: bool) -> list[Action]:
    """A world, in most cases with every node subscribed and settled, and ten steps."""
    chance = Random(seed)
    start: list[Edit] = [Put(PROGRAMS, key, program(chance, key, cycles)) for key in NODES]
    start += [Put(DATA, key, chance.randrange(5)) for key in DATA_KEYS]
    steps: list[Action] = [("apply", start)]
    if chance.random() < 0.8:
        steps += ALL_SETTLED
    for _ in range(10):
        kind = chance.choice((*KINDS, "collect"))
        steps.append((kind, _argument(chance, kind, cycles)))
    return steps


def _argument(chance: Random, kind: str, cycles: bool) -> object:
    if kind in ("change", "apply", "plan"):
        return [edit(chance, cycles) for _ in range(chance.choice((1, 1, 2, 3)))]
    if kind in ("subscribe", "unsubscribe"):
        return chance.choice(STREAMS[:2]), chance.choice(NODES)
    if kind == "settle":
        return chance.choice((None, 1, 2))
    return chance.choice((0, 0, 1, 3)) if kind == "collect" else chance.choice(NODES)
