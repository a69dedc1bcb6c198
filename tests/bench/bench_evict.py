"""Eviction gives back what contact took: 100 destinations, five times contacted, idle and evicted.

70 are HTTP, 30 TCP; idleness is short by the mesh's own policy. All the while another destination
is in use over kept, fresh and TCP connections. HTTP connections are kept over the eviction, as
applications do, and used again if nobody closed them. No client tries anything twice. What cannot
come back is what Envoy remembers of each name it ever asked for: 1.2 KB for each contact.
"""

import asyncio
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.bench.figures import Figure, limited, note
from tests.bench.pods import APP, HTTP, TCP, allocated, application, pods
from tests.envoy.mesh.clients import Http1, say
from tests.envoy.mesh.load import Load
from tests.envoy.netns.mesh import NetMesh, service, settings, vip

CYCLES = 5
DESTINATIONS = range(10, 110)
TCP_EVERY = 10
TCP_OF = 3
"""So many of each `TCP_EVERY` destinations are TCP."""
KEPT, FRESH = 8, 2
"""Requests to a destination in a cycle."""
AT_ONCE = 8
REMEMBERED = 1.2e3
"""Bytes that Envoy keeps for good of each contact: the name that it asked for."""
RATIO = 1.05
STEADY = 1
POLICY = {"bucket": "1s", "idle": "4s", "floor": 0}
REPORTS = "1s"
"""The control plane reads a sidecar's reports at most a twentieth of the time. What comes faster
waits in Envoy's heap."""
PROMOTED_WITHIN = 60.0
EVICTED_WITHIN = 60.0
FALLEN_WITHIN = 10.0
STILL = 0.998
"""Two readings in a row that differ by less show a heap that falls no more."""
_CLUSTERS = "cluster_manager.active_clusters"
_DRAINING = "listener_manager.total_listeners_draining"


def name(number: int) -> str:
    return f"svc-{number}"


def is_tcp(number: int) -> bool:
    return number % TCP_EVERY < TCP_OF


@dataclass
class Clients:
    """The application's use of all destinations."""

    requests: int = 0
    failures: list[str] = field(default_factory=list)
    _kept: dict[int, Http1] = field(default_factory=dict)

    async def contact(self, numbers: Iterable[int]) -> None:
        """Use these destinations, some at once."""
        left = iter(numbers)

        async def some() -> None:
            for number in left:
                await (self._tcp(number) if is_tcp(number) else self._http(number))

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    async def _http(self, number: int) -> None:
        for _ in range(KEPT):
            connection = self._kept.get(number)
            if connection is None or connection.ended or not connection.usable:
                connection = await self._open(number)
            if connection is not None:
                await self._ask(number, connection)
        for _ in range(FRESH):
            if (fresh := await self._open(number, keep=False)) is not None:
                await self._ask(number, fresh)
                fresh.close()

    async def _open(self, number: int, *, keep: bool = True) -> Http1 | None:
        if keep and (old := self._kept.pop(number, None)) is not None:
            old.close()
        try:
            made = await Http1.open(vip(number), HTTP[0])
        except OSError as error:
            self._fail(number, repr(error))
            return None
        if keep:
            self._kept[number] = made
        return made

    async def _ask(self, number: int, connection: Http1) -> None:
        self.requests += 1
        try:
            reply = await connection.ask(f"{name(number)}.shop")
        except (OSError, EOFError) as error:
            self._fail(number, repr(error))
        else:
            if reply.status != 200:
                self._fail(number, f"{reply.status} {reply.text[:100]}")
            if not connection.usable:
                connection.close()

    async def _tcp(self, number: int) -> None:
        for _ in range(FRESH):
            self.requests += 1
            try:
                answers = await say(vip(number), TCP[0], b"a\n", b"b\n")
            except (OSError, EOFError, TimeoutError) as error:
                self._fail(number, repr(error))
            else:
                if answers != [b"A\n", b"B\n"]:
                    self._fail(number, repr(answers))

    def _fail(self, number: int, why: str) -> None:
        self.failures.append(f"{name(number)}: {why}")

    def close(self) -> None:
        for each in self._kept.values():
            each.close()


class Cycles:
    """What a sidecar holds: of the destinations, and at rest."""

    def __init__(self, mesh: NetMesh) -> None:
        self._mesh = mesh
        self._web = mesh.sidecars["web"]
        self._rest: set[str] = set()
        self._clusters = 0.0

    async def at_rest(self) -> float:
        """Wait until the steady destination is all that is held; bytes of heap. What is held the
        first time is what counts as rest."""

        async def quiet() -> bool:
            # The short answer first: a dump of a hundred destinations is work for everybody.
            return (
                await self._draining() == 0
                and not await self._mesh.asked("web")
                and (not self._rest or await self._held() == self._rest)
            )

        await self._web.until("without the destinations", quiet, EVICTED_WITHIN)
        self._rest = self._rest or await self._held()
        return await self._heap()

    async def _heap(self) -> float:
        """Bytes, as soon as they fall no more: what is removed goes when its connections have."""
        found = await allocated(self._web)
        deadline = time.monotonic() + FALLEN_WITHIN
        while True:
            found, before = await allocated(self._web), found
            if found > before * STILL or time.monotonic() > deadline:
                return found

    async def _draining(self) -> float:
        """Listeners on their way out; infinite while there are more clusters than at rest."""
        found = await self._web.stats(f"^({_CLUSTERS}|{_DRAINING})$")
        more = self._rest and found[_CLUSTERS] > self._clusters
        self._clusters = self._clusters if self._rest else found[_CLUSTERS]
        return math.inf if more else found[_DRAINING]

    async def all_promoted(self) -> bool:
        wanted = {
            f"p|{vip(number)}:{(TCP if is_tcp(number) else HTTP)[0]}" for number in DESTINATIONS
        }
        return wanted <= await self._mesh.promoted("web")

    async def _held(self) -> set[str]:
        """Names of listeners and clusters."""
        dump = await self._web.dumped("ListenersConfigDump")
        listeners = {each["name"] for each in dump.get("dynamic_listeners", ())}
        return listeners | set(await self._web.clusters())


async def waiting(mesh: NetMesh) -> float:
    """Bytes that the sidecar has for the control plane and may not send yet."""
    name = "cluster.xds.http2.pending_send_bytes"
    return (await mesh.sidecars["web"].stats(f"^{name}$"))[name]


async def cycles(mesh: NetMesh) -> tuple[list[float], list[str], int]:
    """Bytes of heap at rest before and after each cycle; failures, and of how many requests."""
    clients = Clients()
    sidecar = Cycles(mesh)
    with mesh.inside("web"):
        async with Load(vip(STEADY), HTTP[0], f"{name(STEADY)}.shop", tcp=TCP[0]) as load:
            for port in (HTTP[0], TCP[0]):
                await mesh.until_promoted("web", vip(STEADY), port)
            heaps = [await sidecar.at_rest()]
            for cycle in range(CYCLES):
                async with asyncio.timeout(PROMOTED_WITHIN):
                    await clients.contact(DESTINATIONS)
                    while not await sidecar.all_promoted():
                        await clients.contact(DESTINATIONS)
                full = await allocated(mesh.sidecars["web"])
                heaps.append(await sidecar.at_rest())
                late = await waiting(mesh)
                note(
                    f"cycle {cycle}: heap {full / 1e6:.3f} MB, evicted {heaps[-1] / 1e6:.3f}, "
                    f"before all {heaps[0] / 1e6:.3f}; {clients.requests} requests of "
                    f"destinations, {load.good} of load; {late:.0f} bytes of reports wait"
                )
            await load.more(20)
        clients.close()
    return heaps, clients.failures + load.failures, clients.requests + load.good


async def measure() -> list[Figure]:
    async with pods("--report-interval", REPORTS) as mesh:
        services = (
            service(name(number), number, HTTP, TCP, selector={"app": "backend"})
            for number in (STEADY, *DESTINATIONS)
        )
        pair = (mesh.add(2, "web"), mesh.add(3, "backend", ports=APP))
        mesh.write("mesh", settings(onDemand=POLICY), *pair, *services)
        await mesh.serve()
        await mesh.bring_up("web", "backend")
        async with application(mesh, "backend"):
            (before, *after), failures, requests = await cycles(mesh)
    for failure in failures[:10]:
        note(failure)
    count = len(DESTINATIONS)
    less = [heap - REMEMBERED * count * cycle for cycle, heap in enumerate(after, 1)]
    worst = max(less)
    grown = (after[-1] - before) / (count * CYCLES)
    return [
        limited("evict", f"failed of {requests} requests", len(failures), "", 0),
        Figure(
            "evict",
            f"heap after eviction of {count}, less 1.2 KB for each contact, worst of {CYCLES}",
            worst / 1e6,
            "MB",
            before / 1e6,
            worst / before,
            f"ratio <= {RATIO}",
            worst <= RATIO * before,
        ),
        Figure(
            "evict",
            f"heap after {CYCLES} cycles as it is",
            after[-1] / 1e6,
            "MB",
            before / 1e6,
            after[-1] / before,
        ),
        Figure("evict", "heap that stays for each contact", grown / 1e3, "KB"),
    ]


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
