"""One gRPC stream: moves bytes between the transport and a `Session`, and knows no xDS.

A reader task feeds requests; the handler coroutine writes. It takes the next response only when
the previous write has completed, so a peer that does not read holds one response, no more.
"""

import asyncio
import logging
from collections.abc import Callable

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
        self.readers = Turns(4)
        self.writers = Turns(128)


class Stream:
    """Serves one authenticated stream until either side ends it."""

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
        self._idle: asyncio.Future[None] | None = None
        self._writing = False
        self._left = False
        self._task: asyncio.Task[None] | None = None
        session.wake = self._wake

    async def run(self) -> Denied | None:
        """Serve; returns why this side ends the stream, or ``None`` when the client did."""
        session = self.session
        expiry = self._expiry()
        reader = self._loop.create_task(self._read())
        # A task of its own: each resumption would walk through all the coroutines that await it.
        self._task = self._loop.create_task(self._write())
        code, detail = "OK", "the client left"
        try:
            await self._task
        except asyncio.CancelledError:
            if session.ending is None:
                raise
        except BROKEN:
            detail = "the connection broke"
        finally:
            if expiry is not None:
                expiry.cancel()
            reader.cancel()
            self._task = None
            session.close()
            if session.ending is not None:
                code, detail = session.ending.code, session.ending.detail
            self._observer.closed(code, detail)
        return session.ending

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
        idle = self._idle
        if idle is not None:
            self._idle = None
            self._pace.writers.add(idle)
        elif self._writing and self.session.ending is not None and self._task is not None:
            # A peer that does not read would keep the stream open beyond its end.
            self._task.cancel()

    async def _write(self) -> None:
        session = self.session
        write = self._context.write
        pushed = self._observer.pushed
        while session.ending is None:
            outgoing = session.pull()
            if outgoing is None:
                if self._left:
                    return
                self._idle = self._loop.create_future()
                await self._idle
                continue
            batch = outgoing.batch
            data = with_nonce(batch.body, outgoing.nonce)
            self._writing = True
            await write(data)
            self._writing = False
            pushed(batch, outgoing.lane, len(data))
            # A stream at rest must not keep what it sent last: a thousand of them do.
            del outgoing, batch, data

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
