"""An application with gRPC's own xDS client, and the process that drives it.

As a program it reads one JSON object a line, ``{"target", "calls", "timeout", "plain"}``, and
answers with one: what each call gave, and the seconds that the slowest took. Channels stay open.
``{"load": target}`` starts a loop of calls, ``{"load": ""}`` ends it and tells what it gave.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.experimental

METHOD = "/shop.Greeter/Hello"


class Caller:
    """The process, with ``environment`` added to this one's."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", __name__),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=self._environment,
            )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(question).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await process.stdout.readline())
        return answer

    async def call(
        self, target: str, calls: int = 1, *, plain: bool = False, timeout: float = 20.0
    ) -> Counter[str]:
        """How often each reply came; a failure is ``CODE: details``. ``plain``: without the
        certificates of the bootstrap."""
        question = {"target": target, "calls": calls, "plain": plain, "timeout": timeout}
        return Counter((await self._ask(question))["replies"])

    async def seconds(self, target: str) -> tuple[float, str]:
        """How long one call took, and what it gave."""
        answer = await self._ask({"target": target, "calls": 1, "timeout": 20.0})
        return answer["slowest"], next(iter(answer["replies"]))

    async def start_load(self, target: str) -> None:
        """Call again and again."""
        await self._ask({"load": target})

    async def stop_load(self) -> Counter[str]:
        return Counter((await self._ask({"load": ""}))["replies"])


class _Channels:
    """The program's side."""

    def __init__(self) -> None:
        self._methods: dict[tuple[str, bool], Any] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._load: Counter[str] = Counter()

    def method(self, target: str, plain: bool) -> Any:
        if (target, plain) not in self._methods:
            fallback = grpc.experimental.insecure_channel_credentials()
            chosen = fallback if plain else grpc.xds_channel_credentials(fallback)
            channel = grpc.secure_channel(target, chosen)
            self._methods[target, plain] = channel.unary_unary(METHOD)
        return self._methods[target, plain]

    def once(self, target: str, plain: bool, timeout: float) -> str:
        try:
            return bytes(self.method(target, plain)(b"", timeout=timeout)).decode()
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        if "load" in question:
            return self._loaded(question["load"])
        replies: Counter[str] = Counter()
        slowest = 0.0
        for _ in range(question["calls"]):
            started = time.monotonic()
            plain = question.get("plain", False)
            replies[self.once(question["target"], plain, question["timeout"])] += 1
            slowest = max(slowest, time.monotonic() - started)
        return {"replies": replies, "slowest": slowest}

    def _loaded(self, target: str) -> dict[str, Any]:
        if target:
            self._stop.clear()
            self._load.clear()
            self._thread = threading.Thread(target=self._run, args=(target,))
            self._thread.start()
            return {}
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        return {"replies": self._load}

    def _run(self, target: str) -> None:
        while not self._stop.is_set():
            self._load[self.once(target, False, 20.0)] += 1


def main() -> None:
    channels = _Channels()
    for line in sys.stdin:
        print(json.dumps(channels.answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
