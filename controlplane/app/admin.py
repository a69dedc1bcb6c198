"""The admin API: HTTP with JSON over the Unix socket ``admin.sock`` of the state directory.

Only the user who runs the server, and root, may speak: the socket is 0600 and the kernel's word on
the peer (SO_PEERCRED) is checked at each request. Handlers turn HTTP into `Inspector` calls; they
decide nothing. Errors are a `Failure` in JSON. Answers that take time come as JSON lines.
"""

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from controlplane.app.admin_routes import routes
from controlplane.app.codec import to_json
from controlplane.app.inspect import Inspector, Refused
from controlplane.app.statedir import ADMIN_SOCKET, CannotStart
from controlplane.app.views import Failure
from controlplane.durable import FILE_MODE, StateError

_log = logging.getLogger(__name__)

MAX_REQUEST = 16 * 1024 * 1024
"""Longest request body, in bytes."""
GRACE = 0.5
"""Seconds that calls have to end at shutdown; a `wait` may last for ever."""
_UCRED = struct.Struct("3i")
"""struct ucred of unix(7): pid, uid, gid."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def peer_uid(connection: socket.socket) -> int:
    """User id of the process that connected, by SO_PEERCRED (unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(raw)[1])


@web.middleware
async def _only_owner(request: web.Request, handler: Handler) -> web.StreamResponse:
    transport = request.transport
    if transport is None:
        raise web.HTTPForbidden
    uid = peer_uid(transport.get_extra_info("socket"))
    if uid not in (os.geteuid(), 0):
        _log.warning("admin call refused", extra={"uid": uid, "path": request.path})
        return _failure(
            Failure(
                f"user id {uid} may not use this control plane",
                f"Call as user id {os.geteuid()}, which runs it, or as root",
            ),
            403,
        )
    return await handler(request)


@web.middleware
async def _failures_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return _failure(refused.failure, refused.status)
    except web.HTTPNotFound:
        return _failure(
            Failure(
                f"the control plane has no {request.method} {request.path}",
                "Use a meshctl of the control plane's version (meshctl version)",
            ),
            404,
        )
    except StateError as error:
        message = f"{error.path}: {error.operation} failed: {error.reason}"
        return _failure(Failure(message, error.remedy), 500)
    except web.HTTPRequestEntityTooLarge:
        return _failure(
            Failure(f"the request is longer than {MAX_REQUEST} bytes", "Apply fewer files at once"),
            413,
        )


def _failure(failure: Failure, status: int) -> web.Response:
    return web.json_response({"error": to_json(failure)}, status=status)


class AdminServer:
    """Serves an `Inspector` on ``STATE/admin.sock`` until cancelled.

    The caller holds the `Claim` on the state directory, so a socket found there is a dead server's.
    """

    name = "admin API"

    def __init__(self, state: Path, inspector: Inspector) -> None:
        self.path = state / ADMIN_SOCKET
        app = web.Application(
            middlewares=[_only_owner, _failures_as_json], client_max_size=MAX_REQUEST
        )
        app.add_routes(routes(inspector))
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=GRACE
        )

    async def start(self) -> None:
        """Bind the socket, replacing a dead server's. Raises CannotStart."""
        await self._runner.setup()
        try:
            listener = _bind(self.path)
        except CannotStart:
            await self._runner.cleanup()
            raise
        await web.SockSite(self._runner, listener).start()

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self._runner.cleanup()
            self.path.unlink(missing_ok=True)


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        # Nobody can connect before listen(), so the mode is set in time.
        path.chmod(FILE_MODE)
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"cannot make the admin socket {path}: {(error.strerror or str(error)).lower()}",
            "Give a --state directory that can be written and whose path is short"
            " (a socket's path holds at most 107 bytes)",
        ) from None
    listener.setblocking(False)
    return listener
