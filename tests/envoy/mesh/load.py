"""Load that counts every failure: no retries, kept and fresh connections side by side."""

import asyncio
import time
from collections import Counter
from types import TracebackType
from typing import Self

from tests.envoy import place
from tests.envoy.mesh.clients import Http1, Reply, say

PAUSE = 0.004
"""Seconds between two requests of one client: enough load, and room for everyone else."""
LIMIT = 20.0
"""Seconds after which a request has failed; the machine may be very busy."""


class Load:
    """Use as an asynchronous context. ``failures``: what went wrong, in words."""

    def __init__(
        self,
        address: str,
        port: int,
        authority: str,
        path: str = "/load",
        *,
        kept: int = 2,
        fresh: int = 1,
        tcp: int | None = None,
        held: int = 0,
    ) -> None:
        """``tcp``: also a port of the same address where lines are answered in capitals; ``held``:
        so many connections to it that stay open."""
        self._target = (address, port)
        self._authority = authority
        self._path = path
        self._counts = (kept, fresh)
        self._tcp = tcp
        self._held = held
        self.said = 0
        """Lines answered on connections that stay open."""
        self.good = 0
        self.apps: Counter[str] = Counter()
        """Replies by application."""
        self.failures: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        kept, fresh = self._counts
        self._tasks = [asyncio.create_task(self._run(fresh=n >= kept)) for n in range(kept + fresh)]
        if self._tcp is not None:
            self._tasks.append(asyncio.create_task(self._lines(self._tcp)))
            held = (self._long(self._tcp) for _ in range(self._held))
            self._tasks += map(asyncio.create_task, held)
        await self.more(5)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def more(self, count: int = 100, timeout: float = 60) -> None:
        """Wait for so many further good replies."""
        goal, end = self.good + count, time.monotonic() + timeout
        while self.good < goal:
            assert time.monotonic() < end, f"{self.good} of {goal}; {self.failures[:5]}"
            await asyncio.sleep(0.01)

    async def until_apps(self, apps: set[str], count: int = 50, timeout: float = 60) -> None:
        """Wait until ``count`` good replies in a row came from these applications and no other."""
        end = time.monotonic() + timeout
        while True:
            self.apps.clear()
            await self.more(count)
            if set(self.apps) == apps:
                return
            assert time.monotonic() < end, f"still {self.apps}, meant {apps}"

    async def _run(self, *, fresh: bool) -> None:
        connection: Http1 | None = None
        try:
            while True:
                if connection is None or fresh or not connection.usable:
                    if connection is not None:
                        connection.close()
                    connection = await self._open()
                if connection is not None:
                    await self._ask(connection)
                await asyncio.sleep(PAUSE)
        finally:
            if connection is not None:
                connection.close()

    async def _open(self) -> Http1 | None:
        try:
            async with asyncio.timeout(LIMIT):
                return await Http1.open(*self._target)
        except (OSError, TimeoutError) as error:
            self._fail(error)
            return None

    async def _ask(self, connection: Http1) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                self._count(await connection.ask(self._authority, self._path))
        except (OSError, EOFError, TimeoutError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self.failures.append(f"{type(error).__name__}: {error}")

    def _count(self, reply: Reply) -> None:
        if reply.status == 200:
            self.good += 1
            self.apps[reply.app] += 1
        else:
            self.failures.append(f"{reply.status} {reply.text[:200]}")

    async def _lines(self, port: int) -> None:
        while True:
            try:
                answers = await say(self._target[0], port, b"a\n", b"b\n")
                if answers != [b"A\n", b"B\n"]:
                    self.failures.append(f"tcp: {answers}")
            except (OSError, EOFError, TimeoutError) as error:
                self.failures.append(f"tcp: {type(error).__name__}: {error}")
            await asyncio.sleep(PAUSE)

    async def _long(self, port: int) -> None:
        """One connection for as long as the load lasts."""
        try:
            async with asyncio.timeout(LIMIT):
                reader, writer = await place.connect(self._target[0], port)
            try:
                while True:
                    writer.write(b"held\n")
                    async with asyncio.timeout(LIMIT):
                        answer = await reader.readline()
                    if answer != b"HELD\n":
                        self.failures.append(f"held tcp: {answer!r}")
                        return
                    self.said += 1
                    await asyncio.sleep(PAUSE)
            finally:
                writer.close()
        except (OSError, TimeoutError) as error:
            self.failures.append(f"held tcp: {type(error).__name__}: {error}")
