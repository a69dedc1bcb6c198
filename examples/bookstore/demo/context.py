"""What every stage of the demo works with, and how it waits."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.bookstore.demo.claims import Claim, Claims
from examples.bookstore.demo.layout import Workload
from examples.bookstore.demo.meter import Meter
from examples.bookstore.demo.mode import FRESH, KEPT, Mode
from examples.bookstore.demo.observe import AccessLog, admin
from examples.bookstore.demo.page import ClientRow, Screen, View
from examples.bookstore.demo.processes import Child, Processes
from examples.bookstore.demo.typed import PLAIT, Shell

ROOT = Path(__file__).parents[3]
"""The repository."""
SPLIT_CLIENTS = (KEPT, FRESH)
"""Clients whose replies come from reviews."""


class TooSlow(TimeoutError):
    """Something did not happen in time; the text says what."""


async def until(
    what: str, done: Callable[[], Awaitable[Any]], deadline: float, every: float = 0.1
) -> Any:
    """Ask again and again until the answer is true, and return it.

    Raises TooSlow after ``deadline`` seconds, naming ``what``.
    """
    end = time.monotonic() + deadline
    while True:
        answer = await done()
        if answer:
            return answer
        if time.monotonic() >= end:
            raise TooSlow(f"not within {deadline:g} s: {what}")
        await asyncio.sleep(every)


@dataclass(frozen=True, slots=True)
class Places:
    """The demo's own directory, outside the work tree, so that git never sees it."""

    root: Path

    @classmethod
    def make(cls, manifests: Path) -> "Places":
        """With a copy of ``manifests``. Short: a Unix socket's path has 107 bytes at most."""
        places = cls(Path(tempfile.mkdtemp(prefix="plait-demo-")))
        for directory in (places.manifests, places.state, places.logs, places.sidecars):
            directory.mkdir(mode=0o700)
        for directory in (places.root, places.sidecars):
            directory.chmod(0o711)  # an Envoy of another user has its own directory in there
        for path in manifests.glob("*.yaml"):
            (places.manifests / path.name).write_text(path.read_text())
        return places

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def sidecars(self) -> Path:
        return self.root / "sidecars"

    def envoy_admin(self, workload: str) -> Path:
        """The admin socket of a workload's Envoy."""
        return self.sidecars / workload / "admin.sock"

    def save(self, name: str, text: str) -> None:
        """Replace a manifest in one step, as editors do."""
        path = self.manifests / name
        new = path.with_name(f".{name}.new")
        new.write_text(text)
        new.replace(path)


@dataclass(slots=True)
class Demo:
    mode: Mode
    places: Places
    workloads: dict[str, Workload]
    trust_domain: str
    processes: Processes
    screen: Screen
    shell: Shell
    claims: Claims = field(default_factory=Claims)
    meter: Meter = field(default_factory=Meter)
    sidecars: dict[str, Child] = field(default_factory=dict)
    control_plane: Child | None = None
    readers: list["asyncio.Task[None]"] = field(default_factory=list)
    """Tasks that gather the load clients' reports and draw the page."""
    phase: str = "starting"
    began: float = 0.0
    """When all load clients were at work (CLOCK_MONOTONIC)."""

    def say(self, text: str) -> None:
        self.screen.say(text)

    def stage(self, phase: str) -> None:
        """Name what is shown from now on."""
        self.phase = phase
        self.say(f"── {phase}")

    def claim(self, text: str, figure: str, held: bool | None = None) -> Claim:
        claim = self.claims.add(text, figure, held)
        self.say(str(claim))
        return claim

    async def wait(
        self, what: str, done: Callable[[], Awaitable[Any]], deadline: float, every: float = 0.1
    ) -> Any:
        """As `until`, and raises Died when one of the demo's processes ends meanwhile."""

        async def asked() -> Any:
            self.processes.check()
            for reader in self.readers:
                if reader.done():
                    reader.result()  # raises what ended it
            return await done()

        return await until(what, asked, deadline, every)

    async def ask(self, path: str) -> Any:
        """An answer of the admin API (`observe.admin`)."""
        return await admin(self.places.state, path)

    def start_control_plane(self) -> Child:
        """Start `plait serve` on the demo's directory."""
        self.control_plane = self.processes.start(
            "control-plane",
            [
                *PLAIT,
                "serve",
                "--source",
                "files",
                str(self.places.manifests),
                "--listen",
                str(self.mode.xds),
                "--metrics-address",
                str(self.mode.metrics),
                "--log-format",
                "json",
            ],
        )
        return self.control_plane

    def access_logs(self, names: Iterable[str]) -> dict[str, AccessLog]:
        """The access logs of these sidecars from now on."""
        logs = {name: AccessLog(self.sidecars[name].log) for name in names}
        for log in logs.values():
            log.skip()
        return logs

    def view(self) -> View:
        now = time.monotonic()
        rows = tuple(
            ClientRow(client.name, client.rate(now), client.total, len(client.failures))
            for client in self.meter.clients.values()
        )
        split = self.meter.versions(SPLIT_CLIENTS, now - 3.0)
        return View(self.phase, rows, split, dict(self.meter.seen))


def environment(places: Places) -> dict[str, str]:
    """The environment of the demo's processes and commands: the user's, with the demo's state."""
    python_path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("PLAIT_")},
        "PLAIT_STATE": str(places.state),
        "PYTHONPATH": python_path,
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        "COLUMNS": "160",
    }
