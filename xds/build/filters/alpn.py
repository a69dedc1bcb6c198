"""set_filter_state: tells the peer's sidecar, by ALPN, what the client spoke.

The filter state ``envoy.network.application_protocols`` names the ALPN of the upstream connection
of this request, so one cluster serves clients of HTTP/1.1 and of HTTP/2. A cluster ``m|`` speaks
HTTP/1.1 on the wire and says so. Sources: envoy.extensions.filters.http.set_filter_state.v3.Config,
https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/attributes
"""

from typing import Final

from envoy_data_plane.envoy.config.core.v3 import DataSource, SubstitutionFormatString
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state.v3 import (
    FilterStateValue,
    FilterStateValueSharedWithUpstream,
)
from envoy_data_plane.envoy.extensions.filters.http.set_filter_state.v3 import Config
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from xds.ir.listener import Direction, Http
from xds.wire.encode import pack

CHOICE: Final = (
    "%CEL(xds.cluster_name.startsWith('m|') ? 'plait-w1' : "
    "(request.protocol == 'HTTP/2' ? 'plait-h2' : 'plait-h1'))%"
)


def build(source: Http) -> HttpFilter | None:
    """Present on outbound listeners; an application gets no ALPN from its sidecar."""
    if source.direction is not Direction.OUTBOUND:
        return None
    value = FilterStateValue(
        object_key="envoy.network.application_protocols",
        format_string=SubstitutionFormatString(text_format_source=DataSource(inline_string=CHOICE)),
        shared_with_upstream=FilterStateValueSharedWithUpstream.ONCE,
    )
    config = Config(on_request_headers=[value])
    return HttpFilter(name="envoy.filters.http.set_filter_state", typed_config=pack(config))
