"""The xDS server: gRPC over TLS, one `Session` per ADS stream, delta or state of the world.

Generic handlers with identity serialisers, so that bytes pass untouched; reader and writer as
`xds.serve.stream`. Methods: envoy.service.discovery.v3.AggregatedDiscoveryService, and sidecars'
reports on the same port (`metrics_service`).
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import grpc

from xds.serve.auth import Authenticator, Principal, authenticated
from xds.serve.delta import ResponseCache
from xds.serve.handler import Handler
from xds.serve.limits import DEFAULT, Denied, Limits
from xds.serve.metrics_service import MetricsService, Reports
from xds.serve.observer import Observer, Unobserved
from xds.serve.session import Session
from xds.serve.sotw import StateBodies, StateSession
from xds.serve.stream import Pace, Stream, abort
from xds.wire.request import Node

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
DELTA: Final = "DeltaAggregatedResources"
STATE: Final = "StreamAggregatedResources"
MAX_REQUEST: Final = 4 << 20
"""Bytes of one request; gRPC refuses a larger one before reading it."""

OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MAX_REQUEST),
    ("grpc.max_send_message_length", -1),
    # The defaults drop streams when a whole fleet connects at once.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    # Sidecars ping each 10 s, also while nothing else is sent; that is no offence.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Requests are small and far between: the first window serves them all, and a probe of the
    # bandwidth is a ping, its answer and four wake-ups for an ACK of some bytes.
    ("grpc.http2.bdp_probe", 0),
    # TLS keeps a buffer of this size each way for every connection, 16 KB by default.
    ("grpc.tsi.max_frame_size", 2048),
    # A second server on the same address must fail to start.
    ("grpc.so_reuseport", 0),
)
"""Channel arguments of the server."""


class Service:
    """An ADS server. ``start`` once, ``stop`` once, both on the running event loop."""

    def __init__(
        self,
        handler: Handler,
        authenticator: Authenticator,
        *,
        credentials: grpc.ServerCredentials | None,
        address: str,
        observer: Observer | None = None,
        limits: Limits = DEFAULT,
        clock: Callable[[], float] = time.monotonic,
        reports: Reports | None = None,
    ) -> None:
        """``address``: ``host:port``, port 0 for any. ``credentials``: TLS; ``None`` serves
        plaintext. ``clock``: monotonic seconds, the one of `Principal.expires_at`. ``reports``:
        who takes sidecars' metrics; ``None``: that method is not served."""
        self._handler = handler
        self._authenticator = authenticator
        self._credentials = credentials
        self._address = address
        self._observer: Observer = observer or Unobserved()
        self._limits = limits
        self._clock = clock
        self._cache = ResponseCache()
        self._bodies = StateBodies()
        self._streams: set[Stream] = set()
        self._pace: Pace | None = None
        self._metrics = (
            MetricsService(reports, authenticator, clock=clock) if reports is not None else None
        )
        self._server: Any = None
        self.port = 0
        """The port that is served, once started."""

    @property
    def sessions(self) -> Iterator[Session]:
        """The sessions of all live streams that have sent their first request."""
        return (stream.session for stream in list(self._streams) if stream.session.node)

    async def start(self) -> int:
        """Bind and serve; returns the port.

        Raises:
            OSError: the address cannot be bound; the text names it.
        """
        self._pace = Pace()
        server = grpc.aio.server(options=OPTIONS)
        methods = {
            name: grpc.stream_stream_rpc_method_handler(serve, None, None)
            for name, serve in ((DELTA, self._delta), (STATE, self._state))
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        if self._metrics is not None:
            server.add_generic_rpc_handlers((self._metrics.handler(),))
        try:
            if self._credentials is None:
                port = server.add_insecure_port(self._address)
            else:
                port = server.add_secure_port(self._address, self._credentials)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {self._address}: {error}") from error
        if not port:
            raise OSError(f"cannot listen on {self._address}")
        await server.start()
        self._server = server
        self.port = port
        return self.port

    async def stop(self, grace: float) -> None:
        """End every stream with UNAVAILABLE, refuse new ones, and wait up to ``grace`` seconds."""
        if self._server is None:
            return
        stopping = Denied("UNAVAILABLE", "the control plane is stopping; reconnect")
        for stream in list(self._streams):
            stream.session.end(stopping)
        if self._metrics is not None:
            self._metrics.stop()
        await self._server.stop(grace)
        self._server = None

    async def _delta(
        self, _requests: object, context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> None:
        await self._serve(context, partial(Session, self._handler, self._cache))

    async def _state(
        self, _requests: object, context: "grpc.aio.ServicerContext[bytes, bytes]"
    ) -> None:
        await self._serve(context, partial(StateSession, self._handler, self._bodies))

    async def _serve(
        self, context: "grpc.aio.ServicerContext[bytes, bytes]", kind: Callable[..., Session]
    ) -> None:
        assert self._pace is not None
        try:
            await self._pace.openers.mine()
            principal = await authenticated(self._authenticator, context, self._clock())
        except Denied as denied:
            self._observer.denied(denied.code, denied.detail)
            await abort(context, denied)
            return
        session = kind(
            principal=principal,
            admit=_Admission(self._authenticator, principal),
            limits=self._limits,
            observer=self._observer,
            clock=self._clock,
        )
        stream = Stream(session, context, self._observer, self._clock, self._pace)
        self._streams.add(stream)
        self._observer.opened()
        try:
            ending = await stream.run()
        finally:
            self._streams.discard(stream)
        if ending is not None:
            await stream.flushed()
            await abort(context, ending)


class _Admission:
    """Asks the authenticator whether a stream's principal may be the node that it claims."""

    __slots__ = ("_authenticator", "_principal")

    def __init__(self, authenticator: Authenticator, principal: Principal) -> None:
        self._authenticator = authenticator
        self._principal = principal

    def __call__(self, node: Node) -> None:
        self._authenticator.admit(self._principal, node)
