"""fault: delays and aborts requests on purpose.

The filter itself does nothing; what it does stands with the routes (``typed_per_filter_config``),
so that a change of a fault changes no listener. Only the route that leads to the real cluster has
it: the one that asks on demand does not, so a first contact, which passes two connection managers,
meets it once. No header of a request can ask for a fault (``header_delay``, ``header_abort`` are
unset). Source: envoy.extensions.filters.http.fault.v3.HTTPFault.
"""

from typing import Final

from envoy_data_plane.envoy.extensions.filters.common.fault.v3 import FaultDelay
from envoy_data_plane.envoy.extensions.filters.http.fault.v3 import FaultAbort, HttpFault
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
from envoy_data_plane.envoy.type.v3 import FractionalPercent, FractionalPercentDenominatorType
from envoy_data_plane.google.protobuf import Any as ProtoAny

from xds.ir.listener import Direction, Http
from xds.ir.route import Abort, Fault
from xds.wire.encode import pack

NAME: Final = "envoy.filters.http.fault"
FILTER: Final = HttpFilter(name=NAME, typed_config=pack(HttpFault()))
"""Shared, so it must never be assigned to."""


def build(source: Http) -> HttpFilter | None:
    """Present on outbound listeners: the caller's sidecar makes the fault, the callee's never."""
    return FILTER if source.direction is Direction.OUTBOUND else None


def of_route(source: Fault | None) -> dict[str, ProtoAny]:
    """The ``typed_per_filter_config`` of a route."""
    if source is None:
        return {}
    delay = source.delay and FaultDelay(
        fixed_delay=source.delay.duration, percentage=_share(source.delay.share)
    )
    return {NAME: pack(HttpFault(delay=delay, abort=source.abort and _abort(source.abort)))}


def _abort(source: Abort) -> FaultAbort:
    share = _share(source.share)
    if source.grpc:
        return FaultAbort(grpc_status=source.status, percentage=share)
    return FaultAbort(http_status=source.status, percentage=share)


def _share(million: int) -> FractionalPercent:
    return FractionalPercent(
        numerator=million, denominator=FractionalPercentDenominatorType.MILLION
    )
