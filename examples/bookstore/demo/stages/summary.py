"""The claims about the whole run: failures, steady rates, long connections, cost and memory."""

import time

from examples.bookstore.demo.context import Demo
from examples.bookstore.demo.layout import CALLS
from examples.bookstore.demo.mode import COST, FRESH, KEPT, LINES, LONG
from examples.bookstore.demo.processes import descendants, memory, program
from examples.bookstore.demo.statistics import quantile
from examples.bookstore.load.cost import DIRECT, MESH

MIB = 1 << 20
CONNECTIONS = {KEPT: 6, LONG: 2, COST: 2}
"""Connections of the clients that keep them."""


def traffic(demo: Demo) -> None:
    """Failures and slow seconds, from when all clients were at work until now."""
    until = time.monotonic()
    failures = demo.meter.failures
    demo.claim(
        "no request failed (2 s deadline, no retries anywhere)",
        f"{len(failures)} of {demo.meter.total + len(failures):,}",
        not failures,
    )
    for name, failure in failures[:5]:
        demo.say(f"  at {failure.start - demo.began:.1f} s, {name}: {failure.reason}")
    for name in (KEPT, FRESH, LONG, LINES, COST):
        median, slow = demo.meter.clients[name].slow(demo.began, until)
        worst = "".join(f"; second {s.second} had {s.calls}" for s in slow[:5])
        demo.claim(
            f"{name}: no second under half the median rate",
            f"median {median:g} calls/s, {len(slow)} slow of {int(until - demo.began)} s{worst}",
            not slow,
        )
    opened = {name: demo.meter.clients[name].opened for name in CONNECTIONS}
    demo.claim(
        "kept connections lasted through rotation and restarts",
        ", ".join(f"{name}: {opened[name]} opened for {n}" for name, n in CONNECTIONS.items()),
        opened == CONNECTIONS,
    )


def identities(demo: Demo) -> None:
    """Who each callee saw: HTTP by what the programs were told, TCP by the sidecar's log."""
    seen = dict(demo.meter.seen)
    expected = {
        (caller, callee): demo.workloads[caller].spiffe_id(demo.trust_domain)
        for caller, callee in CALLS
    }
    by_callee: dict[str, set[str]] = {}
    for (_, callee), identity in expected.items():
        by_callee.setdefault(callee, set()).add(identity)
    wrong = [name for name, ids in by_callee.items() if seen.get(name) not in ids]
    for name in by_callee:
        demo.say(f"  {name} saw {seen.get(name, 'nobody')}")
    demo.claim(
        "every callee saw the SPIFFE id of its caller",
        f"{len(by_callee) - len(wrong)} of {len(by_callee)} callees",
        not wrong,
    )


def cost(demo: Demo) -> None:
    """What two sidecars add to a call, against a direct call in alternation."""
    mesh, direct = demo.meter.latencies(COST, MESH), demo.meter.latencies(COST, DIRECT)
    for share in (0.5, 0.99):
        through, straight = quantile(mesh, share), quantile(direct, share)
        demo.claim(
            f"two sidecars add at p{100 * share:g}",
            f"{1000 * (through - straight):.2f} ms ({1000 * through:.2f} against"
            f" {1000 * straight:.2f} ms direct, {len(mesh):,} pairs)",
        )


def _size(pid: int) -> str:
    resident, own = memory(pid)
    return f"{resident / MIB:.1f} MiB resident, {own / MIB:.1f} MiB of it its own"


def memories(demo: Demo) -> None:
    """Memory of each Envoy and of the control plane."""
    for name, child in demo.sidecars.items():
        for pid in descendants(child.pid):
            if "envoy" in program(pid):
                demo.claim(f"memory of {name}'s Envoy", _size(pid))
    assert demo.control_plane is not None
    demo.claim("memory of the control plane", _size(demo.control_plane.pid))


def run(demo: Demo) -> None:
    demo.stage("what was claimed")
    traffic(demo)
    identities(demo)
    cost(demo)
    memories(demo)
