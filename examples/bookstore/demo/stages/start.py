"""Stage 1: the control plane, five programs each with an Envoy of its own, and the load clients."""

import asyncio
import sys
import time
from functools import partial

from examples.bookstore.demo import layout
from examples.bookstore.demo.context import COST, FRESH, KEPT, LINES, LONG, Demo
from examples.bookstore.demo.layout import Workload
from examples.bookstore.demo.observe import AccessLog, ready
from examples.bookstore.demo.processes import Child, lines
from examples.bookstore.demo.typed import MESHCTL
from examples.bookstore.http1 import Address
from examples.bookstore.load.report import Batch

DEADLINE = 60.0
"""Seconds for each step of the start; a slow machine needs a few."""


async def _listens(address: Address) -> bool:
    try:
        _, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    writer.close()
    return True


def _program(demo: Demo, workload: Workload) -> Child:
    return demo.processes.start(
        f"app-{workload.name}",
        [
            sys.executable,
            "-m",
            f"examples.bookstore.apps.{workload.app}",
            "--listen",
            str(workload.program),
            "--proxy",
            str(workload.proxy),
            "--version",
            workload.version,
        ],
    )


def _sidecar(demo: Demo, workload: Workload) -> Child:
    words = ["proxy", "run", workload.name, "-n", layout.NAMESPACE]
    directory = demo.places.sidecars / workload.name
    return demo.processes.start(
        f"sidecar-{workload.name}", [*MESHCTL, *words, "--dir", str(directory)]
    )


async def mesh(demo: Demo) -> None:
    """Start the control plane, then the programs and their sidecars; wait until all listen."""
    demo.stage("starting the control plane")
    demo.start_control_plane()
    await demo.wait("the control plane is ready", lambda: ready(layout.METRICS), DEADLINE)
    demo.stage("starting five programs and their sidecars")
    for workload in demo.workloads.values():
        _program(demo, workload)
        demo.say(f"$ meshctl proxy run {workload.name} -n {layout.NAMESPACE}")
        demo.sidecars[workload.name] = _sidecar(demo, workload)
    for workload in demo.workloads.values():
        for address in (workload.program, workload.inbound, workload.proxy):
            what = f"{workload.name} listens on {address}"
            await demo.wait(what, partial(_listens, address), DEADLINE)
    demo.processes.remember()


async def settled(demo: Demo) -> bool:
    """Whether every sidecar is connected and has acknowledged all that is meant for it."""
    proxies = (await demo.ask("/v1/proxies"))["proxies"]
    return len(proxies) == len(demo.workloads) and all(
        proxy["connected"] and not proxy["waiting"] and not proxy["rejected"] for proxy in proxies
    )


def _load(demo: Demo) -> dict[str, list[str]]:
    web, ratings = demo.workloads["web"], demo.workloads["ratings"]
    page = ["--target", str(web.program), "--trust-domain", demo.trust_domain]
    ledger = ["--target", str(Address(web.sidecar, layout.LEDGER_FORWARD))]
    cost = ["--proxy", str(web.proxy), "--direct", str(ratings.program)]
    return {
        KEPT: ["http", *page, "--rate", "300", "--connections", "6"],
        FRESH: ["http", *page, "--rate", "60", "--connections", "3", "--fresh"],
        LONG: ["tcp", *ledger, "--rate", "40", "--connections", "2"],
        LINES: ["tcp", *ledger, "--rate", "20", "--connections", "2", "--fresh"],
        COST: ["cost", *cost, "--caller", web.spiffe_id(demo.trust_domain)],
    }


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
    demo.stage("starting the load clients")
    for name, (module, *arguments) in _load(demo).items():
        child = demo.processes.start(
            name.replace(" ", "-"),
            [sys.executable, "-m", f"examples.bookstore.load.{module}", "--name", name, *arguments],
            read=True,
        )
        demo.readers.append(asyncio.create_task(_gather(demo, child)))

    demo.readers.append(asyncio.create_task(_watch_ledger(demo)))

    async def all_at_work() -> bool:
        clients = demo.meter.clients
        return len(clients) == len(_load(demo)) and all(c.total for c in clients.values())

    try:
        await demo.wait("every load client has had a good reply", all_at_work, 20.0)
    except Exception:
        for name, failure in demo.meter.failures[-3:]:
            demo.say(f"{name}: {failure.reason}")
        raise
    demo.began = time.monotonic()
