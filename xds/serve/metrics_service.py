"""Takes what sidecars report of themselves: envoy.service.metrics.v3.MetricsService.

A second stream of a sidecar, on the same port and with the same token as its ADS stream. It is
only read; nothing is answered before it ends. A sidecar has one; a newer one ends the older. A
stream is read at most `SHARE` of the time, so that one that sends without pause costs the others
nothing: what it sends waits in the transport, whose windows are bounded.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import grpc

from xds.serve.auth import Authenticator, Principal, authenticated
from xds.serve.limits import Denied
from xds.serve.stream import BROKEN, abort
from xds.wire.fields import Malformed
from xds.wire.metrics import DEFAULT, Limits, Report, scan
from xds.wire.request import Node

SERVICE: Final = "envoy.service.metrics.v3.MetricsService"
METHOD: Final = "StreamMetrics"
SHARE: Final = 0.05
"""Most of the event loop's time that one stream may take."""

_LOG = logging.getLogger(__name__)
_REPLACED: Final = Denied("UNAVAILABLE", "a newer stream reports for this sidecar")


class Reports(Protocol):
    """Takes reports, on the event loop; implementations note and return."""

    def opened(self) -> None:
        """A stream was authenticated."""

    def reported(self, node: Node, report: Report, size: int) -> None:
        """A message of ``size`` bytes from an admitted sidecar; ``report.node`` is only in the
        first one."""

    def closed(self) -> None:
        """A stream that was opened has ended."""


class MetricsService:
    """The method's implementation; `Service` adds its `handler` to the server."""

    def __init__(
        self,
        reports: Reports,
        authenticator: Authenticator,
        *,
        clock: Callable[[], float],
        limits: Limits = DEFAULT,
    ) -> None:
        self._reports = reports
        self._authenticator = authenticator
        self._clock = clock
        self._limits = limits
        self._streams: dict[str, _Stream] = {}
        """By node id."""
        self._ending: Denied | None = None

    def handler(self) -> grpc.GenericRpcHandler:
        serve = grpc.stream_unary_rpc_method_handler(self._serve, None, None)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: serve})

    def stop(self) -> None:
        """End every stream, and those that come."""
        self._ending = Denied("UNAVAILABLE", "the control plane is stopping; reconnect")
        for stream in tuple(self._streams.values()):
            stream.end(self._ending)

    async def _serve(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        try:
            if self._ending is not None:
                raise self._ending
            principal = await authenticated(self._authenticator, context, self._clock())
        except Denied as denied:
            await abort(context, denied)
            return b""
        self._reports.opened()
        try:
            reason = await self._take(messages, principal)
        finally:
            self._reports.closed()
        if reason is not None:
            await abort(context, reason)
        return b""

    async def _take(self, messages: AsyncIterator[bytes], principal: Principal) -> Denied | None:
        """Read until either side ends the stream; why this side did."""
        stream = _Stream()
        left = principal.expires_at - self._clock()
        node: Node | None = None
        try:
            async with asyncio.timeout(None if left == float("inf") else max(left, 0.0)):
                async for data in messages:
                    begun = self._clock()
                    report = scan(data, self._limits)
                    if node is None:
                        node = self._admit(principal, report, stream)
                    self._reports.reported(node, report, len(data))
                    await asyncio.sleep((self._clock() - begun) * (1 / SHARE - 1))
        except Malformed as error:
            return Denied("INVALID_ARGUMENT", str(error))
        except Denied as denied:
            return denied
        except TimeoutError:
            return Denied("UNAUTHENTICATED", "the token of this stream has expired")
        except asyncio.CancelledError:
            if stream.ending is None:
                raise
            return stream.ending
        except BROKEN:
            return None
        except Exception:  # noqa: BLE001 - a defect met on one stream ends that stream alone
            _LOG.exception("taking reports of %s failed", node.id if node else "a new stream")
            return Denied("INTERNAL", "the control plane failed to take this report")
        finally:
            if node is not None and self._streams.get(node.id) is stream:
                del self._streams[node.id]
        return None

    def _admit(self, principal: Principal, report: Report, stream: "_Stream") -> Node:
        if report.node is None or not report.node.id:
            raise Denied("INVALID_ARGUMENT", "the first message carries no node id")
        self._authenticator.admit(principal, report.node)
        # The list of extensions aside, which is not read, nodes are small: they may be kept.
        older = self._streams.get(report.node.id)
        if older is not None:
            older.end(_REPLACED)
        self._streams[report.node.id] = stream
        return report.node


class _Stream:
    """The task of one stream, and why it was ended from this side."""

    def __init__(self) -> None:
        self.ending: Denied | None = None
        self._task = asyncio.current_task()

    def end(self, reason: Denied) -> None:
        if self.ending is None and self._task is not None:
            self.ending = reason
            self._task.cancel()
