"""TCP chains (envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy and what stands before it)."""

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import DataSource, SubstitutionFormatString
from envoy_data_plane.envoy.config.listener.v3 import Filter
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state.v3 import FilterStateValue
from envoy_data_plane.envoy.extensions.filters.network.local_ratelimit.v3 import LocalRateLimit
from envoy_data_plane.envoy.extensions.filters.network.set_filter_state.v3 import Config
from envoy_data_plane.envoy.extensions.filters.network.tcp_proxy.v3 import (
    TcpProxy,
    TcpProxyOnDemand,
    TcpProxyTcpAccessLogOptions,
    UpstreamConnectMode,
)
from envoy_data_plane.envoy.type.v3 import TokenBucket

from xds.build.access_log import tcp_log
from xds.build.bucket import start_time
from xds.build.config import ADS
from xds.build.filters.on_demand import PATIENCE
from xds.ir.listener import ByDestination, FirstContact, Tcp
from xds.names import BLACK_HOLE
from xds.wire.encode import pack

_FOREVER: Final = timedelta(0)
"""Envoy's spelling of "no idle timeout"; leaving the field out means an hour."""
_NAME: Final = "envoy.filters.network.tcp_proxy"


def tcp_proxy(source: Tcp, authenticated: bool) -> list[Filter]:
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
        access_log_options=_both_ends(),
    )
    return [Filter(name=_NAME, typed_config=pack(message))]


def first_contact(source: FirstContact, bucket: timedelta) -> list[Filter]:
    """Limit, name the cluster, ask for it. The limit stands first: what it refuses asks nothing.

    Connections may stay on this chain for as long as they live, so nothing ends quiet ones.
    """
    limit = LocalRateLimit(
        stat_prefix=source.stat_prefix,
        token_bucket=TokenBucket(
            max_tokens=source.burst,
            tokens_per_fill=source.per_second,
            fill_interval=timedelta(seconds=1),
        ),
    )
    return [
        Filter(name="envoy.filters.network.local_ratelimit", typed_config=pack(limit)),
        _named(f"f|%DOWNSTREAM_LOCAL_ADDRESS%|{start_time(bucket)}"),
        _by_name(source, TcpProxyOnDemand(odcds_config=ADS, timeout=PATIENCE)),
    ]


def by_destination(source: ByDestination) -> list[Filter]:
    """To the cluster of the connection's destination; closed when it is not there."""
    return [_named("d|%DOWNSTREAM_LOCAL_ADDRESS%"), _by_name(source, None)]


def _named(cluster: str) -> Filter:
    """Names the cluster of the connection (filter state of TcpProxy's per-connection cluster)."""
    text = SubstitutionFormatString(text_format_source=DataSource(inline_string=cluster))
    value = FilterStateValue(object_key="envoy.tcp_proxy.cluster", format_string=text)
    config = Config(on_new_connection=[value])
    return Filter(name="envoy.filters.network.set_filter_state", typed_config=pack(config))


def _by_name(source: FirstContact | ByDestination, on_demand: TcpProxyOnDemand | None) -> Filter:
    message = TcpProxy(
        stat_prefix=source.stat_prefix,
        cluster=BLACK_HOLE,  # a required field; the filter state has the real one
        on_demand=on_demand,
        idle_timeout=_FOREVER,
        access_log=[tcp_log(source.stat_prefix, source.direction)],
        access_log_options=_both_ends(),
    )
    return Filter(name=_NAME, typed_config=pack(message))


def _both_ends() -> TcpProxyTcpAccessLogOptions:
    # Connections live for days; a line at their end alone says nothing while they matter.
    return TcpProxyTcpAccessLogOptions(flush_access_log_on_connected=True)
