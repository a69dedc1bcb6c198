"""Redirect mode: listeners, routes and virtual hosts of single destinations.

A promoted destination is a listener on its own address, without a socket. Its connections have one
destination, so whatever authority a request carries, the destination's rules hold.
"""

from dataclasses import replace
from typing import Final, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate.addresses import is_address
from controlplane.translate.clusters import Upstream, http_kind
from controlplane.translate.redirect import (
    DETECTED_HTTP,
    FOREVER,
    UNDECLARED_SILENCE,
)
from controlplane.translate.routes import port_routes
from controlplane.translate.scope import PortRef
from controlplane.translate.services import find_service, service_at, shape
from xds.ir.connect import CONNECT
from xds.ir.listener import Chain, Codec, Direction, Http, Listener, Tcp
from xds.ir.route import Backend, Forward, Match, Route, RouteTable, VirtualHost
from xds.names import BLACK_HOLE, promoted_listener, routes, socket_address

PROMOTED: Final = "p"
"""Prefix of the statistics of all promoted listeners: one of each would cost memory."""


class Lead(NamedTuple):
    """Where a promoted listener leads. Both an HTTP and a TCP end: the port is undeclared, and
    each connection shows what it is."""

    table: str = ""
    """HTTP: name of the route configuration."""
    http: str = ""
    """HTTP without a route configuration: the one cluster."""
    tcp: str = ""
    """Cluster of TCP and TLS."""


NOWHERE: Final = Lead(tcp=BLACK_HOLE)


class PodPlace(NamedTuple):
    """A destination by a pod's own address. ``cluster`` carries HTTP to it; ``ref`` is the headless
    Service port whose routes decide, if any."""

    address: str
    port: int
    cluster: str
    ref: PortRef | None


Place = PortRef | PodPlace


def listener_of(address: str, port: int, lead: Lead) -> Listener:
    """The listener ``p|IP:port``."""
    name, direction = promoted_listener(address, port), Direction.OUTBOUND
    tcp = Tcp(PROMOTED, lead.tcp, direction, FOREVER)
    if not (lead.table or lead.http):
        return _unbound(name, address, port, Chain("tcp", tcp))
    filters = Http(PROMOTED, Codec.AUTO, lead.table or _only(lead.http), direction)
    if not lead.tcp:
        return _unbound(name, address, port, Chain("http", filters))
    chain = Chain("http", filters, alpn=DETECTED_HTTP, transport="raw_buffer")
    return replace(
        _unbound(name, address, port, chain),
        inspect_tls=True,
        inspect_http=True,
        silence=UNDECLARED_SILENCE,
        default=Chain("tcp", tcp),
    )


def _unbound(name: str, address: str, port: int, chain: Chain) -> Listener:
    return Listener(name, address, port, Direction.OUTBOUND, (chain,), bind_to_port=False)


def _straight(cluster: str) -> tuple[Route, ...]:
    return (Route("default", Match(), Forward((Backend(cluster),))),)


def _only(cluster: str) -> RouteTable:
    return RouteTable(cluster, (VirtualHost(cluster, ("*",), _straight(cluster)),))


@query
def place_routes(q: Reader, view: str, place: Place) -> tuple[Route, ...]:
    """The routes of a destination for clients of a view.

    A client that dialled one pod means that pod: where the routes of its Service name the Service
    itself, the request goes on to the address that was dialled.
    """
    if isinstance(place, PortRef):
        return _without_connect(port_routes(q, view, place))
    if place.ref is None:
        return _straight(place.cluster)
    kind = http_kind(q, place.ref)
    own = Upstream(place.ref, kind).name if kind else ""
    found = _without_connect(port_routes(q, view, place.ref))
    return tuple(_led(route, own, place.cluster) for route in found)


def _without_connect(found: tuple[Route, ...]) -> tuple[Route, ...]:
    """Its answer speaks of the HTTP proxy, which is not there."""
    return tuple(route for route in found if route is not CONNECT)


def _led(route: Route, own: str, cluster: str) -> Route:
    action = route.action
    if not isinstance(action, Forward):
        return route
    backends = tuple(
        replace(each, cluster=cluster) if each.cluster == own else each for each in action.backends
    )
    return replace(route, action=replace(action, backends=backends))


@query
def place_table(q: Reader, view: str, place: Place, name: str) -> RouteTable:
    """The route configuration behind a promoted listener."""
    return RouteTable(name, (VirtualHost(name, ("*",), place_routes(q, view, place)),))


@query
def contact_host(q: Reader, view: str, place: Place) -> VirtualHost:
    """The virtual host of a destination in first contact; its domains are ``IP:port``."""
    found = place_routes(q, view, place)
    if isinstance(place, PodPlace):
        where = socket_address(place.address, place.port)
        return VirtualHost(where, (where,), found)
    name = routes(place.namespace, place.service, place.port)
    domains = tuple(socket_address(*each) for each in port_addresses(q, place))
    return VirtualHost(name, domains, found)


@query
def port_addresses(q: Reader, ref: PortRef) -> tuple[tuple[str, int], ...]:
    """(address, port) by which redirected clients reach a Service port; ``()`` for a
    headless Service. Of two Services with one address, one has it."""
    service = shape(q, ref.key)
    if service is None or service.port(ref.port) is None:
        return ()
    return tuple(
        (address, ref.port)
        for address in service.addresses
        if is_address(address) and service_at(q, address) == ref.key
    )


@query
def addresses_of_port(
    q: Reader, namespace: str, service: str, port: int
) -> tuple[tuple[str, int], ...]:
    """`port_addresses` of a Service by name; ``()`` when it is gone."""
    key = find_service(q, namespace, service)
    return port_addresses(q, PortRef(*key, port)) if key else ()


__all__ = [
    "NOWHERE",
    "Lead",
    "Place",
    "PodPlace",
    "addresses_of_port",
    "contact_host",
    "listener_of",
    "place_routes",
    "place_table",
    "port_addresses",
]
