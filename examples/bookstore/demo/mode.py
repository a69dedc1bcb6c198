"""How traffic gets into the sidecars: all that differs between the two demos of the bookstore."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from examples.bookstore.demo.layout import Workload
from examples.bookstore.demo.processes import Child
from examples.bookstore.http1 import Address

if TYPE_CHECKING:
    from examples.bookstore.demo.context import Demo

Resource = tuple[str, str, str]
"""(pod, type, name)."""


class Mode(Protocol):
    """Commands are lists of words for `Processes.start`."""

    manifests: Path
    """Directory of YAML files that the demo works on a copy of."""
    xds: Address
    metrics: Address
    """Where the control plane listens."""

    def listening(self, found: dict[str, Workload]) -> list[Address]:
        """Addresses of this machine that must be free."""
        ...

    def program(self, workload: Workload) -> list[str]:
        """Runs a workload's program."""
        ...

    def sidecar(self, workload: Workload, directory: Path) -> list[str]:
        """Runs a workload's sidecar, with its files in ``directory``."""
        ...

    async def is_up(self, workload: Workload, program: Child) -> bool:
        """Whether a workload's program and its sidecar listen."""
        ...

    async def before_load(self, demo: "Demo") -> None:
        """Whatever has to happen, or is worth measuring, before the load clients start."""
        ...

    def load(self, found: dict[str, Workload], trust_domain: str) -> dict[str, list[str]]:
        """Runs the load clients, by name."""
        ...

    def of_policy(self) -> set[Resource]:
        """What is made from the ratings' RoutePolicy."""
        ...

    def by_hand(self, demo: "Demo") -> list[str]:
        """Shell commands for whoever lets the bookstore stay up."""
        ...


def app(workload: Workload, listen: Address, *more: str) -> list[str]:
    """Runs a program of the bookstore."""
    module = f"examples.bookstore.apps.{workload.app}"
    return [
        *(sys.executable, "-m", module, "--version", workload.version),
        *("--listen", str(listen), *more),
    ]


def client(kind: str, name: str, *arguments: str) -> list[str]:
    """Runs a load client, a module of `examples.bookstore.load`."""
    module = f"examples.bookstore.load.{kind}"
    return [sys.executable, "-m", module, "--name", name, *arguments]


def http_clients(target: Address, trust_domain: str) -> dict[str, list[str]]:
    """The two clients of the front page, kept connections first, by the demo's names."""
    page = ("--target", str(target), "--trust-domain", trust_domain)
    kept = (*page, "--rate", "300", "--connections", "6")
    fresh = (*page, "--rate", "60", "--connections", "3", "--fresh")
    return {KEPT: client("http", KEPT, *kept), FRESH: client("http", FRESH, *fresh)}


def tcp_clients(target: Address) -> dict[str, list[str]]:
    """The two clients of the ledger, long connections first."""
    ledger = ("--target", str(target))
    long = (*ledger, "--rate", "40", "--connections", "2")
    lines = (*ledger, "--rate", "20", "--connections", "2", "--fresh")
    return {LONG: client("tcp", LONG, *long), LINES: client("tcp", LINES, *lines)}


KEPT, FRESH, LONG, LINES = "http kept", "http fresh", "tcp long", "tcp fresh"
COST = "cost"
