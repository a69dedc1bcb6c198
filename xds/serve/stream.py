"""One gRPC stream: moves bytes between the transport and a `Session`, and knows no xDS.

A reader task feeds requests; responses are written one by one. The next is taken only when the
previous write has completed, so a peer that does not read holds one response, no more.
"""

import asyncio
import logging
from collections.abc import Callable, Generator
from typing import Any

import grpc

from xds.serve.limits import Denied
from xds.serve.observer import Observer
from xds.serve.session import Session
from xds.serve.turns import Turns
from xds.wire.request import Malformed
from xds.wire.response import with_nonce

ACK = 128
"""Bytes that no ACK has; what is longer may be an opening or a list of names, and real work."""
_LOG = logging.getLogger(__name__)
BROKEN = (grpc.aio.UsageError, grpc.aio.InternalError, asyncio.InvalidStateError)
"""What grpc.aio raises when the peer or the connection has gone meanwhile."""


class Pace:
    """How many of all streams work in one turn of the event loop: milliseconds, not tens."""

    def __init__(self) -> None:
        self.openers = Turns(16)
        """Streams that are authenticated: a signature is verified for each."""
        self.readers = Turns(4)
        self.writers = Turns(64)


class Stream:
    """Serves one authenticated stream until either side ends it.

    Writing takes no task: to leave is the commonest thing that a response does, and a future to
    wait for the next, a task to wake and a coroutine to resume cost as much as making it.
    `_push` is called in the stream's turn and drives the transport's coroutine itself.
    """

    def __init__(
        self,
        session: Session,
        context: "grpc.aio.ServicerContext[bytes, bytes]",
        observer: Observer,
        clock: Callable[[], float],
        pace: "Pace",
    ) -> None:
        self.session = session
        self._context = context
        self._observer = observer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._pace = pace
        self._idle = False
        """Nothing is left to write, and no turn was asked for."""
        self._write: Generator[Any, None, None] | None = None
        """A response on its way into the transport."""
        self._left = False
        self._flushed: asyncio.Future[None] | None = None
        self._over: asyncio.Future[bool] = self._loop.create_future()
        """Whether the connection broke."""
        session.wake = self._wake

    async def run(self) -> Denied | None:
        """Serve; returns why this side ends the stream, or ``None`` when the client did."""
        session = self.session
        expiry = self._expiry()
        reader = self._loop.create_task(self._read())
        code, detail = "OK", "the client left"
        try:
            self._push()
            if await self._over:
                detail = "the connection broke"
        finally:
            if expiry is not None:
                expiry.cancel()
            reader.cancel()
            self._over.cancel()
            if session.ending is None:
                self._forget()
            session.close()
            if session.ending is not None:
                code, detail = session.ending.code, session.ending.detail
            self._observer.closed(code, detail)
        return session.ending

    async def flushed(self) -> None:
        """Return when no response is on its way any more: the transport takes no status before
        (GRPC_CALL_ERROR_TOO_MANY_OPERATIONS). A peer that does not read may keep its call; nothing
        else is kept for it."""
        try:
            if self._write is not None:
                self._flushed = self._loop.create_future()
                await self._flushed
        finally:
            self._forget()

    def _forget(self) -> None:
        if self._write is not None:
            self._write.close()
            self._write = None

    def _expiry(self) -> asyncio.TimerHandle | None:
        principal = self.session.principal
        if principal is None or principal.expires_at == float("inf"):
            return None
        reason = Denied(
            "UNAUTHENTICATED", "the token of this stream has expired; reconnect with a new one"
        )
        delay = max(0.0, principal.expires_at - self._clock())
        return self._loop.call_later(delay, self.session.end, reason)

    def _wake(self) -> None:
        if self._idle:
            self._idle = False
            self._pace.writers.add(self._push)
        elif self._write is not None and self.session.ending is not None:
            # A peer that does not read would keep the stream open beyond its end.
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        broken = False
        if isinstance(error, BROKEN):
            broken = True
            # Its traceback holds frames of this stream, and they the future that holds the error:
            # a ring that only a collection would free.
            error.__traceback__ = None
        if self._over.done():
            return
        if error is None or broken:
            self._over.set_result(broken)
        else:
            self._over.set_exception(error)

    def _push(self) -> None:
        """Write what there is, until the transport makes it wait."""
        session = self.session
        try:
            while not self._over.done():
                outgoing = session.pull()
                if outgoing is None:
                    if self._left or session.ending is not None:
                        self._end(None)
                    self._idle = True
                    return
                batch = outgoing.batch
                data = with_nonce(batch.body, outgoing.nonce)
                self._observer.pushed(batch, outgoing.lane, len(data))
                self._write = self._context.write(data).__await__()
                if not self._written():
                    return
        except Exception as error:  # noqa: BLE001 - of the transport or a defect: `run` raises it
            self._write = None
            self._end(error)

    def _written(self) -> bool:
        """Whether the transport took the response; if not, `_resume` is called when it may."""
        write = self._write
        assert write is not None
        try:
            waits_for = write.send(None)
        except StopIteration:
            self._write = None
            return True
        if waits_for is None:
            self._loop.call_soon(self._resume)
        else:
            # What a task does with the future that a coroutine yields.
            waits_for._asyncio_future_blocking = False
            waits_for.add_done_callback(self._resume)
        return False

    def _resume(self, _: object = None) -> None:
        if self._write is None:
            return  # the stream has ended meanwhile
        try:
            written = self._written()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - `run` raises it
            self._write = None
            self._end(error)
        else:
            if written:
                self._push()
        if self._write is None and self._flushed is not None and not self._flushed.done():
            self._flushed.set_result(None)

    async def _read(self) -> None:
        session = self.session
        read = self._context.read
        received = self._observer.received
        readers = self._pace.readers
        try:
            while True:
                data = await read()
                if data is grpc.aio.EOF:
                    break
                received(len(data))
                if len(data) > ACK:
                    await readers.mine()
                session.receive(data)
        except Malformed as error:
            session.end(Denied("INVALID_ARGUMENT", str(error)))
        except Denied as denied:
            session.end(denied)
        except BROKEN:
            pass
        except Exception:  # noqa: BLE001 - a defect met on one stream ends that stream alone
            node = session.node.id if session.node else "a client without node"
            _LOG.exception("serving %s failed", node)
            session.end(Denied("INTERNAL", "the control plane failed to serve this stream"))
        self._left = True
        self._wake()


async def abort(context: "grpc.aio.ServicerContext[bytes, bytes]", reason: Denied) -> None:
    """End a call with a status. A peer that does not read gets it when it does, or never."""
    try:
        await context.abort(grpc.StatusCode[reason.code], reason.detail)
    except grpc.aio.AbortError as aborted:
        # The call remembers it and raises it once more. With the frames that it passed it would
        # hold the stream, which holds the call.
        aborted.__traceback__ = None
    except BROKEN:
        pass
