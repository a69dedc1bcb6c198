"""Route configurations that are joined per stream from shared virtual hosts.

``px`` and ``pxfc`` (proxy mode) and ``fc`` (first contact in redirect mode) are, beside leaves, the
only bytes made per stream, and streams with equal sets share even these. A composition remembers
its parts, so that an ACK approves every virtual host in it and a NACK can be bisected by virtual
host.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

from controlplane.rollout.quarantine import Part
from xds.build.routes import host_fragment, join_first_contact, join_proxy_routes, route_table
from xds.ir.route import Match, Respond, Route, RouteTable, VirtualHost
from xds.wire.resource import Resource

CACHE = 256
CACHE_BYTES = 64 << 20
"""Most bytes of the joined configurations in a cache; one of 2,000 hosts has 2 MB."""

_REJECTED = (
    Route(
        "rejected",
        Match(),
        Respond(503, "plait: Envoy rejected the routes of this destination; see: meshctl status\n"),
    ),
)

Table = Literal["px", "pxfc", "fc"]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Composition:
    """``parts`` are the virtual hosts in it that are judged by its ACK, ``fragments`` all of them;
    ``tried`` those on trial (empty: no trial)."""

    resource: Resource
    parts: tuple[Part, ...]
    fragments: Mapping[Part, "Fragment"]
    tried: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Fragment:
    """A virtual host's bytes and their hash."""

    body: bytes
    version: str
    stands_in: bool = False
    """In place of the virtual host's own bytes, which this stream cannot have."""


def fragment(body: bytes) -> Fragment:
    return Fragment(body, blake2b(body, digest_size=8).hexdigest())


def stand_in(host: VirtualHost) -> Fragment:
    """What stands in for a virtual host that Envoy refuses and that has no last good form."""
    return replace(fragment(host_fragment(replace(host, routes=_REJECTED))), stands_in=True)


@lru_cache(maxsize=1024)
def stand_in_table(name: str) -> Resource:
    """The same for the route configuration of one promoted destination. Without any Envoy would
    answer 404, as if there were no such path."""
    return route_table(RouteTable(name, (VirtualHost(name, ("*",), _REJECTED),)))


class JoinCache:
    """Joined configurations by name and fragments, bounded; the newest used stay."""

    def __init__(self, size: int = CACHE, room: int = CACHE_BYTES) -> None:
        self._size = size
        self._room = room
        self._bytes = 0
        self._joined: OrderedDict[tuple[str, tuple[str, ...]], Resource] = OrderedDict()

    def join(self, name: Table, fragments: tuple[Fragment, ...]) -> Resource:
        key = (name, tuple(each.version for each in fragments))
        found = self._joined.get(key)
        if found is None:
            bodies = (each.body for each in fragments)
            found = join_first_contact(bodies) if name == "fc" else join_proxy_routes(name, bodies)
            self._joined[key] = found
            self._bytes += len(found.entry)
            while len(self._joined) > self._size or self._bytes > self._room:
                self._bytes -= len(self._joined.popitem(last=False)[1].entry)
        else:
            self._joined.move_to_end(key)
        return found
