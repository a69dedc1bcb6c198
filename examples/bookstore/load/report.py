"""What a load client tells the demo: every call it made, in batches of JSON lines.

Times are seconds of CLOCK_MONOTONIC, which all processes of one machine share.
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TextIO

DEADLINE = 2.0
"""Seconds that a call may take, connecting included."""
FLUSH = 0.25
"""Seconds between two reports."""


class Call(NamedTuple):
    start: float
    seconds: float
    version: str
    """What answered: the version of reviews, or the path that the call took."""


class Failure(NamedTuple):
    start: float
    reason: str


class Unexpected(Exception):
    """The reply is not 200 with the expected body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good reply: its version, and the caller that each service saw."""

    version: str
    seen: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    client: str
    calls: tuple[Call, ...] = ()
    failures: tuple[Failure, ...] = ()
    seen: dict[str, str] = field(default_factory=dict)
    """SPIFFE id that each service saw of its caller, by service."""
    opened: int = 0
    """Connections opened since the start of a client that keeps them."""

    def to_json(self) -> str:
        return json.dumps(
            {
                "client": self.client,
                "calls": self.calls,
                "failures": self.failures,
                "seen": self.seen,
                "opened": self.opened,
            }
        )

    @classmethod
    def from_json(cls, line: str | bytes) -> "Batch":
        """Raises ValueError or KeyError for a line that no load client wrote."""
        value = json.loads(line)
        return cls(
            value["client"],
            tuple(Call(*call) for call in value["calls"]),
            tuple(Failure(*failure) for failure in value["failures"]),
            value["seen"],
            value["opened"],
        )


class Recorder:
    """Collects calls and writes a `Batch` now and then."""

    def __init__(self, client: str, out: TextIO) -> None:
        self._client = client
        self._out = out
        self._calls: list[Call] = []
        self._failures: list[Failure] = []
        self._seen: dict[str, str] = {}
        self.opened = 0

    async def call(self, make: Callable[[], Awaitable[Answer]]) -> bool:
        """Time one call against the deadline and record how it ended; True when it was good."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(DEADLINE):
                answer = await make()
        except TimeoutError:
            self._failures.append(Failure(start, f"no answer within {DEADLINE:g} s"))
            return False
        except (OSError, EOFError, ValueError, KeyError, TypeError, Unexpected) as error:
            self._failures.append(Failure(start, f"{type(error).__name__}: {error}"))
            return False
        self._calls.append(Call(start, time.monotonic() - start, answer.version))
        self._seen |= answer.seen
        return True

    def flush(self) -> None:
        batch = Batch(
            self._client, tuple(self._calls), tuple(self._failures), self._seen, self.opened
        )
        self._calls, self._failures, self._seen = [], [], {}
        self._out.write(batch.to_json() + "\n")
        self._out.flush()


async def paced(rate: float, stopped: asyncio.Event, step: Callable[[], Awaitable[None]]) -> None:
    """Run ``step`` ``rate`` times a second until ``stopped``, one after the other.

    A late step is not made up for: what was not asked in a slow second stays unasked, and shows.
    """
    due = time.monotonic()
    while not stopped.is_set():
        delay = due - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)
        await step()
        due = max(due + 1 / rate, time.monotonic())


async def report(client: str, work: Callable[[Recorder, asyncio.Event], Awaitable[None]]) -> None:
    """Run ``work`` with a recorder; SIGTERM and SIGINT set the event that tells it to stop."""
    recorder, stopped = Recorder(client, sys.stdout), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)

    async def flushing() -> None:
        while True:
            await asyncio.sleep(FLUSH)
            recorder.flush()

    flusher = asyncio.create_task(flushing())
    try:
        await work(recorder, stopped)
    finally:
        flusher.cancel()
        with contextlib.suppress(BrokenPipeError, asyncio.CancelledError):
            await flusher
        with contextlib.suppress(BrokenPipeError):
            recorder.flush()
