"""local_ratelimit: so many requests a second may ask for what is not known yet; the rest get 429.

Each question leaves a name in Envoy for as long as it runs, and an application chooses the names.
The tokens are the listener's: those of a virtual host would be full again after each change of its
route table, and each answer changes it. Only the route that asks has the descriptor (`routes`);
known destinations pass. Source: envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit.
"""

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import RuntimeFractionalPercent
from envoy_data_plane.envoy.config.route.v3 import (
    RateLimit,
    RateLimitAction,
    RateLimitActionGenericKey,
)
from envoy_data_plane.envoy.extensions.common.ratelimit.v3 import (
    LocalRateLimitDescriptor,
    RateLimitDescriptorEntry,
)
from envoy_data_plane.envoy.extensions.filters.http.local_ratelimit.v3 import LocalRateLimit
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.type.v3 import FractionalPercent, TokenBucket

from xds.ir.listener import Http
from xds.wire.encode import pack

PER_SECOND: Final = 50
BURST: Final = 200
ASK: Final = "ask"
"""The descriptor of requests that ask."""


def build(source: Http) -> HttpFilter | None:
    """Present where unknown authorities are asked for."""
    if not source.asks:
        return None
    always = RuntimeFractionalPercent(default_value=FractionalPercent(numerator=100))
    asking = LocalRateLimitDescriptor(
        entries=[RateLimitDescriptorEntry(key="generic_key", value=ASK)],
        token_bucket=TokenBucket(
            max_tokens=BURST, tokens_per_fill=PER_SECOND, fill_interval=timedelta(seconds=1)
        ),
    )
    config = LocalRateLimit(
        stat_prefix=ASK,
        filter_enabled=always,
        filter_enforced=always,
        descriptors=[asking],
        rate_limited_as_resource_exhausted=True,
    )
    return HttpFilter(name="envoy.filters.http.local_ratelimit", typed_config=pack(config))


def descriptor() -> RateLimit:
    """Makes requests of a route count (envoy.config.route.v3.RouteAction.rate_limits)."""
    key = RateLimitActionGenericKey(descriptor_value=ASK)
    return RateLimit(actions=[RateLimitAction(generic_key=key)])
