"""Runs the demo in a mode. Exit status 0 only if every claim held; 1 otherwise; 130 when Ctrl-C cut
it short.

KEEP=1 in the environment: stay up afterwards until Ctrl-C.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time

from rich.console import Console

from examples.bookstore.demo import layout, lock
from examples.bookstore.demo.context import ROOT, Demo, Places, TooSlow, environment
from examples.bookstore.demo.keep import stay
from examples.bookstore.demo.mode import Mode
from examples.bookstore.demo.page import Screen, screen
from examples.bookstore.demo.processes import Died, Processes
from examples.bookstore.demo.stages import (
    broken,
    restart,
    rotate,
    shift,
    start,
    strangers,
    summary,
)
from examples.bookstore.demo.typed import CommandFailed, Shell
from examples.bookstore.http1 import BadReply

REFRESH = 0.25
"""Seconds between two drawings of the page."""


async def _draw(demo: Demo) -> None:
    while True:
        demo.screen.show(demo.view())
        await asyncio.sleep(REFRESH)


async def _sequence(demo: Demo) -> None:
    await start.mesh(demo)
    await start.load(demo)
    await strangers.run(demo)
    await shift.run(demo)
    await rotate.run(demo)
    await restart.run(demo)
    await broken.run(demo)
    summary.run(demo)


async def _run(demo: Demo, console: Console) -> bool:
    """The whole demo; True when every claim held."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    demo.readers.append(asyncio.create_task(_draw(demo)))
    try:
        complete = True
        try:
            await _sequence(demo)
        except (Died, TooSlow, CommandFailed, BadReply, OSError, EOFError) as error:
            complete = False
            reason = str(error) or type(error).__name__
            demo.say(reason)
            demo.claim("the demo ran to its end", reason.splitlines()[0], held=False)
        demo.screen.close()
        _summarise(demo, console)
        if os.environ.get("KEEP") == "1" and complete:
            with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is how this ends
                await stay(demo, console)
        return complete and demo.claims.all_held
    finally:
        for reader in demo.readers:
            reader.cancel()


def _summarise(demo: Demo, console: Console) -> None:
    if console.is_terminal:
        console.print(demo.claims.table())
        return
    console.print("\nWhat was claimed, and what was measured:")
    for claim in demo.claims.claims:
        console.print(str(claim), highlight=False, markup=False, soft_wrap=True)


def _prepare(mode: Mode, places: Places, view: Screen) -> Demo:
    docs = layout.documents(places.manifests)
    surroundings = environment(places)
    return Demo(
        mode,
        places,
        layout.workloads(docs),
        layout.trust_domain(docs),
        Processes(places.logs, surroundings, ROOT),
        view,
        Shell(surroundings, ROOT, view.say),
    )


def run(mode: Mode) -> int:
    """The whole demo; the exit status."""
    started = time.monotonic()
    try:
        with lock.hold():
            found = layout.workloads(layout.documents(mode.manifests))
            lock.check_free(mode.listening(found))
            return _locked(mode, started)
    except lock.Taken as taken:
        print(f"demo: {taken}", file=sys.stderr)
        return 1


def _locked(mode: Mode, started: float) -> int:
    places = Places.make(mode.manifests)
    console, view = screen(started)
    status = 1
    demo = _prepare(mode, places, view)
    try:
        status = 0 if asyncio.run(_run(demo, console)) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = 130
    finally:
        view.close()
        demo.processes.close()
        if status == 1:
            console.print(f"Logs of every process are kept in {places.logs}", highlight=False)
        else:
            with contextlib.suppress(OSError):
                shutil.rmtree(places.root)
    verdict = {0: "every claim held", 130: "stopped"}.get(status, "NOT every claim held")
    console.print(f"{verdict}; {time.monotonic() - started:.0f} s in all", highlight=False)
    return status
