"""TCP proxies (envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy)."""

from envoy_data_plane.envoy.config.listener.v3 import Filter
from envoy_data_plane.envoy.extensions.filters.network.tcp_proxy.v3 import (
    TcpProxy,
    TcpProxyTcpAccessLogOptions,
    UpstreamConnectMode,
)

from xds.build.access_log import tcp_log
from xds.ir.listener import Tcp
from xds.wire.encode import pack


def tcp_proxy(source: Tcp, authenticated: bool) -> Filter:
    """The network filter of a TCP chain. Without an idle timeout Envoy's own applies (1 h).

    ``authenticated`` chains reach their application only after the TLS handshake, so that a
    stranger costs it no connection and the log knows the peer.
    """
    mode = UpstreamConnectMode
    message = TcpProxy(
        stat_prefix=source.stat_prefix,
        cluster=source.cluster,
        idle_timeout=source.idle_timeout,
        max_downstream_connection_duration=source.max_connection_duration,
        upstream_connect_mode=(
            mode.ON_DOWNSTREAM_TLS_HANDSHAKE if authenticated else mode.IMMEDIATE
        ),
        max_early_data_bytes=0 if authenticated else None,
        access_log=[tcp_log(source.stat_prefix, source.direction)],
        # Connections live for days; a line at their end alone says nothing while they matter.
        access_log_options=TcpProxyTcpAccessLogOptions(flush_access_log_on_connected=True),
    )
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(message))
