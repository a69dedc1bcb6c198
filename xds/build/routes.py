"""Route configurations, whole and joined from virtual hosts
(envoy.config.route.v3.RouteConfiguration).

Clusters are never validated by the route: on demand they arrive in an order of their own, and one
missing cluster must not cost the whole table.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final, Literal

from envoy_data_plane.envoy.config.core.v3 import Metadata
from envoy_data_plane.envoy.config.route.v3 import Route as EnvoyRoute
from envoy_data_plane.envoy.config.route.v3 import RouteAction, RouteConfiguration, RouteMatch
from envoy_data_plane.envoy.config.route.v3 import VirtualHost as EnvoyHost

from xds import names, types
from xds.build.actions import NO_LIMIT, action
from xds.build.config import struct
from xds.build.filters import ask_limit, fault
from xds.build.headers import edits
from xds.build.matches import route_match
from xds.ir.connect import CONNECT
from xds.ir.route import Forward, HeaderEdits, Origin, Route, RouteTable, VirtualHost
from xds.wire.encode import encode
from xds.wire.resource import Resource, make
from xds.wire.varint import delimited

ASK_HEADER: Final = "x-plait-ask"
"""Request header that carries the name asked for on demand; set by the listener, never sent on."""

DESTINATION_HEADER: Final = "x-plait-dst"
"""Request header with the destination ``IP:port`` of its connection; set by the listener over
whatever the client wrote, never sent on."""

METADATA: Final = "plait"
"""Namespace of the route metadata that access logs print."""

_VIRTUAL_HOSTS: Final = 2
"""Field number of RouteConfiguration.virtual_hosts."""


def host_fragment(host: VirtualHost) -> bytes:
    """The ``virtual_hosts`` field (tag included) of one virtual host."""
    return delimited(_VIRTUAL_HOSTS, encode(_host(host)))


def join_proxy_routes(name: Literal["px", "pxfc"], fragments: Iterable[bytes]) -> Resource:
    """The route configuration of the HTTP proxy (``px``) or of its loop (``pxfc``).

    ``px`` ends with a host for every other authority that asks for it. ``pxfc`` has none, or an
    authority that stays unknown would go round in the loop.
    """
    parts = [_proxy_head(name), *fragments]
    if name == names.PROXY_ROUTES:
        parts.append(_asking_host())
    return make(types.ROUTE, name, b"".join(parts))


def join_first_contact(fragments: Iterable[bytes]) -> Resource:
    """The route configuration ``fc``: virtual hosts by destination (domain ``IP:port``), whatever
    the request's authority. There is none for other destinations: their requests get a 404."""
    return make(types.ROUTE, names.FIRST_CONTACT_ROUTES, b"".join([_contact_head(), *fragments]))


def route_table(source: RouteTable) -> Resource:
    """A whole route configuration."""
    return make(types.ROUTE, source.name, encode(configuration(source)))


def configuration(source: RouteTable) -> RouteConfiguration:
    """The message of a route table, for a connection manager that holds it inline."""
    return RouteConfiguration(
        name=source.name,
        virtual_hosts=[_host(host) for host in source.hosts],
        validate_clusters=False,
    )


@cache
def _proxy_head(name: str) -> bytes:
    head = RouteConfiguration(
        name=name, validate_clusters=False, request_headers_to_remove=[ASK_HEADER]
    )
    return encode(head)


@cache
def _contact_head() -> bytes:
    head = RouteConfiguration(
        name=names.FIRST_CONTACT_ROUTES,
        validate_clusters=False,
        vhost_header=DESTINATION_HEADER,
        request_headers_to_remove=[DESTINATION_HEADER],
    )
    return encode(head)


@cache
def _asking_host() -> bytes:
    ask = EnvoyRoute(
        name="ask",
        match=RouteMatch(prefix="/"),
        route=RouteAction(
            cluster_header=ASK_HEADER, timeout=NO_LIMIT, rate_limits=[ask_limit.descriptor()]
        ),
    )
    host = EnvoyHost(name="*", domains=["*"], routes=[ask, _route(CONNECT)])
    return delimited(_VIRTUAL_HOSTS, encode(host))


def _host(source: VirtualHost) -> EnvoyHost:
    return EnvoyHost(
        name=source.name,
        domains=list(source.domains),
        routes=[_route(route) for route in source.routes],
    )


def _route(source: Route) -> EnvoyRoute:
    none = HeaderEdits()
    forward = source.action if isinstance(source.action, Forward) else None
    return EnvoyRoute(
        name=source.name,
        match=route_match(source.match),
        metadata=_metadata(source.origin),
        typed_per_filter_config=fault.of_route(forward.fault if forward else None),
        **action(source.action, source.match.path),
        **edits(
            forward.request_headers if forward else none,
            forward.response_headers if forward else none,
        ),
    )


def _metadata(origin: Origin) -> Metadata | None:
    """Where a route comes from; only what is set."""
    found = {"route": origin.route, "rule": origin.rule, "policies": list(origin.policies)}
    kept = {key: value for key, value in sorted(found.items()) if value}
    return Metadata(filter_metadata={METADATA: struct(kept)}) if kept else None
