"""Endpoints of a Service port: its EndpointSlices, or its ready pods when it has none.

Health: an endpoint that is leaving (slice condition ``terminating`` or the pod's deletion, which
ever comes first) is DRAINING: it gets no new requests and finishes those it has. One that is not
ready and stays is left out. Whether mTLS is spoken, and with whom, comes from the pod.
"""

from typing import NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate.addresses import is_address
from controlplane.translate.instances import instance
from controlplane.translate.members import endpoint_pod, selected
from controlplane.translate.scope import PortRef, Scope
from controlplane.translate.services import service_port, shape
from controlplane.world.rows import EndpointSlice, Key, SliceEndpoint
from controlplane.world.schema import SLICES_OF
from xds.ir.endpoint import Endpoint, Health
from xds.names import spiffe_id


class Standing(NamedTuple):
    """What an endpoint takes from its pod."""

    meshed: bool
    account: str
    leaving: bool
    region: str
    zone: str


@query
def standing(q: Reader, key: Key) -> Standing | None:
    found = instance(q, key)
    if found is None:
        return None
    return Standing(found.meshed, found.account, found.leaving, found.region, found.zone)


@query
def slices(q: Reader, key: Key) -> tuple[EndpointSlice, ...]:
    """A Service's slices of one address family: IPv4 where there is any, else IPv6."""
    rows = q.find(SLICES_OF, key)
    families = {row.address_type for row in rows}
    family = "IPv4" if "IPv4" in families else "IPv6"
    return tuple(row for row in rows if row.address_type == family)


def _health(endpoint: SliceEndpoint, leaving: bool) -> Health | None:
    if endpoint.terminating or (leaving and (endpoint.ready or endpoint.serving)):
        return Health.DRAINING
    return Health.HEALTHY if endpoint.ready else None


def _identity(pod: Key | None, state: Standing | None, scope: Scope) -> str:
    if pod is None or state is None or not state.meshed:
        return ""
    return spiffe_id(scope.trust_domain, pod.namespace, state.account)


def _from_slice(
    q: Reader, ref: PortRef, port: int, endpoint: SliceEndpoint, scope: Scope
) -> Endpoint | None:
    if not endpoint.addresses or not is_address(endpoint.addresses[0]):
        return None  # Envoy would refuse the whole assignment
    pod = endpoint_pod(q, ref.cluster, endpoint.target, endpoint.addresses)
    state = standing(q, pod) if pod else None
    health = _health(endpoint, state.leaving if state else False)
    if health is None:
        return None
    return Endpoint(
        address=endpoint.addresses[0],
        port=port,
        health=health,
        region=state.region if state else "",
        zone=endpoint.zone or (state.zone if state else ""),
        tls=state.meshed if state else False,
        identity=_identity(pod, state, scope),
    )


@query
def of_slices(q: Reader, ref: PortRef, scope: Scope, zone: str) -> tuple[Endpoint, ...]:
    """Endpoints from slices. ``zone`` not empty keeps those hinted for that zone."""
    declared = service_port(q, ref)
    if declared is None:
        return ()
    found: list[Endpoint] = []
    for row in slices(q, ref.key):
        port = next((p.port for p in row.ports if p.name == declared.name), None)
        if port is None:
            continue
        for endpoint in row.endpoints:
            if zone and zone not in endpoint.hint_zones:
                continue
            made = _from_slice(q, ref, port, endpoint, scope)
            if made is not None:
                found.append(made)
    return tuple(found)


def target_port(q: Reader, pod: Key, target: str, port: int) -> int | None:
    """Where a pod serves a Service port: targetPort's number, or its container port of that name;
    ``port`` itself without a targetPort. None when the pod has no port of that name."""
    if not target:
        return port
    if target.isdecimal():
        return int(target)
    found = instance(q, pod)
    ports = found.ports if found else ()
    return next((p.port for p in ports if p.name == target), None)


@query
def of_pod(q: Reader, pod: Key, target: str, port: int, scope: Scope) -> Endpoint | None:
    """The endpoint that a selected pod is, or None when it cannot serve now."""
    found = instance(q, pod)
    number = target_port(q, pod, target, port)
    if found is None or not found.addresses or number is None:
        return None
    if not (found.ready or found.leaving):
        return None
    return Endpoint(
        address=found.addresses[0],
        port=number,
        health=Health.DRAINING if found.leaving else Health.HEALTHY,
        region=found.region,
        zone=found.zone,
        tls=found.meshed,
        identity=_identity(pod, standing(q, pod), scope),
    )


@query
def of_pods(q: Reader, ref: PortRef, scope: Scope) -> tuple[Endpoint, ...]:
    """Endpoints of a Service with a selector, straight from its pods."""
    service, declared = shape(q, ref.key), service_port(q, ref)
    if service is None or declared is None:
        return ()
    pods = selected(q, ref.cluster, ref.namespace, service.selector)
    found = (of_pod(q, pod, declared.target, declared.port, scope) for pod in pods)
    return tuple(endpoint for endpoint in found if endpoint is not None)


@query
def zones_hinted(q: Reader, key: Key) -> tuple[str, ...]:
    """Zones that a Service's topology hints name, sorted; empty unless every endpoint that may
    serve has a hint (Kubernetes: otherwise hints are not to be used)."""
    zones: set[str] = set()
    for row in slices(q, key):
        for endpoint in row.endpoints:
            if endpoint.ready and not endpoint.hint_zones:
                return ()
            zones.update(endpoint.hint_zones)
    return tuple(sorted(zones))


def hinted_zone(q: Reader, key: Key, zone: str) -> str:
    """``zone`` where a Service's hints name it, else empty: what to put in an assignment's key."""
    return zone if zone and zone in zones_hinted(q, key) else ""


@query
def endpoints(q: Reader, ref: PortRef, scope: Scope, zone: str) -> tuple[Endpoint, ...]:
    """All endpoints of a Service port in a fixed order; ``()`` when the Service is gone.

    Slices may list an address twice (Kubernetes allows it while it moves one): healthy wins.
    """
    found = of_slices(q, ref, scope, zone) if slices(q, ref.key) else of_pods(q, ref, scope)
    best: dict[tuple[str, int], Endpoint] = {}
    for endpoint in found:
        place = (endpoint.address, endpoint.port)
        known = best.get(place)
        if known is None or (known.health, endpoint.health) == (Health.DRAINING, Health.HEALTHY):
            best[place] = endpoint
    return tuple(sorted(best.values(), key=lambda e: (e.region, e.zone, e.address, e.port)))
