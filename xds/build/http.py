"""HTTP connection managers
(envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager).

A sidecar must not be noticed: the server's own ``server`` header passes, WebSockets pass, and no
stream is cut for being quiet, because only routes know how long a request may take.
"""

from datetime import timedelta
from typing import Any, Final

from envoy_data_plane.envoy.config.accesslog.v3 import AccessLogFilter, HeaderFilter
from envoy_data_plane.envoy.config.common.mutation_rules.v3 import (
    HeaderMutation as Mutation,
)
from envoy_data_plane.envoy.config.core.v3 import (
    DataSource,
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    HttpProtocolOptions,
    TypedExtensionConfig,
)
from envoy_data_plane.envoy.config.listener.v3 import Filter
from envoy_data_plane.envoy.config.route.v3 import HeaderMatcher
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerCodecType,
    HttpConnectionManagerForwardClientCertDetails,
    HttpConnectionManagerServerHeaderTransformation,
    HttpConnectionManagerSetCurrentClientCertDetails,
    HttpConnectionManagerUpgradeConfig,
    LocalReplyConfig,
    Rds,
    ResponseMapper,
)
from envoy_data_plane.envoy.extensions.http.early_header_mutation.header_mutation.v3 import (
    HeaderMutation,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from xds.build.access_log import http_log
from xds.build.bucket import start_time
from xds.build.config import ADS, extension
from xds.build.filters.order import http_filters
from xds.build.protocols import HTTP2
from xds.build.routes import ASK_HEADER, DESTINATION_HEADER, configuration
from xds.ir.listener import Codec, Http
from xds.wire.encode import pack

NO_CONNECT: Final = (
    "CONNECT is not served here: send the request itself (absolute form or Host header), "
    "or declare a TCP forward with the annotation mesh.plait.dev/tcp-forwards"
)

_CODEC: Final = {
    Codec.AUTO: HttpConnectionManagerCodecType.AUTO,
    Codec.HTTP1: HttpConnectionManagerCodecType.HTTP1,
    Codec.HTTP2: HttpConnectionManagerCodecType.HTTP2,
}
_QUIET: Final = timedelta(0)


def connection_manager(source: Http, bucket: timedelta) -> Filter:
    """The network filter of an HTTP chain. ``bucket`` is the length of the time bucket in the
    names that are asked for on demand."""
    message = HttpConnectionManager(
        codec_type=_CODEC[source.codec],
        stat_prefix=source.stat_prefix,
        **_routes(source),
        http_filters=http_filters(source),
        common_http_protocol_options=_limits(source),
        http1_safe_max_connection_duration=source.max_connection_duration is not None,
        http2_protocol_options=HTTP2,
        server_header_transformation=(HttpConnectionManagerServerHeaderTransformation.PASS_THROUGH),
        stream_idle_timeout=_QUIET,
        upgrade_configs=[HttpConnectionManagerUpgradeConfig(upgrade_type="websocket")],
        access_log=[http_log(source.stat_prefix, source.direction)],
        **_client_identity(source),
        early_header_mutation_extensions=_early(source, bucket),
        local_reply_config=(LocalReplyConfig(mappers=[_refuse_connect()]) if source.asks else None),
    )
    name = "envoy.filters.network.http_connection_manager"
    return Filter(name=name, typed_config=pack(message))


def _routes(source: Http) -> dict[str, Any]:
    if isinstance(source.routes, str):
        return {"rds": Rds(config_source=ADS, route_config_name=source.routes)}
    return {"route_config": configuration(source.routes)}


def _limits(source: Http) -> HttpProtocolOptions | None:
    if source.max_connection_duration is None and source.max_requests_per_connection is None:
        return None
    return HttpProtocolOptions(
        max_connection_duration=source.max_connection_duration,
        max_requests_per_connection=source.max_requests_per_connection,
    )


def _client_identity(source: Http) -> dict[str, Any]:
    """x-forwarded-client-cert comes from the peer's certificate or is removed, never passed on."""
    details = HttpConnectionManagerForwardClientCertDetails
    if not source.forward_client_identity:
        return {"forward_client_cert_details": details.SANITIZE}
    return {
        "forward_client_cert_details": details.SANITIZE_SET,
        "set_current_client_cert_details": HttpConnectionManagerSetCurrentClientCertDetails(
            uri=True
        ),
    }


def _early(source: Http, bucket: timedelta) -> list[TypedExtensionConfig]:
    """Headers that are set before the route is chosen, over whatever the client wrote."""
    headers: dict[str, str] = {}
    if source.asks:
        headers[ASK_HEADER] = f"a|%REQ(:AUTHORITY)%|{start_time(bucket)}"
    if source.stamp_destination:
        headers[DESTINATION_HEADER] = "%DOWNSTREAM_LOCAL_ADDRESS%"
    if not headers:
        return []
    mutations = [Mutation(append=_overwriting(*each)) for each in headers.items()]
    name = "envoy.http.early_header_mutation.header_mutation"
    return [extension(name, HeaderMutation(mutations=mutations))]


def _overwriting(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=name, value=value),
        append_action=HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _refuse_connect() -> ResponseMapper:
    """Envoy refuses CONNECT with 403 by itself; 405 and a text say what to do instead."""
    connect = HeaderMatcher(name=":method", string_match=StringMatcher(exact="CONNECT"))
    return ResponseMapper(
        filter=AccessLogFilter(header_filter=HeaderFilter(header=connect)),
        status_code=405,
        body=DataSource(inline_string=NO_CONNECT),
    )
