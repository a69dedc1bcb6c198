"""A whole fleet starts: 1,000 sidecars with 20 destinations each in a mesh of 1,000 services.

From listening to the last sidecar at rest, against a bare grpc.aio server that sends the same
bytes to as many streams. Both start anew in every round. Plaintext, because `plait serve` cannot
be asked for it and TLS handshakes would hide the difference; TLS is reported beside it.

Memory is compared twice: the peak, of which the packages that a control plane loads take as much
before its first stream as the bare server in all, and what the streams add.
"""

import asyncio
import json
import tempfile
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from controlplane.identity.state import open_state
from controlplane.identity.tokens import TokenKey
from tests.bench.edge_server import certificate
from tests.bench.figures import Figure, compared, limited, note
from tests.bench.load import Fleet
from tests.bench.mesh import Shape
from tests.bench.plane import plane
from tests.bench.process import Child, cpu_seconds, peak_bytes, resident_bytes
from tests.bench.served import Loads, loads

SHAPE = Shape(1000, services=1000, endpoints=10, owners=50)
ROUNDS = 10
TLS_ROUNDS = 2
REPLAY = "tests.bench.replay"
RATIO = 1.5
WIRE_MB = 62
RECORD = (
    "for the record, a Go control plane on two cores: 1.85 s, 343 MB, 62 MB with a hand-written"
    " scope; 56-83 s and 2.0-3.4 GB without"
)


@dataclass
class Target:
    """A server that clients may connect to."""

    pid: int
    port: int
    roots: str
    key: TokenKey
    recorded: bool = False
    """It sends to all what one sidecar was sent, so all must await the same names."""
    learning: bool = True
    subscriptions: dict[str, list[str]] = field(default_factory=dict)

    def identities(self, count: int) -> Any:
        found = SHAPE.identities(self.key, count, asks=False)
        same = SHAPE.subscriptions(0, asks=False)
        return [(node, token, same if self.recorded else own) for node, token, own in found]

    def change(self) -> None:
        """Nothing changes here."""

    async def acked(self) -> None:
        """Nothing changes here."""

    async def stop(self) -> None:
        """It ends with its context."""


@dataclass
class Start:
    """One cold start."""

    seconds: float
    memory: int
    """Peak, bytes."""
    grown: int
    """How much of it came with the streams."""
    cpu: float
    """Seconds that the server worked."""


@asynccontextmanager
async def started(module: str, key: TokenKey, roots: str, *arguments: str) -> AsyncIterator[Target]:
    child = await Child.start(module, *arguments)
    try:
        recorded = module == REPLAY
        yield Target(child.pid, (await child.hear())["port"], roots, key, recorded)
    finally:
        await child.stop()


async def cold(load: Loads, server: Target) -> Start:
    before = resident_bytes(server.pid)
    used, begun = cpu_seconds(server.pid), time.monotonic()
    told = await load.open("cold", server, SHAPE.sidecars, at_once=SHAPE.sidecars)
    assert not any(each["lost"] for each in told)
    peak = peak_bytes(server.pid)
    found = Start(
        max(each["at"] for each in told) - begun,
        peak,
        peak - before,
        cpu_seconds(server.pid) - used,
    )
    await load.leave("cold")
    return found


async def record(server: Target, path: Path) -> int:
    """Write the responses of one sidecar's start to ``path``; returns their bytes."""
    fleet = Fleet(
        {
            "roots": server.roots,
            "subscriptions": {},
            "identities": server.identities(1),
        }
    )
    fleet.frames = []
    await fleet.open(server.port)
    await fleet.close()
    path.write_text(json.dumps([b64encode(each).decode() for each in fleet.frames]))
    return sum(map(len, fleet.frames))


async def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as name:
        home = Path(name)
        SHAPE.write(home, learnt=True)
        key = open_state(home / "state", datetime.now(UTC)).token_key
        frames = home / "frames.json"
        ours = ("tests.bench.plain_plane", key, "", str(home))
        bare = (REPLAY, key, "", str(frames))
        async with started(*ours) as server:
            sent = await record(server, frames)
        rounds: list[tuple[Start, Start]] = []
        for number in range(ROUNDS):
            async with loads() as load:
                async with started(*ours) as server:
                    mine = await cold(load, server)
                async with started(*bare) as server:
                    its = await cold(load, server)
            rounds.append((mine, its))
            note(
                f"round {number}: {mine.seconds:.2f} s against {its.seconds:.2f} s,"
                f" CPU {mine.cpu:.2f} s against {its.cpu:.2f} s"
            )
        secure = await encrypted(key, home, frames)
    walls = [(mine.seconds, its.seconds) for mine, its in rounds]
    peaks = [(mine.memory / 2**20, its.memory / 2**20) for mine, its in rounds]
    grown = [(mine.grown / 2**20, its.grown / 2**20) for mine, its in rounds]
    works = [(mine.cpu, its.cpu) for mine, its in rounds]
    note(RECORD)
    return [
        compared("coldstart", "wall to the last sidecar at rest", walls, "s", RATIO),
        compared("coldstart", "server CPU", works, "s"),
        compared("coldstart", "peak memory above that before the first", grown, "MB", RATIO),
        compared("coldstart", "peak memory", peaks, "MB", RATIO),
        limited("coldstart", "wire bytes", sent * SHAPE.sidecars / 1e6, "MB", WIRE_MB),
        compared("coldstart", "wall over TLS", secure, "s"),
        Figure("coldstart", "a Go control plane with a hand-written scope", 1.85, "s"),
    ]


async def encrypted(key: TokenKey, home: Path, frames: Path) -> list[tuple[float, float]]:
    """The same with `plait serve` itself, over TLS."""
    found = []
    certificates = home / "certificates"
    certificates.mkdir()
    roots = certificate(str(certificates))[0].decode()
    for _ in range(TLS_ROUNDS):
        async with loads() as load:
            async with plane(SHAPE) as server:
                begun = time.monotonic()
                told = await load.open("plait", server, SHAPE.sidecars, at_once=SHAPE.sidecars)
                mine = max(each["at"] for each in told) - begun
                await load.leave("plait")
            arguments = (str(frames), str(certificates))
            async with started(REPLAY, key, roots, *arguments) as bare:
                found.append((mine, (await cold(load, bare)).seconds))
    return found


def main() -> Iterable[Figure]:
    return asyncio.run(measure())
