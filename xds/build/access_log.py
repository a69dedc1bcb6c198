"""Access logs: one JSON object per request or connection on standard output.

Every connection manager and every tcp_proxy writes them. ``route``, ``rule`` and ``policies`` name
the objects that made the route, so that whoever is on call can go from a line to a manifest. Query
strings are left out, because they carry tokens. Commands:
https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
"""

from typing import Final

from envoy_data_plane.envoy.config.accesslog.v3 import (
    AccessLog,
    AccessLogFilter,
    ExtensionFilter,
    OrFilter,
    ResponseFlagFilter,
)
from envoy_data_plane.envoy.config.core.v3 import SubstitutionFormatString
from envoy_data_plane.envoy.extensions.access_loggers.filters.cel.v3 import ExpressionFilter
from envoy_data_plane.envoy.extensions.access_loggers.stream.v3 import StdoutAccessLog

from xds.build.config import struct
from xds.ir.listener import Direction
from xds.wire.encode import pack

_CONNECTION: Final = {
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "downstream_failure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
    "downstream_local": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "duration": "%DURATION%",
    "peer": "%DOWNSTREAM_PEER_URI_SAN%",
    "peer_serial": "%DOWNSTREAM_PEER_SERIAL%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "response_flags": "%RESPONSE_FLAGS%",
    "time": "%START_TIME%",
    "upstream_cluster": "%UPSTREAM_CLUSTER%",
    "upstream_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_peer": "%UPSTREAM_PEER_URI_SAN%",
}
_REQUEST: Final = {
    "authority": "%REQ(:AUTHORITY)%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "policies": "%METADATA(ROUTE:plait:policies)%",
    "protocol": "%PROTOCOL%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "route": "%METADATA(ROUTE:plait:route)%",
    "route_name": "%ROUTE_NAME%",
    "rule": "%METADATA(ROUTE:plait:rule)%",
    "status": "%RESPONSE_CODE%",
}
_REFUSED: Final = AccessLogFilter(
    or_filter=OrFilter(
        filters=[
            AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=["NR"])),
            AccessLogFilter(
                extension_filter=ExtensionFilter(
                    name="envoy.access_loggers.extension_filters.cel",
                    typed_config=pack(
                        ExpressionFilter(expression="connection.transport_failure_reason != ''")
                    ),
                )
            ),
        ]
    )
)


def http_log(stat_prefix: str, direction: Direction) -> AccessLog:
    """One line per request."""
    return _log({**_CONNECTION, **_REQUEST}, stat_prefix, direction)


def tcp_log(stat_prefix: str, direction: Direction) -> AccessLog:
    """One line when a connection has reached its upstream and one when it ends (``event``)."""
    return _log({**_CONNECTION, "event": "%ACCESS_LOG_TYPE%"}, stat_prefix, direction)


def refused_log(name: str, direction: Direction) -> AccessLog:
    """One line per connection that a listener refuses before a filter chain takes it over: no
    chain fits it (``response_flags`` NR), or its TLS handshake fails (``downstream_failure``). A
    ``peer`` in such a line is what the stranger claimed, not what was verified."""
    log = _log({**_CONNECTION, "event": "refused"}, name, direction)
    return AccessLog(name=log.name, filter=_REFUSED, typed_config=log.typed_config)


def _log(fields: dict[str, str], stat_prefix: str, direction: Direction) -> AccessLog:
    line = {**fields, "direction": direction.value, "listener": stat_prefix}
    layout = SubstitutionFormatString(
        json_format=struct(dict(sorted(line.items()))), omit_empty_values=True
    )
    return AccessLog(
        name="envoy.access_loggers.stdout", typed_config=pack(StdoutAccessLog(log_format=layout))
    )
