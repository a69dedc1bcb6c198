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

import aiohttp

from controlplane.app.views import Status
from controlplane.identity import tokens
from controlplane.identity.state import open_state
from controlplane.meshctl.client import Client
from controlplane.rollout.learnt_lines import Reference, line
from tests.bench import manifests
from tests.bench.process import cpu_seconds
from xds import names
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET

DESTINATIONS = 20
OWNER = "web"
ENDPOINTS = 20
"""Of each Service that sidecars use."""
TRUST_DOMAIN = "cluster.local"
CHANGED = "destination-000.yaml"
BUCKET = "3600s"
"""Names that were asked for stay for the whole bench."""
PLAIT = "from controlplane.app.cli import main; main()"
_QUIET = 0.02
_START = 120.0
_STOP = 20.0


def destination(number: int) -> str:
    return f"svc-{number:03}"


def write_tree(directory: Path, sidecars: int, others: int) -> None:
    """The mesh: ``sidecars`` pods, their destinations, ``others`` Services in a file each."""
    directory.mkdir()
    manifests.replace(directory / "mesh.yaml", [manifests.mesh_config(BUCKET)])
    pods = [manifests.pod(f"web-{n}", manifests.address(n), OWNER) for n in range(sidecars)]
    manifests.replace(directory / "pods.yaml", pods)
    for number in range(DESTINATIONS + others):
        used = number < DESTINATIONS
        name = destination(number) if used else f"other-{number}"
        addresses = [
            f"10.{number // 250}.{number % 250}.{n}" for n in range(ENDPOINTS if used else 2)
        ]
        documents = [manifests.service(name), manifests.endpoint_slice(name, addresses)]
        path = f"destination-{number:03}.yaml" if used else f"other-{number:04}.yaml"
        manifests.replace(directory / path, documents)


def write_learnt(state: Path) -> None:
    """What the pods' workload has learnt."""
    directory = state / "learnt" / manifests.NAMESPACE
    directory.mkdir(parents=True, mode=0o700)
    state.chmod(0o700)
    used = (
        Reference(manifests.NAMESPACE, destination(n), manifests.PORT) for n in range(DESTINATIONS)
    )
    lines = (line(each, time.time()) for each in used)
    (directory / f"{OWNER}.jsonl").write_bytes(b"".join(lines))


class Plane:
    """Implements `tests.bench.served.Served`."""

    learning = True

    def __init__(self, pid: int, home: Path, status: Status, asks: bool) -> None:
        self._tree = home / "tree"
        self._version = 0
        self._metrics = status.metrics
        self._keys = open_state(home / "state", datetime.now(UTC))
        self.home = home
        self.pid = pid
        self.port = int(status.listen.rpartition(":")[2])
        self.roots = self._keys.authority.bundle.decode()
        used = [destination(number) for number in range(DESTINATIONS)]
        asked = [f"a|{name}.{manifests.NAMESPACE}:{manifests.PORT}|1" for name in used]
        loads = [f"e|{manifests.NAMESPACE}|{name}|{manifests.PORT}" for name in used]
        self.subscriptions = {
            CLUSTER: ["*", *asked] if asks else [],
            ENDPOINT: [*loads, names.LOCAL_CLUSTER],
            SECRET: [names.IDENTITY_SECRET, names.roots_secret(TRUST_DOMAIN)],
            LISTENER: [],
            ROUTE: [names.PROXY_ROUTES, names.PROXY_LOOP_ROUTES],
        }

    def identities(self, count: int) -> list[tuple[str, str]]:
        now = datetime.now(UTC)
        found = []
        for number in range(count):
            work = tokens.Workload("local", manifests.NAMESPACE, f"web-{number}", "client")
            subject = names.spiffe_id(TRUST_DOMAIN, work.namespace, work.account)
            token = tokens.sign(self._keys.token_key, work, subject, now).reveal()
            found.append((f"local/{work.namespace}/{work.pod}", token))
        return found

    def change(self) -> None:
        """One of the endpoints moves."""
        self._version += 1
        addresses = [f"10.0.0.{n}" for n in range(1, ENDPOINTS)]
        addresses.append(f"10.200.{self._version // 250}.{self._version % 250}")
        name = destination(0)
        documents = [manifests.service(name), manifests.endpoint_slice(name, addresses)]
        manifests.replace(self._tree / CHANGED, documents)

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
    sidecars: int = 1000, others: int = 0, *, asks: bool = False, keys_of: Plane | None = None
) -> AsyncIterator[Plane]:
    """A running control plane; with ``keys_of`` one on a copy of another's ``ca/`` and ``tokens/``
    and of its manifests. Sidecars ask for their destinations, or have learnt them."""
    with tempfile.TemporaryDirectory(prefix="plait-bench-") as name:
        home = Path(name)
        if keys_of is None:
            write_tree(home / "tree", sidecars, others)
            if not asks:
                write_learnt(home / "state")
        else:
            shutil.copytree(keys_of.home / "tree", home / "tree")
            (home / "state").mkdir(mode=0o700)
            for part in ("ca", "tokens"):
                shutil.copytree(keys_of.home / "state" / part, home / "state" / part)
        async with _process(home) as process:
            yield Plane(process.pid, home, await _ready(process, home), asks)
