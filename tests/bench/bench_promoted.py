"""What a promoted destination costs a sidecar, beside a static listener of the same Envoy.

The static one is a listener of the bootstrap on an ordinary port of the pod, with the promoted
one's own filters, its routes written out, and the same cluster behind it. So what is compared is
the promotion: redirection, the hand-over from the listener that takes every connection, and
configuration that came later. Clients and application are processes in pods; Envoy writes its
access log to nowhere. First contact is asked of destinations that nobody asked for before.
"""

import asyncio
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.figures import Figure, compared, note
from tests.bench.pods import APP, HTTP, TCP, application, pods, process_in
from tests.bench.process import Child, cpu_seconds
from tests.envoy.netns.mesh import NetMesh, PodSidecar, service, settings, vip

CONNECTIONS = 16
REQUESTS = 400
"""Of one side, before it is the other's turn."""
TURNS = 20
"""Of each side in a round: what else goes on in the machine meets both alike."""
ROUNDS, WARM_UP = 10, 1
RATIO = 1.05
MEASURED = 1
CONTACTED = range(10, 40)
"""Services of the first contacts."""
WARM = 3
"""Warm requests for a first contact."""
STATIC_PORT = 18080
SIDES = ("promoted", "static")


def name(number: int) -> str:
    return f"svc-{number}"


async def static_twin(mesh: NetMesh) -> dict[str, Any]:
    """The promoted listener as one of a bootstrap."""
    web = mesh.sidecars["web"]
    promoted = f"p|{vip(MEASURED)}:{HTTP[0]}"
    listeners = (await web.dumped("ListenersConfigDump"))["dynamic_listeners"]
    [found] = [each for each in listeners if each["name"] == promoted]
    listener = _plain(found["active_state"]["listener"])
    address = {"address": web.address, "port_value": STATIC_PORT}
    listener |= {"name": "static", "address": {"socket_address": address}, "bind_to_port": True}
    routes = (await web.dumped("RoutesConfigDump"))["dynamic_route_configs"]
    tables = {each["route_config"]["name"]: each["route_config"] for each in routes}
    managers = [
        each["typed_config"]
        for chain in listener["filter_chains"]
        for each in chain["filters"]
        if "rds" in each["typed_config"]
    ]
    assert managers, listener
    for manager in managers:
        table = tables[manager.pop("rds")["route_config_name"]]
        manager["route_config"] = _plain(table) | {"validate_clusters": False}
    return listener


def _plain(packed: dict[str, Any]) -> dict[str, Any]:
    """Without the type that a dump names and a field's place implies."""
    return {key: value for key, value in packed.items() if key != "@type"}


async def restarted(mesh: NetMesh, listener: dict[str, Any]) -> PodSidecar:
    """The sidecar once more, with a static listener and without a log."""
    await mesh.end("web")
    files = await mesh.files("web")
    bootstrap = json.loads(files.bootstrap.read_text())
    bootstrap["static_resources"]["listeners"] = [listener]
    files.bootstrap.write_text(json.dumps(bootstrap))
    sidecar = mesh.sidecars["web"] = PodSidecar("web", mesh.network.pods["web"], files)
    sidecar.log = Path(os.devnull)
    await sidecar.start()
    await sidecar.ready()
    await mesh.plait.settled(len(mesh.sidecars))
    return sidecar


@dataclass
class Side:
    """What one listener took in a round."""

    used: float = 0.0
    seconds: float = 0.0

    @property
    def cost(self) -> float:
        """Processor microseconds of Envoy for a request."""
        return self.used / (TURNS * REQUESTS) * 1e6

    @property
    def speed(self) -> float:
        """Requests per second."""
        return TURNS * REQUESTS / self.seconds


async def one_round(client: Child, envoy: PodSidecar) -> dict[str, Side]:
    found = {name: Side() for name in SIDES}
    for turn in range(TURNS):
        for name in SIDES if turn % 2 else SIDES[::-1]:
            used = cpu_seconds(envoy.pid)
            told = await client.ask(do="run", name=name, requests=REQUESTS)
            found[name].used += cpu_seconds(envoy.pid) - used
            found[name].seconds += told["seconds"]
    return found


async def interleaved(mesh: NetMesh, client: Child, envoy: PodSidecar) -> list[Figure]:
    places = {"promoted": (vip(MEASURED), HTTP[0]), "static": (envoy.address, STATIC_PORT)}
    for side, (address, port) in places.items():
        about = {"address": address, "port": port, "authority": f"{name(MEASURED)}.shop"}
        await client.ask(do="open", name=side, count=CONNECTIONS, **about)
    rounds: list[dict[str, Side]] = []
    for number in range(WARM_UP + ROUNDS):
        found = await one_round(client, envoy)
        told = ", ".join(f"{found[side].cost:.1f} us {side}" for side in SIDES)
        note(f"round {number}: {told}")
        rounds += [found] if number >= WARM_UP else []
    at = f"at {CONNECTIONS} connections, promoted beside static"
    costs = [(each["promoted"].cost, each["static"].cost) for each in rounds]
    speeds = [(each["promoted"].speed, each["static"].speed) for each in rounds]
    return [
        compared("promoted", f"processor time of a request {at}", costs, "us", RATIO),
        compared("promoted", f"requests {at}", speeds, "1/s"),
    ]


async def first_contacts(mesh: NetMesh, client: Child, *, tcp: bool) -> Figure:
    """Milliseconds of a first request on a new connection, beside a warm one on a new one."""
    port = (TCP if tcp else HTTP)[0]
    rounds: list[tuple[float, float]] = []
    for number in CONTACTED:
        about = {"address": vip(number), "port": port, "authority": f"{name(number)}.shop"}
        first = (await client.ask(do="once", tcp=tcp, **about))["ms"]
        await mesh.until_promoted("web", vip(number), port)
        warm = [(await client.ask(do="once", tcp=tcp, **about))["ms"] for _ in range(WARM)]
        rounds.append((first, median(warm)))
    return Figure(
        "promoted",
        f"first contact beyond a warm request, {'TCP' if tcp else 'HTTP'}",
        median(first - warm for first, warm in rounds),
        "ms",
        median(warm for _, warm in rounds),
    )


async def measure() -> list[Figure]:
    async with pods() as mesh:
        services = (
            service(name(number), number, HTTP, TCP, selector={"app": "backend"})
            for number in (MEASURED, *CONTACTED)
        )
        backend = mesh.add(3, "backend", meshed=False, ports=APP)
        mesh.write("mesh", settings(), mesh.add(2, "web"), backend, *services)
        await mesh.serve()
        await mesh.bring_up("web")
        async with application(mesh, "backend"), process_in(mesh, "web") as client:
            assert (await mesh.http1("web", vip(MEASURED))).status == 200
            await mesh.until_promoted("web", vip(MEASURED), HTTP[0])
            envoy = await restarted(mesh, await static_twin(mesh))
            await mesh.until_promoted("web", vip(MEASURED), HTTP[0])
            found = await interleaved(mesh, client, envoy)
            contacts = [await first_contacts(mesh, client, tcp=tcp) for tcp in (False, True)]
            return [*found, *contacts]


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
