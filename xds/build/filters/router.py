"""router: sends the request to the cluster that its route chose.

``suppress_envoy_headers`` keeps x-envoy-* headers of the router's own making from applications.
Source: envoy.extensions.filters.http.router.v3.Router.
"""

from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from xds.ir.listener import Http
from xds.wire.encode import pack


def build(source: Http) -> HttpFilter:
    """Present in every connection manager."""
    config = Router(suppress_envoy_headers=True)
    return HttpFilter(name="envoy.filters.http.router", typed_config=pack(config))
