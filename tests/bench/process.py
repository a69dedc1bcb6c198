"""Child processes of a bench that speak JSON lines over their standard input and output.

CPU time is read from outside with the process's own clock (user and system time of all threads,
nanoseconds), memory from /proc.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PATIENCE = 180.0
_LINE = 32 << 20


class Child:
    """One child process, started with ``python -m MODULE``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, module: str, *arguments: str, prefix: Sequence[str] = ()) -> "Child":
        """``prefix``: of its command, to run it in another place."""
        process = await asyncio.create_subprocess_exec(
            *prefix,
            sys.executable,
            "-m",
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "GRPC_VERBOSITY": "NONE",  # a server that ends is no news
            },
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, **message: Any) -> None:
        """Send one message."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        """The child's next message."""
        assert self._process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a bench process ended early: {await self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    async def ask(self, **message: Any) -> dict[str, Any]:
        self.tell(**message)
        return await self.hear()

    async def stop(self) -> None:
        """Close its input; it ends by itself, or is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def messages() -> asyncio.StreamReader:
    """Standard input of a child, as lines."""
    reader = asyncio.StreamReader(limit=_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def say(**message: Any) -> None:
    """Send one message to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def cpu_seconds(pid: int) -> float:
    """User and system time of a whole process (clock_getcpuclockid(3): CPUCLOCK_SCHED)."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def peak_bytes(pid: int) -> int:
    """The most that was ever resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc")
