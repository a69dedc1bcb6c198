"""The real `plait serve` and the real `meshctl`, as processes of their own.

Cheap looks go to the admin socket directly; `meshctl` runs where the command itself is tested.
"""

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from tests.envoy.mesh.manifests import Document

T = TypeVar("T")

DEADLINE = 60.0
POLL = 0.03
XDS_PORT, METRICS_PORT = 15012, 15014
SERVE = "from controlplane.app.cli import main; main()"
MESHCTL = "from controlplane.meshctl.cli import main; main()"
_SAMPLE = re.compile(r"^([a-z_:]+)(?:\{(.*)\})? ([-+0-9.eE]+)$")


async def until(what: str, probe: Callable[[], Awaitable[T]], timeout: float = DEADLINE) -> T:
    """Call ``probe`` until it gives something true; AssertionError with its last answer."""
    end = time.monotonic() + timeout
    while True:
        found = await probe()
        if found:
            return found
        assert time.monotonic() < end, f"not {what} within {timeout:g} s; last: {found!r}"
        await asyncio.sleep(POLL)


@dataclass(frozen=True, slots=True)
class Called:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Plait:
    """One control plane on ``address``, over the tree ``manifests``."""

    def __init__(self, base: Path, manifests: Path, address: str, *extra: str) -> None:
        self.state = base / "state"
        self.log = base / "plait.log"
        self.address = address
        self._command = [
            *(sys.executable, "-c", SERVE, "serve", "--source", "files", str(manifests)),
            *("--state", str(self.state), "--listen", f"{address}:{XDS_PORT}"),
            *("--metrics-address", f"{address}:{METRICS_PORT}", *extra),
        ]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        await until("serving", self._ready)

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self.log.read_text()[-4000:]
        try:
            return bool((await self.get("/v1/ready"))["ready"])
        except (OSError, aiohttp.ClientError):
            return False

    async def kill(self) -> None:
        """SIGKILL."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM."""
        await self._end(signal.SIGTERM)

    async def _end(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            await asyncio.wait_for(self._process.wait(), DEADLINE)

    # --- questions -----------------------------------------------------------------------------

    async def get(self, path: str, **query: str) -> Any:
        return await self._call("GET", path, query)

    async def post(self, path: str, body: object = None) -> Any:
        return await self._call("POST", path, {}, body)

    async def delete(self, kind: str, name: str, namespace: str = "shop") -> None:
        await self._call("DELETE", f"/v1/objects/{kind}/{namespace}/{name}", {})

    async def _call(
        self, method: str, path: str, query: dict[str, str], body: object = None
    ) -> Any:
        connector = aiohttp.UnixConnector(str(self.state / "admin.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://plait{path}", params=query, json=body) as response,
        ):
            text = await response.text()
            assert response.status < 400, f"{method} {path}: {response.status} {text}"
            answer = text.splitlines()[-1] if "jsonl" in response.content_type else text
            return json.loads(answer)

    async def apply(self, *documents: Document) -> None:
        """Store objects, and wait until every sidecar has acknowledged them."""
        answer = await self.post("/v1/apply", {"documents": documents})
        assert answer["objects"], answer["problems"]
        for each in answer["objects"]:
            ref = each["object"]
            await self.get(f"/v1/wait/{ref['kind']}/{ref['namespace'] or '-'}/{ref['name']}")

    async def problems(self, kind: str = "", name: str = "") -> list[dict[str, Any]]:
        """Problems, of one object when it is named."""
        found = (await self.get("/v1/problems"))["problems"]
        return [
            each
            for each in found
            if not kind or (each["object"]["kind"], each["object"]["name"]) == (kind, name)
        ]

    async def until_problem(self, kind: str, name: str) -> dict[str, Any]:
        async def told() -> list[dict[str, Any]]:
            return await self.problems(kind, name)

        return (await until(f"told of {kind} {name}", told))[0]

    async def until_no_problem(self, kind: str, name: str) -> None:
        async def clear() -> bool:
            return not await self.problems(kind, name)

        await until(f"without a problem of {kind} {name}", clear)

    async def settled(self, sidecars: int) -> None:
        """Wait until so many sidecars are connected and hold everything."""

        async def current() -> bool:
            status = await self.get("/v1/status")
            counts = status["sidecars"]
            return not status["pending"] and counts["current"] == counts["connected"] == sidecars

        await until(f"settled with {sidecars} sidecars", current)

    async def settled_or_rejecting(self) -> None:
        """Wait until no sidecar waits for anything: each holds all or has refused something."""

        async def quiet() -> bool:
            status = await self.get("/v1/status")
            return not status["pending"] and not status["sidecars"]["waiting"]

        await until("quiet", quiet)

    async def nacks(self) -> float:
        """Responses that sidecars refused since this process started."""
        found = await self.metrics()
        return sum(value for name, value in found.items() if name.startswith("plait_xds_nacks"))

    async def config(self, pod: str) -> dict[str, Any]:
        """What a sidecar holds, as the control plane knows it."""
        found: dict[str, Any] = await self.get(f"/v1/proxies/shop/{pod}", bodies="true")
        return found

    async def metrics(self) -> dict[str, float]:
        """Samples by name; with labels ``name{type="cds"}``, the library's own labels left out."""
        url = f"http://{self.address}:{METRICS_PORT}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            text = await response.text()
        found: dict[str, float] = {}
        for line in text.splitlines():
            if sample := _SAMPLE.match(line):
                labels = [
                    each for each in (sample[2] or "").split(",") if not each.startswith("otel_")
                ]
                found[f"{sample[1]}{{{','.join(labels)}}}"] = float(sample[3])
        return found

    async def pushed(self) -> dict[str, float]:
        """Resources sent since this process started, by type; ``bytes`` is their size together."""
        found: dict[str, float] = {}
        for name, value in (await self.metrics()).items():
            if name.startswith("plait_xds_resources") and value:
                found[name.partition('"')[2].partition('"')[0]] = value
            elif name.startswith("plait_xds_resource_bytes"):
                found["bytes"] = found.get("bytes", 0) + value
        return found

    async def meshctl(self, *arguments: str, code: int | None = 0) -> Called:
        """Run `meshctl` on this control plane. ``code``: the exit code it must have."""
        process = await asyncio.create_subprocess_exec(
            *self.meshctl_command(*arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE)
        called = Called(process.returncode or 0, out.decode(), err.decode())
        assert code is None or called.code == code, called
        return called

    def meshctl_command(self, *arguments: str) -> Sequence[str]:
        state = ("--state", str(self.state))
        split = arguments.index("--") if "--" in arguments else len(arguments)
        words = (*arguments[:split], *state, *arguments[split:])
        return (sys.executable, "-c", MESHCTL, *words)
