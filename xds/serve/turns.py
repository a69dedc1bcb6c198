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
        self._used = 0
        """How many have worked in this turn of the loop, at the least."""

    def add(self, turn: Callable[[], None]) -> None:
        """Call ``turn`` in one of the next turns, in the order of the calls. It must not raise."""
        self._waiting.append(turn)
        self._schedule()

    async def mine(self) -> None:
        """Return when it is the caller's turn: at once, as long as few have worked in this one."""
        if not self._waiting and self._used < self._each:
            self._used += 1
            self._schedule()
            return
        turn = self._loop.create_future()
        self.add(lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _next(self) -> None:
        waiting = self._waiting
        self._used = min(self._each, len(waiting))
        for _ in range(self._used):
            waiting.popleft()()
        self._scheduled = False
        if self._used:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next)
