"""Outbound in proxy mode: the HTTP proxy, its loop, and the listeners of declared TCP forwards.

The proxy serves the authorities it knows (route table ``px``) and asks for others; the answer leads
the first request over the loop, whose table ``pxfc`` has the real rules by then.
"""

from controlplane.graph import Reader, query
from controlplane.translate.clusters import Upstream
from controlplane.translate.forwards import PROXY_LOOP_PORT, PROXY_PORT, Forward, forwards
from controlplane.translate.workloads import workload
from controlplane.world.rows import Key
from xds.ir.listener import Chain, Codec, Direction, Http, Listener, Tcp
from xds.names import (
    BLACK_HOLE,
    PROXY,
    PROXY_LOOP,
    PROXY_LOOP_ROUTES,
    PROXY_ROUTES,
    forward_listener,
)


@query
def bind_address(q: Reader, pod: Key) -> str:
    """The address that a sidecar in proxy mode binds."""
    found = workload(q, pod)
    return found.address if found else ""


@query
def proxy_listener(q: Reader, pod: Key) -> Listener | None:
    address = bind_address(q, pod)
    if not address:
        return None
    filters = Http(PROXY, Codec.AUTO, PROXY_ROUTES, Direction.OUTBOUND, asks=True)
    return Listener(PROXY, address, PROXY_PORT, Direction.OUTBOUND, (Chain(PROXY, filters),))


@query
def loop_listener(q: Reader, pod: Key) -> Listener | None:
    """One request per connection: the pool of an asked-for name, which is removed soon, stays
    empty."""
    address = bind_address(q, pod)
    if not address:
        return None
    filters = Http(
        PROXY_LOOP,
        Codec.AUTO,
        PROXY_LOOP_ROUTES,
        Direction.OUTBOUND,
        max_requests_per_connection=1,
    )
    chains = (Chain(PROXY_LOOP, filters),)
    return Listener(PROXY_LOOP, address, PROXY_LOOP_PORT, Direction.OUTBOUND, chains)


@query
def forward_of(q: Reader, pod: Key, name: str) -> Forward | None:
    """The forward with that listener name."""
    found = (f for f in forwards(q, pod) if listener_name(f) == name)
    return next(found, None)


def listener_name(forward: Forward) -> str:
    return forward_listener(forward.namespace, forward.service, forward.port)


@query
def forward_listener_ir(q: Reader, pod: Key, name: str) -> Listener | None:
    """The listener ``q|ns|svc|port``; to nowhere while its Service does not exist."""
    forward, address = forward_of(q, pod, name), bind_address(q, pod)
    if forward is None or not address:
        return None
    cluster = Upstream(forward.target, "t").name if forward.target else BLACK_HOLE
    chains = (Chain(name, Tcp(name, cluster, Direction.OUTBOUND)),)
    return Listener(name, address, forward.local, Direction.OUTBOUND, chains)
