"""Builds one resource of every sort, so that the first real one costs what every other costs.

Message classes get their validators and encoders at their first use: a second of work altogether,
tens of milliseconds for some. It is done before anything is served, or the first streams would pay
for it on the event loop.
"""

from datetime import timedelta
from typing import Final

from xds.build import clusters, endpoints, listeners, routes, secrets
from xds.ir import route
from xds.ir.cluster import (
    CircuitBreakers,
    ConnectionSettings,
    DnsCluster,
    EdsCluster,
    Hashed,
    OriginalDstCluster,
    OutlierDetection,
    Random,
    RoundRobin,
    StaticCluster,
    UpstreamTls,
    Wire,
)
from xds.ir.endpoint import Endpoint, Health
from xds.ir.listener import (
    ByDestination,
    Chain,
    Codec,
    Direction,
    DownstreamTls,
    FirstContact,
    Http,
    Listener,
    Tcp,
)
from xds.ir.secret import LeafSecret, PrivateBytes, RootsSecret

_SECOND: Final = timedelta(seconds=1)
_HOST: Final = "192.0.2.1"


def warm() -> None:
    """Build and drop them; takes about a second."""
    _clusters()
    _listeners()
    _routes()
    found = (
        Endpoint(_HOST, 80, 2, Health.DRAINING, "region", "zone", tls=True),
        Endpoint(_HOST, 80),
    )
    endpoints.assignment("e", [endpoints.fragment(found)])
    secrets.leaf(LeafSecret("leaf", b"chain", PrivateBytes(b"key"), "version"))
    secrets.roots(RootsSecret("roots", b"roots"))


def _clusters() -> None:
    tls = UpstreamTls("sni", "domain", ("spiffe://domain/ns/a/sa/b",), ("plait-tcp",))
    breakers, outliers = CircuitBreakers(1, 1, 1, 1), OutlierDetection(5, 5)
    for balancing in (RoundRobin(), Random(), Hashed("ring-hash"), Hashed("maglev")):
        clusters.cluster(EdsCluster("h", "e", Wire.HTTP2, tls, balancing, breakers, outliers))
    connection = ConnectionSettings(_SECOND, _SECOND, 1, _SECOND, _SECOND, 1)
    for wire in Wire:
        clusters.cluster(EdsCluster("m", "e", wire, connection=connection))
        clusters.cluster(StaticCluster("in", _HOST, 80, wire, tls=tls))
    clusters.cluster(OriginalDstCluster("o", Wire.TCP, tls, ("127.0.0.6", "::6")))
    clusters.cluster(DnsCluster("x", "example.org", 80, Wire.HTTP1))
    clusters.asked_cluster("a", _HOST, 80)
    clusters.asked_loop("f", 15002)


def _listeners() -> None:
    tls = DownstreamTls(("domain",), ("plait-h1", "plait-h2"))
    out, into = Direction.OUTBOUND, Direction.INBOUND
    host = route.VirtualHost("host", ("*",), (route.Route("", route.Match(), _forward()),))
    chains = (
        Chain("asks", Http("asks", Codec.AUTO, "px", out, asks=True)),
        Chain("stamps", Http("stamps", Codec.HTTP1, "fc", out, stamp_destination=True)),
        Chain(
            "in",
            Http(
                "in",
                Codec.HTTP2,
                route.RouteTable("in", (host,)),
                into,
                max_connection_duration=_SECOND,
                max_requests_per_connection=1,
                forward_client_identity=True,
            ),
            alpn=tls.alpn,
            tls=tls,
            destination_port=80,
        ),
        Chain("tcp", Tcp("tcp", "in", into, _SECOND, _SECOND), tls=tls),
        Chain("first", FirstContact("first", out), ranges=("192.0.2.0/24",)),
        Chain("named", ByDestination("named", out), transport="raw_buffer"),
    )
    listeners.listener(
        Listener(
            *("warm", _HOST, 80, out, chains),
            inspect_tls=True,
            inspect_http=True,
            inspect_http_ports=(80, 81),
            default=Chain("default", Tcp("default", "in", out)),
            original_dst=True,
            use_original_dst=True,
            proxy_protocol=True,
        ),
        _SECOND,
    )


def _forward() -> route.Forward:
    edits = route.HeaderEdits((("a", "b"),), (("c", "d"),), ("e",))
    return route.Forward(
        (route.Backend("a", 1, edits, edits), route.Backend("b")),
        timeout=_SECOND,
        retry=route.Retry(1, ("5xx",), (503,), _SECOND),
        fault=route.Fault(route.Delay(_SECOND, 1), route.Abort(503, 1)),
        rewrite_host="host",
        rewrite_path=route.PathReplacement("prefix", "/"),
        request_headers=edits,
        response_headers=edits,
        hash_on=tuple(route.HashOn(kind, "a") for kind in ("header", "cookie", "source-address")),
    )


def _routes() -> None:
    values = (route.ValueMatch("a", "b"), route.ValueMatch("c", "d", regex=True))
    origin = route.Origin("ns/route", "rule", ("RoutePolicy ns/policy",))
    matches = [
        route.Match(path, values, values, "GET", share=1)
        for path in (route.PathExact("/a"), route.PathPrefix("/b"), route.PathRegex("/c.*"))
    ]
    actions = (
        _forward(),
        route.Redirect(301, "https", "host", 443, route.PathReplacement("full", "/")),
        route.Respond(503, "text"),
    )
    every = tuple(
        route.Route("route", match, action, origin) for match in matches for action in actions
    )
    host = route.VirtualHost("host", ("host",), every)
    routes.route_table(route.RouteTable("table", (host,)))
    fragment = routes.host_fragment(host)
    routes.join_proxy_routes("px", [fragment])
    routes.join_proxy_routes("pxfc", [fragment])
    routes.join_first_contact([fragment])
