"""Tells waiters that something about streams, certificates or readiness may have changed."""

import asyncio


class Signal:
    """A counter that grows; cheap to bump when nobody waits. Belongs to one event loop."""

    def __init__(self) -> None:
        self._count = 1
        self._waiters: list[asyncio.Future[None]] = []

    def bump(self) -> None:
        """Something may have changed."""
        self._count += 1
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def changed(self, since: int) -> int:
        """Return the counter once it is greater than ``since``; 0 returns at once."""
        while self._count <= since:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return self._count
