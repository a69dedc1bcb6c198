"""Parts run for ever, stop in order, and take the process down when they end by themselves."""

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from controlplane.app.supervisor import Ended, stop_on_signal, supervise


class Recorded:
    """A part that notes its end in ``log``, after ``finish`` is set."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.running = asyncio.Event()
        self._log = log

    async def run(self) -> None:
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self._log.append(self.name)


class Failing:
    name = "failing"

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def run(self) -> None:
        await asyncio.sleep(0)
        if self._error:
            raise self._error


async def test_parts_stop_from_the_last_to_the_first() -> None:
    log: list[str] = []
    parts = [Recorded(name, log) for name in ("one", "two", "three")]
    stop = asyncio.Event()
    running = asyncio.create_task(supervise(parts, stop))
    for part in parts:
        await part.running.wait()
    stop.set()
    await running
    assert log == ["three", "two", "one"]


@pytest.mark.parametrize("error", [None, ZeroDivisionError()])
async def test_a_part_that_ends_takes_the_others_down(error: Exception | None) -> None:
    log: list[str] = []
    with pytest.raises(ExceptionGroup) as raised:
        await supervise([Recorded("one", log), Failing(error)], asyncio.Event())
    (inner,) = raised.value.exceptions
    assert isinstance(inner, ZeroDivisionError if error else Ended)
    assert log == ["one"]


async def test_a_signal_stops() -> None:
    stop = asyncio.Event()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        stop_on_signal(asyncio.get_running_loop(), stop)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await stop.wait()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


STUBBORN = """
import asyncio
from controlplane.app.supervisor import stop_on_signal, supervise

class Stubborn:
    name = "stubborn"
    async def run(self):
        print("running", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            print("ending", flush=True)
            await asyncio.Event().wait()

async def main():
    stop = asyncio.Event()
    stop_on_signal(asyncio.get_running_loop(), stop)
    await supervise([Stubborn()], stop)

asyncio.run(main())
"""


def test_a_second_signal_kills_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "ending\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
