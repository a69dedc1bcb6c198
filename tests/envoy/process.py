"""A real Envoy of a test: started with a bootstrap, watched through its admin socket, stopped.

Everything waits for an event with a deadline; a failure carries the end of Envoy's own log.
"""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp

from sidecar.launch import envoy_command, find_envoy

T = TypeVar("T")

START_SECONDS: Final = 60.0
"""Deadlines are generous: the machine may run many tests at once."""
STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05
TAIL: Final = 4000
"""Characters of the log that a failure shows."""


class EnvoyFailed(AssertionError):
    """Envoy ended, or did not become what the test waits for, in time."""


class EnvoyProcess:
    """One Envoy. ``directory`` must be short: the admin socket's path holds 107 bytes at most."""

    def __init__(
        self,
        directory: Path,
        bootstrap: Mapping[str, Any] | Path,
        *,
        concurrency: int = 1,
        log_level: str = "info",
    ) -> None:
        """``bootstrap``: a file (as `SidecarFiles.write` returns), or data that is written to
        ``directory`` with an admin socket added when it has none."""
        self.directory = directory
        self.log = directory / "envoy.log"
        if isinstance(bootstrap, Path):
            self.bootstrap = bootstrap
            data: Mapping[str, Any] = json.loads(bootstrap.read_bytes())
        else:
            admin = {"address": {"pipe": {"path": str(directory / "admin.sock")}}}
            data = {"admin": admin, **bootstrap}
            self.bootstrap = directory / "bootstrap.json"
            self.bootstrap.write_text(json.dumps(data))
        self.admin = Path(data["admin"]["address"]["pipe"]["path"])
        self.command = envoy_command(
            find_envoy(), self.bootstrap, concurrency=concurrency, log_level=log_level
        )
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status; ``None`` while it runs."""
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        """Start the process; `ready` waits for it. It may be started again after `stop`."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )

    async def stop(self) -> int:
        """SIGTERM, SIGKILL after a while; the exit status."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """SIGKILL."""
        return await self._end(signal.SIGKILL)

    async def _end(self, how: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(how)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()
        return process.returncode or 0

    def tail(self) -> str:
        """The end of what Envoy logged."""
        return self.log.read_text(errors="replace")[-TAIL:] if self.log.exists() else ""

    async def until(
        self,
        what: str,
        probe: Callable[[], Awaitable[T | None]],
        timeout: float = START_SECONDS,
    ) -> T:
        """Call ``probe`` until it gives something true. Raises `EnvoyFailed` with the log's end
        after ``timeout`` seconds, or as soon as Envoy has ended."""
        deadline = time.monotonic() + timeout
        while True:
            if self.status is not None:
                raise EnvoyFailed(
                    f"Envoy ended with {self.status} before it was {what}:\n{self.tail()}"
                )
            try:
                found = await probe()
            except (aiohttp.ClientError, OSError):
                found = None  # the admin socket is not there yet
            if found:
                return found
            if time.monotonic() > deadline:
                raise EnvoyFailed(f"not {what} within {timeout:.0f} s:\n{self.tail()}")
            await asyncio.sleep(POLL_SECONDS)

    async def ready(self, timeout: float = START_SECONDS) -> None:
        """Wait until Envoy is live: it has all of its first configuration."""

        async def live() -> bool:
            return (await self.get("/ready")).strip() == "LIVE"

        await self.until("ready", live, timeout)

    async def until_stat(
        self,
        name: str,
        at_least: float,
        timeout: float = START_SECONDS,
    ) -> float:
        """Wait until a counter or gauge reaches a value."""

        async def reached() -> float | None:
            value = (await self.stats(name)).get(name, 0)
            return value if value >= at_least else None

        return await self.until(f"at {name} >= {at_least}", reached, timeout)

    async def get(self, path: str, method: str = "GET") -> str:
        """One admin request; the body, whatever the status."""
        connector = aiohttp.UnixConnector(path=str(self.admin))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://admin{path}") as response,
        ):
            return await response.text()

    async def config_dump(self) -> list[dict[str, Any]]:
        """The sections of ``/config_dump?include_eds``; secrets are redacted by Envoy."""
        answer: dict[str, Any] = json.loads(await self.get("/config_dump?include_eds"))
        return list(answer["configs"])

    async def dumped(self, section: str) -> dict[str, Any]:
        """One section by the last part of its type: ``ClustersConfigDump``, ``SecretsConfigDump``,
        ``ListenersConfigDump``, ``RoutesConfigDump``, ``EndpointsConfigDump``."""
        for each in await self.config_dump():
            if each["@type"].endswith(f".{section}"):
                return each
        return {}

    async def stats(self, pattern: str = "") -> dict[str, float]:
        """Counters and gauges by name; ``pattern`` is a regular expression that must occur."""
        query = f"/stats?format=json&filter={pattern}" if pattern else "/stats?format=json"
        answer = json.loads(await self.get(query.replace("|", "%7C")))
        return {each["name"]: each["value"] for each in answer["stats"] if "value" in each}

    async def certs(self) -> list[dict[str, Any]]:
        """``/certs``: what is loaded, with serials and times."""
        answer: dict[str, Any] = json.loads(await self.get("/certs"))
        return list(answer["certificates"])

    async def memory(self) -> dict[str, int]:
        """``/memory``, in bytes: allocated, heap_size and others."""
        return {key: int(value) for key, value in json.loads(await self.get("/memory")).items()}
