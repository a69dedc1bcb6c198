"""The two ways to hold a connection: keep it, or open a new one for every call. Neither retries."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from examples.bookstore.load.report import Answer, Recorder, paced


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)
Open = Callable[[], Awaitable[C]]
Use = Callable[[C], Awaitable[Answer]]


class Client(Protocol):
    async def step(self) -> None:
        """Make one call and record it."""
        ...

    def close(self) -> None: ...


class Kept(Generic[C]):
    """One kept connection; another is opened only for the next call after a failed one, and that
    shows in the recorder's ``opened``."""

    def __init__(self, recorder: Recorder, connect: Open[C], use: Use[C]) -> None:
        self._recorder, self._connect, self._use = recorder, connect, use
        self._connection: C | None = None

    async def step(self) -> None:
        if not await self._recorder.call(self._call):
            self.close()

    async def _call(self) -> Answer:
        if self._connection is None:
            self._connection = await self._connect()
            self._recorder.opened += 1
        return await self._use(self._connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class Fresh(Generic[C]):
    """A new connection for every call, closed after it."""

    def __init__(self, recorder: Recorder, connect: Open[C], use: Use[C]) -> None:
        self._recorder, self._connect, self._use = recorder, connect, use

    async def step(self) -> None:
        await self._recorder.call(self._call)

    async def _call(self) -> Answer:
        connection = await self._connect()
        try:
            return await self._use(connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Nothing is kept."""


async def run(clients: list[Client], rate: float, stopped: asyncio.Event) -> None:
    """Let the clients share ``rate`` calls a second until ``stopped``."""
    share = rate / len(clients)
    await asyncio.gather(*(paced(share, stopped, client.step) for client in clients))
    for client in clients:
        client.close()
