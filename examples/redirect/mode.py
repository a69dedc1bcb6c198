"""Redirect mode: each workload in a network namespace, its TCP redirected to its sidecar.

The demo itself runs in the hub, as the control plane does and as a stranger would. Programs and
load clients run in the pods and dial services by address; names come from a hosts file, as they
would from DNS. One more program, ``bare``, runs in a namespace without a mesh, to compare with.
"""

import asyncio
import json
import shlex
import sys
from pathlib import Path
from typing import Any, Final

from examples.bookstore.demo import layout
from examples.bookstore.demo.context import Demo
from examples.bookstore.demo.layout import CALLS, NAMESPACE, Workload
from examples.bookstore.demo.loopback import listens
from examples.bookstore.demo.mode import COST, Resource, app, client, http_clients, tcp_clients
from examples.bookstore.demo.processes import Child
from examples.bookstore.demo.typed import MESHCTL
from examples.bookstore.http1 import Address
from examples.redirect.namespaces import HUB, Namespace, Network
from sidecar.redirect.exclusions import Refused, plan_of
from sidecar.redirect.plan import PROXY_UID, nft

MANIFESTS: Final = Path(__file__).parent / "manifests"
BARE: Final = "bare"
BARE_NUMBER: Final = 99
ANY: Final = "0.0.0.0"
LISTEN: Final = "0A"
"""State of a listening socket in /proc/net/tcp."""
CONTACTS: Final = {"ratings": "/ratings", "ledger": ""}
"""Services that web's load clients use, and the path to ask for; empty: TCP."""


class Redirected:
    """A `Mode`. `open` makes the namespaces and enters the hub, `close` removes them."""

    manifests = MANIFESTS
    xds = Address(HUB, 15012)
    metrics = Address(HUB, 15014)

    def __init__(self, directory: Path) -> None:
        """``directory`` is for the hosts file."""
        self._docs = layout.documents(MANIFESTS)
        self._found = layout.workloads(self._docs)
        self._services = services(self._docs)
        self._hosts = directory / "hosts"
        names = [f"{address.host} {name}" for name, address in self._services.items()]
        self._hosts.write_text("\n".join(["127.0.0.1 localhost", *names, ""]))
        self._network: Network[Namespace] | None = None

    def open(self) -> None:
        """Raises OSError that says what cannot be made."""
        self._network = network = Network(Namespace)
        for name, workload in self._found.items():
            network.add(int(workload.sidecar.rpartition(".")[2]), name)
            self._redirect(name)
        network.add(BARE_NUMBER, BARE)
        network.hub.enter()

    def close(self) -> None:
        if self._network is not None:
            self._network.close()

    def _pod(self, name: str) -> Namespace:
        assert self._network is not None
        return self._network.pods[name]

    def _redirect(self, name: str) -> None:
        [pod] = [d for d in self._docs if (d["kind"], d["metadata"]["name"]) == ("Pod", name)]
        plan = plan_of(pod["metadata"]["annotations"], [self._pod(name).address])
        if isinstance(plan, Refused):
            raise OSError(f"pod {name}: {plan}")
        self._pod(name).run("nft", nft(plan))

    def _inside(self, name: str, command: list[str]) -> list[str]:
        """A command in a pod, where the services have names."""
        script = f'mount --bind {shlex.quote(str(self._hosts))} /etc/hosts && exec "$@"'
        return self._pod(name).command("sh", "-c", script, "sh", *command, orphaned="TERM")

    # --- what a `Mode` answers ------------------------------------------------------------------

    def listening(self, found: dict[str, Workload]) -> list[Address]:
        """None: every namespace is new."""
        return []

    def program(self, workload: Workload) -> list[str]:
        listen = Address(ANY, workload.program.port)
        return self._inside(workload.name, app(workload, listen, "--dial"))

    def sidecar(self, workload: Workload, directory: Path) -> list[str]:
        words = ["proxy", "run", workload.name, "-n", NAMESPACE, "--uid", str(PROXY_UID)]
        command = (*MESHCTL, *words, "--dir", str(directory))
        return self._pod(workload.name).command(*command, orphaned="TERM")

    async def is_up(self, workload: Workload, program: Child) -> bool:
        """Any port of a pod leads to its sidecar, so the program is looked for from inside."""
        return listening(program.pid, workload.program.port) and await listens(workload.inbound)

    async def before_load(self, demo: Demo) -> None:
        """Start the bare program, and use each destination of web's load clients for the first
        time, which the summary then tells apart from the load."""
        ratings = self._found["ratings"]
        listen = Address(ANY, ratings.program.port)
        bare = demo.processes.start(f"app-{BARE}", self._inside(BARE, app(ratings, listen)))

        async def up() -> bool:
            return listening(bare.pid, ratings.program.port)

        await demo.wait("the bare program listens", up, 20.0)
        demo.stage("first contact")
        for name, path in CONTACTS.items():
            took = await self._contact(self._services[name], path)
            figures = f"{1000 * took['first']:.1f} ms, {1000 * took['next']:.1f} ms from then on"
            kind = "HTTP" if path else "TCP, the server speaks first"
            demo.claim(f"first connection to {name} ({kind})", figures)

    async def _contact(self, target: Address, path: str) -> dict[str, float]:
        module = "examples.redirect.contact"
        words = [sys.executable, "-m", module, "--target", str(target), "--path", path]
        process = await asyncio.create_subprocess_exec(
            *self._inside("web", words), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        if process.returncode:
            raise OSError(f"no contact with {target}")
        took: dict[str, float] = json.loads(out)
        return took

    def load(self, found: dict[str, Workload], trust_domain: str) -> dict[str, list[str]]:
        """All run in web's pod: the front page over loopback, the rest redirected."""
        web = found["web"]
        straight = Address(self._pod(BARE).address, found["ratings"].program.port)
        cost = ("--proxy", str(self._services["ratings"]), "--direct", str(straight))
        clients = {
            **http_clients(Address("127.0.0.1", web.program.port), trust_domain),
            **tcp_clients(self._services["ledger"]),
            COST: client("cost", COST, *cost, "--caller", web.spiffe_id(trust_domain)),
        }
        return {name: self._inside("web", command) for name, command in clients.items()}

    def of_policy(self) -> set[Resource]:
        """By the shape of the mesh: the ratings' table of routes in each sidecar that calls them.
        web does so too, for the cost client."""
        callers = {caller for caller, callee in CALLS if callee == "ratings"} | {"web"}
        return {(caller, "rds", f"r|{NAMESPACE}|ratings|80") for caller in callers}

    def by_hand(self, demo: Demo) -> list[str]:
        web = self._pod("web").name
        page = f"http://127.0.0.1:{self._found['web'].program.port}/page"
        reviews = f"http://{self._services['reviews']}/reviews"
        get = f"{shlex.quote(sys.executable)} -c " + shlex.quote(
            "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
        )
        return [
            f"ip netns exec {web} {get} {page}",
            f"ip netns exec {web} {get} {reviews}",
            f"ip netns exec {web} nft list ruleset",
        ]


def services(docs: list[dict[str, Any]]) -> dict[str, Address]:
    """Addresses of the Services by name, each with its first port."""
    return {
        doc["metadata"]["name"]: Address(doc["spec"]["clusterIP"], doc["spec"]["ports"][0]["port"])
        for doc in docs
        if doc["kind"] == "Service"
    }


def listening(pid: int, port: int) -> bool:
    """Whether something listens on a TCP port in the network namespace of a process."""
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    sockets = (line.split() for line in lines)
    return any(int(s[1].rpartition(":")[2], 16) == port and s[3] == LISTEN for s in sockets)
