"""on_demand: a request to a cluster that is not known yet waits while it is asked for.

Source: envoy.extensions.filters.http.on_demand.v3.OnDemand.
"""

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.extensions.filters.http.on_demand.v3 import OnDemand, OnDemandCds
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from xds.build.config import ADS
from xds.ir.listener import Http
from xds.wire.encode import pack

PATIENCE: Final = timedelta(seconds=3)
"""How long a request waits for the answer; then it fails with 503. An answer takes milliseconds."""


def build(source: Http) -> HttpFilter | None:
    """Present where unknown authorities are asked for."""
    if not source.asks:
        return None
    config = OnDemand(odcds=OnDemandCds(source=ADS, timeout=PATIENCE))
    return HttpFilter(name="envoy.filters.http.on_demand", typed_config=pack(config))
