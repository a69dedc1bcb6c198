"""Fairness between streams: how many may work in one turn of the event loop.

A change wakes a thousand streams at once, and a fleet connects at once. If all of them worked in
one turn, whoever comes next (a ping, an ACK, a question on which a request hangs) would wait for
all. So they queue here, and each turn lets some go.
"""

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """A queue of callbacks, of which each turn of the running loop calls at most ``each``."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._waiting: deque[Callable[[], None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._scheduled = False

    def add(self, turn: Callable[[], None]) -> None:
        """Call ``turn`` in one of the next turns, in the order of the calls. It must not raise."""
        self._waiting.append(turn)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next)

    async def mine(self) -> None:
        """Return when it is the caller's turn."""
        turn = self._loop.create_future()
        self.add(lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _next(self) -> None:
        waiting = self._waiting
        for _ in range(min(self._each, len(waiting))):
            waiting.popleft()()
        self._scheduled = bool(waiting)
        if waiting:
            self._loop.call_soon(self._next)
