"""Runs the long-lived parts of the control plane, and stops them in order.

A part runs until it is cancelled; one that returns or fails takes the process down, so that
whoever supervises us (systemd, Kubernetes) starts it again. SIGTERM and SIGINT cancel the parts
from the last to the first, each after the one before has finished; a second signal kills at once.
This is, with the stream handlers, the only place that starts tasks.
"""

import asyncio
import logging
import signal
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

_log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Part(Protocol):
    """A long-lived part. ``run`` returns only by cancellation, its cleanup in ``finally``."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


class Ended(RuntimeError):
    """A part returned although it should run for ever."""


async def forever(run: Coroutine[Any, Any, None], name: str) -> None:
    """Await ``run``; its return is an error. Raises Ended."""
    await run
    raise Ended(f"{name} ended by itself")


async def supervise(parts: Sequence[Part], stop: asyncio.Event) -> None:
    """Run ``parts`` until ``stop`` is set, then cancel them from the last to the first.

    Raises ExceptionGroup when a part fails or returns; the others are then cancelled together.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(forever(part.run(), part.name), name=part.name) for part in parts
        ]
        group.create_task(_stop_in_order(tasks, stop), name="stop")


async def _stop_in_order(tasks: Sequence["asyncio.Task[None]"], stop: asyncio.Event) -> None:
    await stop.wait()
    for task in reversed(tasks):
        _log.debug("stopping", extra={"part": task.get_name()})
        task.cancel()
        await asyncio.wait({task})


def stop_on_signal(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Set ``stop`` at the first SIGTERM or SIGINT; a second one has its default effect."""

    def received(number: signal.Signals) -> None:
        _log.info("stopping", extra={"signal": number.name})
        stop.set()
        for each in SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in SIGNALS:
        loop.add_signal_handler(number, received, number)
