"""Redirect mode: what every sidecar holds beside its inbound listener.

The kernel sends a pod's connections to ``outbound``. It knows no destination itself: connections
into the mesh are held and their destination is asked for, and a destination that was asked for gets
a listener of its own, to which ``outbound`` then hands its connections over. First contact with
HTTP goes through ``loop``, with ports of undeclared protocol through ``detect``; both learn the
destination by PROXY protocol and find its rules in the route table ``fc``.
"""

from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Final

from controlplane.graph import Reader, query
from controlplane.translate import mesh
from controlplane.translate.addresses import is_address
from controlplane.translate.services import find_service, shape
from xds.ir.cluster import CircuitBreakers, ConnectionSettings, OriginalDstCluster, Wire
from xds.ir.listener import (
    ByDestination,
    Chain,
    Codec,
    Direction,
    FirstContact,
    Http,
    Listener,
    Tcp,
)
from xds.names import (
    BLACK_HOLE,
    DETECT,
    FIRST_CONTACT_ROUTES,
    IN,
    IN_HTTP2,
    LOOP,
    OUTBOUND,
    PASSTHROUGH,
)

OUTBOUND_PORT: Final = 15001
LOOP_PORT: Final = 15002
DETECT_PORT: Final = 15003
INBOUND_PORT: Final = 15006
READY_PORT: Final = 15021
"""Nothing listens there: a connection that is answered came through the redirection."""

GUARDED: Final = (OUTBOUND_PORT, LOOP_PORT, DETECT_PORT, INBOUND_PORT)
"""Ports of the sidecar's own listeners. One that is dialled directly would lead to itself."""
OWN_PORTS: Final = (*GUARDED, READY_PORT)

LOOPBACK: Final = "127.0.0.1"
ANY: Final = "0.0.0.0"  # noqa: S104  # redirected connections keep their own addresses
ANY6: Final = "::"
SOURCES: Final = ("127.0.0.6", "::1")
"""Addresses from which connections are handed to the application, so that the kernel's rules tell
them from others and do not redirect them again."""

FOREVER: Final = timedelta(0)
"""No idle timeout: the application's own connections are never cut for being quiet."""
UNDECLARED_SILENCE: Final = timedelta(milliseconds=200)
"""How long a server that speaks first waits on a port of undeclared protocol. HTTP that comes later
is not lost: it is forwarded as TCP, without its routes."""
APP_IDLE: Final = timedelta(milliseconds=1500)
"""Servers close idle connections after 2 s or more; the sidecar does first (`inbound`)."""
DETECTED_HTTP: Final = ("http/1.0", "http/1.1", "h2c")
"""What Envoy's HTTP inspector reports for plain text."""
_API_SERVER: Final = ("default", "kubernetes")
_UNLIMITED: Final = CircuitBreakers(*([4_294_967_295] * 4))


def any_address(dual: bool) -> str:
    """Where a redirected listener binds; ``dual``: the pod has an IPv6 address too."""
    return ANY6 if dual else ANY


def has_ipv6(addresses: tuple[str, ...]) -> bool:
    """Whether a pod with these addresses can be reached by IPv6."""
    return any(is_address(text, 6) and not ip_address(text).is_link_local for text in addresses)


def guards(direction: Direction) -> tuple[Chain, ...]:
    return tuple(
        Chain(
            f"guard-{port}",
            Tcp("guard", BLACK_HOLE, direction),
            destination_port=port,
        )
        for port in GUARDED
    )


@query
def contact_ranges(q: Reader) -> tuple[str, ...]:
    """The mesh's ranges in their usual form, each once, sorted."""
    networks = {ip_network(text, strict=False) for text in mesh.mesh_ranges(q)}
    return tuple(str(each) for each in sorted(networks, key=lambda n: (n.version, n)))


def in_mesh(q: Reader, address: str) -> bool:
    """Whether connections to an address are held for first contact."""
    found = ip_address(address)
    return any(found in ip_network(text) for text in contact_ranges(q))


@query
def api_server(q: Reader) -> tuple[str, ...]:
    """Virtual addresses of the Kubernetes API server, as ranges."""
    key = find_service(q, *_API_SERVER)
    found = shape(q, key) if key else None
    texts = found.addresses if found else ()
    return tuple(str(ip_network(text)) for text in texts if is_address(text))


@query
def outbound_listener(q: Reader, dual: bool) -> Listener:
    """No inspector stands here: a destination's own listener is found only after all listener
    filters, and a server that speaks first would wait for them on every connection."""
    direction = Direction.OUTBOUND
    chains = list(guards(direction))
    pass_through = Tcp("passthrough", PASSTHROUGH, direction, FOREVER)
    if addresses := api_server(q):
        # The API server must be reachable while the control plane is not.
        chains.append(Chain("api", pass_through, ranges=addresses))
    chains.append(Chain("first", FirstContact("first", direction), ranges=contact_ranges(q)))
    outside = pass_through if mesh.may_leave(q) else Tcp("refused", BLACK_HOLE, direction)
    return Listener(
        OUTBOUND,
        any_address(dual),
        OUTBOUND_PORT,
        direction,
        tuple(chains),
        default=Chain("outside", outside),
        original_dst=True,
        use_original_dst=True,
        ipv4_compat=dual,
    )


def _contacted(stat_prefix: str) -> Http:
    """One request per connection: the next one finds the destination's own listener."""
    return Http(
        stat_prefix,
        Codec.AUTO,
        FIRST_CONTACT_ROUTES,
        Direction.OUTBOUND,
        stamp_destination=True,
        max_requests_per_connection=1,
    )


def loop_listener() -> Listener:
    """First contact with HTTP."""
    chains = (Chain(LOOP, _contacted(FIRST_CONTACT_ROUTES)),)
    return Listener(LOOP, LOOPBACK, LOOP_PORT, Direction.OUTBOUND, chains, proxy_protocol=True)


def detect_listener() -> Listener:
    """First contact with ports of undeclared protocol."""
    chain = Chain("http", _contacted(DETECT), alpn=DETECTED_HTTP, transport="raw_buffer")
    return Listener(
        DETECT,
        LOOPBACK,
        DETECT_PORT,
        Direction.OUTBOUND,
        (chain,),
        inspect_tls=True,
        inspect_http=True,
        silence=UNDECLARED_SILENCE,
        default=Chain("tcp", ByDestination(DETECT, Direction.OUTBOUND)),
        proxy_protocol=True,
    )


def passthrough_cluster() -> OriginalDstCluster:
    """As if there were no mesh: to where the connection was going, in what the client speaks."""
    return OriginalDstCluster(PASSTHROUGH, Wire.AS_CLIENT, breakers=_UNLIMITED)


def inbound_cluster(http2: bool, dual: bool) -> OriginalDstCluster:
    """The application, at the address that was dialled: ``in`` for HTTP/1.1 and TCP, ``in-h2``."""
    return OriginalDstCluster(
        IN_HTTP2 if http2 else IN,
        Wire.HTTP2 if http2 else Wire.HTTP1,
        sources=SOURCES if dual else SOURCES[:1],
        breakers=_UNLIMITED,
        connection=ConnectionSettings(idle_timeout=APP_IDLE),
    )
