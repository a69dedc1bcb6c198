"""The one order of HTTP filters, with the reason for each place.

A filter sees a request before all filters that stand below it. A connection manager takes the
filters whose ``build`` gives one for it, in this order.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter

from xds.build.filters import alpn, ask_limit, fault, on_demand, router
from xds.ir.listener import Http


class Place(NamedTuple):
    """``build`` gives the filter, or ``None`` where it does not belong."""

    build: Callable[[Http], HttpFilter | None]
    reason: str


ORDER: Final = (
    Place(ask_limit.build, "before on_demand: what is refused asks nothing"),
    Place(
        on_demand.build,
        "before all that reads the route, for it may hold the request and choose its route anew",
    ),
    Place(
        fault.build,
        "after on_demand, because it reads the final route; what it aborts needs nothing below it",
    ),
    Place(alpn.build, "after on_demand, because it reads the cluster of the final route"),
    Place(router.build, "last: it ends the chain"),
)


def http_filters(source: Http) -> list[HttpFilter]:
    """The filters of one connection manager, in order."""
    built = (place.build(source) for place in ORDER)
    return [each for each in built if each is not None]
