"""Proxy mode: every workload has two loopback addresses, of its sidecar and of its program."""

import asyncio
import shlex
import shutil
import sys
from pathlib import Path

from examples.bookstore.demo import layout
from examples.bookstore.demo.context import Demo
from examples.bookstore.demo.layout import CALLS, LEDGER_FORWARD, NAMESPACE, Workload
from examples.bookstore.demo.mode import COST, Resource, app, client, http_clients, tcp_clients
from examples.bookstore.demo.processes import Child
from examples.bookstore.demo.typed import MESHCTL
from examples.bookstore.http1 import Address


class Loopback:
    """A `Mode`."""

    manifests = layout.MANIFESTS
    xds = layout.XDS
    metrics = layout.METRICS

    def listening(self, found: dict[str, Workload]) -> list[Address]:
        return layout.listening(found)

    def program(self, workload: Workload) -> list[str]:
        return app(workload, workload.program, "--proxy", str(workload.proxy))

    def sidecar(self, workload: Workload, directory: Path) -> list[str]:
        words = ["proxy", "run", workload.name, "-n", NAMESPACE]
        return [*MESHCTL, *words, "--dir", str(directory)]

    async def is_up(self, workload: Workload, program: Child) -> bool:
        addresses = (workload.program, workload.inbound, workload.proxy)
        return all([await listens(address) for address in addresses])

    async def before_load(self, demo: Demo) -> None:
        """Nothing: first contact is part of the load."""

    def load(self, found: dict[str, Workload], trust_domain: str) -> dict[str, list[str]]:
        web, ratings = found["web"], found["ratings"]
        cost = ("--proxy", str(web.proxy), "--direct", str(ratings.program))
        return {
            **http_clients(web.program, trust_domain),
            **tcp_clients(Address(web.sidecar, LEDGER_FORWARD)),
            COST: client("cost", COST, *cost, "--caller", web.spiffe_id(trust_domain)),
        }

    def of_policy(self) -> set[Resource]:
        """By the shape of the mesh: the table of known destinations of each sidecar that calls
        ratings, long after first contact is over. web calls it too, for the cost client."""
        callers = {caller for caller, callee in CALLS if callee == "ratings"} | {"web"}
        return {(caller, "rds", "px") for caller in callers}

    def by_hand(self, demo: Demo) -> list[str]:
        web = demo.workloads["web"]
        return [
            _get(f"http://{web.program}/page"),
            _get("http://reviews/reviews", proxy=f"http://{web.proxy}"),
        ]


async def listens(address: Address) -> bool:
    """Whether something accepts connections at an address."""
    try:
        _, writer = await asyncio.open_connection(*address)
    except OSError:
        return False
    writer.close()
    return True


def _get(url: str, proxy: str = "") -> str:
    """A command that prints what a URL answers: curl where there is one, else this Python."""
    if shutil.which("curl"):
        return f"curl -s {f'-x {proxy} ' if proxy else ''}{url}"
    code = f"import urllib.request as r; print(r.urlopen('{url}').read().decode())"
    words = [sys.executable, "-c", code]
    return (f"http_proxy={proxy} " if proxy else "") + shlex.join(words)
