"""Redirect mode, inbound: one listener for all ports of a pod.

It matches ports, never addresses, so the replicas of a workload share its bytes. Chains that name a
port hide those that do not from its connections (`Chain`), so every such port has the mutual TLS
chains again. What no chain takes goes to the application as it came, or, where MutualTLS is strict,
nowhere.
"""

from datetime import timedelta
from typing import Final, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate import mesh
from controlplane.translate.clusters import TCP_ALPN
from controlplane.translate.inbound import (
    GRPC_ALPN,
    GRPC_CHAIN,
    GRPC_NAMES,
    H1_ALPN,
    H2_ALPN,
    H2C_ALPN,
    HTTP1_ALPN,
    W1_ALPN,
    InboundPort,
    declared_ports,
    inbound_strict,
)
from controlplane.translate.protocols import Protocol
from controlplane.translate.redirect import (
    FOREVER,
    INBOUND_PORT,
    OWN_PORTS,
    READY_PORT,
    any_address,
    guards,
)
from controlplane.world.rows import Key
from xds.ir.listener import Chain, Codec, Direction, DownstreamTls, Http, Listener, Tcp
from xds.ir.route import (
    Backend,
    Forward,
    Match,
    PathExact,
    Respond,
    Route,
    RouteTable,
    VirtualHost,
)
from xds.names import IN, IN_HTTP2, inbound_listener

READY_PATH: Final = "/ready"
_WIRES: Final = {
    Protocol.HTTP: (IN, IN),
    Protocol.HTTP2: (IN_HTTP2, IN_HTTP2),
    Protocol.UNDECLARED: (IN, IN_HTTP2),
}
"""What the application is spoken to for clients of HTTP/1.1 and of HTTP/2."""


class Profile(NamedTuple):
    """All that the listener is made of; replicas have equal ones."""

    ports: tuple[InboundPort, ...]
    """Those that have chains of their own."""
    strict: bool
    trust_domain: str
    lifetime: timedelta
    """Longest life of an HTTP connection between sidecars."""
    dual: bool
    """The pod has an IPv6 address too."""


@query
def profile(q: Reader, pod: Key, trust_domain: str, dual: bool) -> Profile:
    """What a pod's inbound listener depends on.

    HTTP ports have chains of their own for what is spoken to the application; undeclared ones
    only where plain text is taken, and HTTP in it has to be found.
    """
    strict = inbound_strict(q, pod)
    chosen = (Protocol.HTTP, Protocol.HTTP2, *(() if strict else (Protocol.UNDECLARED,)))
    return Profile(
        tuple(
            port
            for port in declared_ports(q, pod)
            if port.protocol in chosen and port.port not in OWN_PORTS
        ),
        strict,
        trust_domain,
        mesh.connection_lifetime(q),
        dual,
    )


def inbound_listener_of(made_of: Profile) -> Listener:
    """The listener ``in``."""
    chains = [*guards(Direction.INBOUND), _ready(), *_mesh_chains(made_of, None)]
    for port in made_of.ports:
        chains += _mesh_chains(made_of, port)
        if not made_of.strict:
            chains += _plain_chains(port)
    sniffed = tuple(p.port for p in made_of.ports if p.protocol is Protocol.UNDECLARED)
    plain = Chain("plain", Tcp(IN, IN, Direction.INBOUND, FOREVER))
    return Listener(
        IN,
        any_address(made_of.dual),
        INBOUND_PORT,
        Direction.INBOUND,
        tuple(chains),
        inspect_tls=True,
        inspect_http=bool(sniffed),
        inspect_http_ports=sniffed,
        default=None if made_of.strict else plain,
        original_dst=True,
        ipv4_compat=made_of.dual,
    )


def _ready() -> Chain:
    routes = (
        Route("ready", Match(PathExact(READY_PATH)), Respond(200, "ready\n")),
        Route("other", Match(), Respond(404, f"plait: only {READY_PATH} is answered here\n")),
    )
    table = RouteTable("ready", (VirtualHost("ready", ("*",), routes),))
    filters = Http("ready", Codec.AUTO, table, Direction.INBOUND)
    return Chain("ready", filters, destination_port=READY_PORT, transport="raw_buffer")


def _http(port: int | None, cluster: str, codec: Codec, limit: timedelta | None) -> Http:
    route = Route("inbound", Match(), Forward((Backend(cluster),)))
    return Http(
        stat_prefix=IN if port is None else inbound_listener(port),
        codec=codec,
        routes=RouteTable(cluster, (VirtualHost("app", ("*",), (route,)),)),
        direction=Direction.INBOUND,
        max_connection_duration=limit,
        forward_client_identity=True,
    )


def _mesh_chains(made_of: Profile, port: InboundPort | None) -> tuple[Chain, ...]:
    """The chains of connections from other sidecars: of one port, or of all without their own."""
    number, protocol = port or (None, Protocol.UNDECLARED)
    one, two = _WIRES[protocol]
    limit = made_of.lifetime
    prefix = IN if number is None else inbound_listener(number)

    def chain(alpn: str, filters: Http | Tcp, name: str = "", sni: tuple[str, ...] = ()) -> Chain:
        name = name or alpn
        return Chain(
            name if number is None else f"{name}|{number}",
            filters,
            (alpn,),
            DownstreamTls((made_of.trust_domain,), (alpn,)),
            destination_port=number,
            server_names=sni,
        )

    chains = (
        chain(H1_ALPN, _http(number, one, Codec.HTTP2, limit)),
        chain(H2_ALPN, _http(number, two, Codec.HTTP2, limit)),
        chain(W1_ALPN, _http(number, one, Codec.HTTP1, limit)),
        chain(TCP_ALPN, Tcp(prefix, IN, Direction.INBOUND, FOREVER)),
    )
    if protocol is Protocol.HTTP2:
        http = _http(number, two, Codec.HTTP2, limit)
        return (*chains, chain(GRPC_ALPN, http, GRPC_CHAIN, GRPC_NAMES))
    return chains


def _plain_chains(port: InboundPort) -> tuple[Chain, ...]:
    """Plain text of clients without a sidecar. The application's own TLS, and on an undeclared
    port whatever is not HTTP, is left to the default chain."""
    number = port.port
    one, two = _WIRES[port.protocol]

    def chain(name: str, cluster: str, codec: Codec, alpn: tuple[str, ...]) -> Chain:
        filters = _http(number, cluster, codec, None)
        return Chain(
            f"{name}|{number}",
            filters,
            alpn,
            destination_port=number,
            transport="raw_buffer",
        )

    if port.protocol is Protocol.UNDECLARED:
        return (
            chain("plain-h1", one, Codec.HTTP1, HTTP1_ALPN),
            chain("plain-h2", two, Codec.HTTP2, H2C_ALPN),
        )
    return (chain("plain", one, Codec.AUTO, ()),)
