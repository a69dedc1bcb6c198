"""What is spoken on upstream connections (envoy.extensions.upstreams.http.v3).

``allow_connect`` stands in every HTTP/2 option of Plait: WebSockets cross HTTP/2 hops as extended
CONNECT (RFC 8441).
"""

from typing import Any, Final

from envoy_data_plane.envoy.config.cluster.v3 import UpstreamConnectionOptions
from envoy_data_plane.envoy.config.core.v3 import (
    Http1ProtocolOptions,
    Http2ProtocolOptions,
    HttpProtocolOptions,
    TcpKeepalive,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions as UpstreamHttpOptions,
)
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptionsExplicitHttpConfig,
    HttpProtocolOptionsUseDownstreamHttpConfig,
)

from xds.ir.cluster import ConnectionSettings, Wire
from xds.wire.encode import pack

HTTP2: Final = Http2ProtocolOptions(allow_connect=True)

_KEY: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CHOICE: Final[dict[Wire, dict[str, Any]]] = {
    Wire.HTTP1: {
        "explicit_http_config": HttpProtocolOptionsExplicitHttpConfig(
            http_protocol_options=Http1ProtocolOptions()
        )
    },
    Wire.HTTP2: {
        "explicit_http_config": HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=HTTP2)
    },
    Wire.AS_CLIENT: {
        "use_downstream_protocol_config": HttpProtocolOptionsUseDownstreamHttpConfig(
            http_protocol_options=Http1ProtocolOptions(), http2_protocol_options=HTTP2
        )
    },
}


def upstream_options(wire: Wire, connection: ConnectionSettings) -> dict[str, Any]:
    """``typed_extension_protocol_options`` of a cluster; empty for TCP."""
    if wire is Wire.TCP:
        return {}
    settings = None
    if connection.idle_timeout is not None or connection.max_requests_per_connection is not None:
        settings = HttpProtocolOptions(
            idle_timeout=connection.idle_timeout,
            max_requests_per_connection=connection.max_requests_per_connection,
        )
    options = UpstreamHttpOptions(common_http_protocol_options=settings, **_CHOICE[wire])
    return {_KEY: pack(options)}


def keepalive(connection: ConnectionSettings) -> UpstreamConnectionOptions | None:
    """TCP keep-alive of upstream connections, in whole seconds (at least one)."""
    time, interval = connection.keepalive_time, connection.keepalive_interval
    if time is None and interval is None and connection.keepalive_probes is None:
        return None
    return UpstreamConnectionOptions(
        tcp_keepalive=TcpKeepalive(
            keepalive_probes=connection.keepalive_probes,
            keepalive_time=None if time is None else max(1, int(time.total_seconds())),
            keepalive_interval=None if interval is None else max(1, int(interval.total_seconds())),
        )
    )
