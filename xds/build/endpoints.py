"""Load assignments, made of fragments (envoy.config.endpoint.v3.ClusterLoadAssignment).

A fragment is the encoded ``endpoints`` field of some endpoints. Repeated fields append when
fragments are joined, so one changed endpoint costs one small encoding, not the whole assignment.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import HealthStatus, Locality, Metadata
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.config.endpoint.v3 import Endpoint as EnvoyEndpoint

from xds import types
from xds.build.clusters import TLS_MATCH, TLS_VALUE
from xds.build.config import address, struct
from xds.ir.endpoint import Endpoint, Health
from xds.wire.encode import encode
from xds.wire.resource import Resource, make
from xds.wire.varint import delimited

_ENDPOINTS: Final = 2
"""Field number of ClusterLoadAssignment.endpoints."""
_LB_ENDPOINTS: Final = 2
"""Field number of LocalityLbEndpoints.lb_endpoints."""

_MTLS: Final = Metadata(
    filter_metadata={"envoy.transport_socket_match": struct({TLS_MATCH: TLS_VALUE})}
)
HEALTH: Final = {
    # Envoy treats UNKNOWN as healthy, and a default costs no bytes.
    Health.HEALTHY: HealthStatus.UNKNOWN,
    Health.DRAINING: HealthStatus.DRAINING,
    Health.UNHEALTHY: HealthStatus.UNHEALTHY,
}


def fragment(endpoints: tuple[Endpoint, ...]) -> bytes:
    """The ``endpoints`` fields (tags included) of ``endpoints``: one per locality, sorted by
    region and zone, endpoints in the order given. Endpoints of weight 0 are left out."""
    places: dict[tuple[str, str], list[bytes]] = {}
    for each in endpoints:
        if each.weight > 0:
            encoded = delimited(_LB_ENDPOINTS, _lb_endpoint(each))
            places.setdefault((each.region, each.zone), []).append(encoded)
    return b"".join(
        delimited(_ENDPOINTS, _locality(*place) + b"".join(found))
        for place, found in sorted(places.items())
    )


def assignment(name: str, fragments: Iterable[bytes]) -> Resource:
    """The load assignment under its EDS name; empty when there is no fragment."""
    head = encode(ClusterLoadAssignment(cluster_name=name))
    return make(types.ENDPOINT, name, head + b"".join(fragments))


@lru_cache(maxsize=16384)
def _lb_endpoint(source: Endpoint) -> bytes:
    return encode(
        LbEndpoint(
            endpoint=EnvoyEndpoint(address=address(source.address, source.port)),
            health_status=HEALTH[source.health],
            metadata=_MTLS if source.tls else None,
            load_balancing_weight=source.weight if source.weight != 1 else None,
        )
    )


@lru_cache(maxsize=256)
def _locality(region: str, zone: str) -> bytes:
    locality = Locality(region=region, zone=zone) if region or zone else None
    return encode(LocalityLbEndpoints(locality=locality))
