"""The real `plait serve` under load: default telemetry, TLS, tokens signed for real Pods.

Sidecars in proxy mode hold some destinations, which their workload learnt before or which they ask
for now, as Envoy does. A file of manifests is changed by rename; beside it stand as many other
files as the bench wants.
"""

import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import aiohttp

from controlplane.app.views import Status
from controlplane.identity.state import open_state
from controlplane.meshctl.client import Client
from tests.bench.mesh import Shape
from tests.bench.process import cpu_seconds

DEFAULT = Shape()
PLAIT = "from controlplane.app.cli import main; main()"
_QUIET = 0.02
_START = 120.0
_STOP = 20.0


class Plane:
    """Implements `tests.bench.served.Served`."""

    learning = True

    subscriptions: ClassVar[dict[str, list[str]]] = {}
    """Each sidecar has its own."""

    def __init__(self, pid: int, home: Path, shape: Shape, status: Status, *, asks: bool) -> None:
        self._asks = asks
        self._version = 0
        self._metrics = status.metrics
        self._keys = open_state(home / "state", datetime.now(UTC))
        self.shape = shape
        self.home = home
        self.pid = pid
        self.port = int(status.listen.rpartition(":")[2])
        self.roots = self._keys.authority.bundle.decode()

    def identities(self, count: int) -> list[tuple[str, str, dict[str, list[str]]]]:
        return self.shape.identities(self._keys.token_key, count, asks=self._asks)

    def change(self) -> None:
        """One endpoint of the first Service moves."""
        self._version += 1
        versions = [0] * (self.shape.endpoints - 1)
        self.shape.write_service(self.home, 0, [*versions, self._version])

    async def acked(self) -> None:
        """Every ACK was written by the clients: return when the process has nothing to do."""
        used = cpu_seconds(self.pid)
        while True:
            await asyncio.sleep(_QUIET)
            used, before = cpu_seconds(self.pid), used
            if used - before < _QUIET / 10:
                return

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a counter over all labels but those given."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self._metrics}/metrics") as response,
        ):
            text = await response.text()
        found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for label, value in found if all(w in label for w in wanted))

    async def stop(self) -> None:
        """It ends with its context."""


@asynccontextmanager
async def _process(home: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PLAIT),
            *("serve", "--source", "files", str(home / "tree"), "--state", str(home / "state")),
            *("--listen", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"),
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _ready(process: asyncio.subprocess.Process, home: Path) -> Status:
    state = home / "state"
    deadline = time.monotonic() + _START
    async with Client(state) as client:
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"plait serve ended: {(home / 'log').read_text()}")
            if (state / "admin.sock").exists():
                status = await client.get(Status, "/v1/status")
                if status.readiness.ready:
                    return status
            if time.monotonic() > deadline:
                raise TimeoutError("plait serve did not become ready")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def plane(
    shape: Shape = DEFAULT, *, asks: bool = False, keys_of: Plane | None = None, learnt: bool = True
) -> AsyncIterator[Plane]:
    """A running control plane. Its sidecars ask for their destinations, or have learnt them. With
    ``keys_of`` one on a copy of another's manifests, ``ca/`` and ``tokens/`` and, if ``learnt``, of
    what its workloads learnt."""
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as name:
        home = Path(name)
        if keys_of is None:
            shape.write(home, learnt=not asks)
        else:
            shape = keys_of.shape
            shutil.copytree(keys_of.home / "tree", home / "tree")
            (home / "state").mkdir(mode=0o700)
            for part in ("ca", "tokens", "learnt")[: 3 if learnt else 2]:
                shutil.copytree(keys_of.home / "state" / part, home / "state" / part)
        async with _process(home) as process:
            yield Plane(process.pid, home, shape, await _ready(process, home), asks=asks)
