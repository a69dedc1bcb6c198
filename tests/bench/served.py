"""A server under load as a bench sees it, and the load processes that stand around it.

A bench takes a factory of `Served`, so that the same measurement runs against the edge alone, the
bare server and the real control plane.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from tests.bench.edge_server import SUBSCRIPTIONS, certificate
from tests.bench.process import Child, resident_bytes

LOADS = 4
"""Load processes; each holds its share of the streams."""


class Served(Protocol):
    """A running server."""

    pid: int
    port: int
    roots: str
    """PEM of what its certificate is verified with; it is for ``localhost``."""
    subscriptions: dict[str, list[str]]
    """What each sidecar subscribes to, by type URL in order; no names: wildcard."""
    learning: bool
    """Whether it speaks xDS, so that clients may keep versions and wait for rest."""

    def identities(self, count: int) -> Sequence[tuple[Any, ...]]:
        """(node id, token) of ``count`` sidecars, and perhaps what each subscribes to."""

    def change(self) -> None:
        """Change one endpoint; every stream gets one response."""

    async def acked(self) -> None:
        """Return when every stream's ACK of the change was taken."""

    async def stop(self) -> None: ...


class StdioServer:
    """A server of this package that takes commands on its standard input."""

    def __init__(self, child: Child, port: int, roots: str, speaks: bool) -> None:
        self._child = child
        self._version = 1
        self.pid = child.pid
        self.port = port
        self.roots = roots
        self.learning = speaks
        first = dict(list(SUBSCRIPTIONS.items())[:1])
        self.subscriptions = SUBSCRIPTIONS if speaks else first

    def identities(self, count: int) -> list[tuple[str, str]]:
        return [(f"c1/default/web-{number}", "good") for number in range(count)]

    def change(self) -> None:
        self._version += 1
        self._child.tell(do="change", version=str(self._version))

    async def acked(self) -> None:
        assert (await self._child.hear())["acked"]

    async def stop(self) -> None:
        await self._child.stop()


@asynccontextmanager
async def started(module: str, *, speaks: bool) -> AsyncIterator[StdioServer]:
    """A server module of this package, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as directory:
        roots = certificate(directory)[0].decode()
        child = await Child.start(module, directory)
        server = StdioServer(child, (await child.hear())["port"], roots, speaks)
        try:
            yield server
        finally:
            await server.stop()


@asynccontextmanager
async def edge() -> AsyncIterator[Served]:
    """`xds.serve` alone."""
    async with started("tests.bench.edge_server", speaks=True) as server:
        yield server


@asynccontextmanager
async def bare() -> AsyncIterator[Served]:
    """The baseline."""
    async with started("tests.bench.bare", speaks=False) as server:
        yield server


class Loads:
    """The load processes."""

    def __init__(self, children: list[Child]) -> None:
        self._children = children

    async def open(
        self, name: str, server: Served, count: int, at_once: int = 50
    ) -> list[dict[str, Any]]:
        """Connect ``count`` sidecars under ``name``, so many at once in each process, and bring
        them to rest."""
        shares = [server.identities(count)[start :: len(self._children)] for start in range(LOADS)]
        return await self._all(
            lambda position: {
                "do": "open",
                "fleet": name,
                "port": server.port,
                "roots": server.roots,
                "identities": shares[position],
                "subscriptions": server.subscriptions,
                "learning": server.learning,
                "atOnce": at_once,
            }
        )

    async def reconnect(self, name: str, server: Served) -> dict[str, int]:
        """Open every stream again, reporting what it holds; the resources that came."""
        to = {"port": server.port, "roots": server.roots}
        told = await self._all(lambda _: {"do": "reconnect", "fleet": name, **to})
        return {key: sum(each[key] for each in told) for key in ("resources", "size")}

    async def leave(self, name: str) -> None:
        """Close every stream; what it holds is remembered."""
        await self._all(lambda _: {"do": "leave", "fleet": name})

    async def behave(self, name: str, delay: float | None) -> None:
        """From now on wait so long before each read; ``None`` reads no more until told again."""
        await self._all(lambda _: {"do": "behave", "fleet": name, "delay": delay})

    async def held(self, name: str) -> dict[str, dict[str, dict[str, str]]]:
        """Versions by node id, type URL and name."""
        told = await self._all(lambda _: {"do": "held", "fleet": name})
        return {node: held for each in told for node, held in each["held"].items()}

    async def arm(self, name: str) -> Callable[[], Awaitable[float]]:
        """Await one response on every stream; the time of the last ACK written."""
        await self._all(lambda _: {"do": "arm", "fleet": name})

        async def last() -> float:
            told = await asyncio.gather(*(child.hear() for child in self._children))
            return max(each["done"] for each in told)

        return last

    async def _all(self, message: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
        return await asyncio.gather(
            *(child.ask(**message(position)) for position, child in enumerate(self._children))
        )


@asynccontextmanager
async def loads() -> AsyncIterator[Loads]:
    """Load processes, stopped at the end."""
    children = await asyncio.gather(*(Child.start("tests.bench.load") for _ in range(LOADS)))
    try:
        yield Loads(children)
    finally:
        await asyncio.gather(*(child.stop() for child in children))


def resident(server: Served) -> int:
    return resident_bytes(server.pid)
