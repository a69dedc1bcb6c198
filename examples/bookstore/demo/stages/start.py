"""Stage 1: the control plane, five programs each with an Envoy of its own, and the load clients."""

import asyncio
import time
from functools import partial

from examples.bookstore.demo import layout
from examples.bookstore.demo.context import Demo
from examples.bookstore.demo.observe import AccessLog, ready
from examples.bookstore.demo.processes import Child, lines
from examples.bookstore.load.report import Batch

DEADLINE = 60.0
"""Seconds for each step of the start; a slow machine needs a few."""


async def mesh(demo: Demo) -> None:
    """Start the control plane, then the programs and their sidecars; wait until all listen."""
    demo.stage("starting the control plane")
    demo.start_control_plane()
    await demo.wait("the control plane is ready", lambda: ready(demo.mode.metrics), DEADLINE)
    demo.stage("starting five programs and their sidecars")
    programs = {}
    for name, workload in demo.workloads.items():
        programs[name] = demo.processes.start(f"app-{name}", demo.mode.program(workload))
        demo.say(f"$ meshctl proxy run {name} -n {layout.NAMESPACE}")
        command = demo.mode.sidecar(workload, demo.places.sidecars / name)
        demo.sidecars[name] = demo.processes.start(f"sidecar-{name}", command)
    for name, workload in demo.workloads.items():
        up = partial(demo.mode.is_up, workload, programs[name])
        await demo.wait(f"{name} and its sidecar listen", up, DEADLINE)
    demo.processes.remember()


async def settled(demo: Demo) -> bool:
    """Whether every sidecar is connected and has acknowledged all that is meant for it."""
    proxies = (await demo.ask("/v1/proxies"))["proxies"]
    return len(proxies) == len(demo.workloads) and all(
        proxy["connected"] and not proxy["waiting"] and not proxy["rejected"] for proxy in proxies
    )


async def _gather(demo: Demo, child: Child) -> None:
    reader = await lines(child)
    while line := await reader.readline():
        demo.meter.take(Batch.from_json(line))


async def _watch_ledger(demo: Demo) -> None:
    """TCP carries no header that names the caller; the ledger's sidecar logs who it was."""
    log = AccessLog(demo.sidecars["ledger"].log)
    while True:
        for entry in log.entries(containing='"peer"'):
            if entry.get("peer"):
                demo.meter.seen["ledger"] = entry["peer"]
        await asyncio.sleep(1.0)


async def load(demo: Demo) -> None:
    """Start the load clients and wait until each has had a first good reply."""
    await demo.mode.before_load(demo)
    demo.stage("starting the load clients")
    commands = demo.mode.load(demo.workloads, demo.trust_domain)
    for name, command in commands.items():
        child = demo.processes.start(name.replace(" ", "-"), command, read=True)
        demo.readers.append(asyncio.create_task(_gather(demo, child)))

    demo.readers.append(asyncio.create_task(_watch_ledger(demo)))

    async def all_at_work() -> bool:
        clients = demo.meter.clients
        return len(clients) == len(commands) and all(c.total for c in clients.values())

    try:
        await demo.wait("every load client has had a good reply", all_at_work, 20.0)
    except Exception:
        for name, failure in demo.meter.failures[-3:]:
            demo.say(f"{name}: {failure.reason}")
        raise
    demo.began = time.monotonic()
