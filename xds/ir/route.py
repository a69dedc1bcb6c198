"""Virtual hosts and routes."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True, slots=True)
class PathExact:
    value: str


@dataclass(frozen=True, slots=True)
class PathPrefix:
    """Prefix on whole path segments (Gateway API PathPrefix, Envoy path_separated_prefix)."""

    value: str


@dataclass(frozen=True, slots=True)
class PathRegex:
    """RE2, matched against the whole path without the query."""

    value: str


PathMatch = PathExact | PathPrefix | PathRegex


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """A header or query parameter that must be present with a value."""

    name: str
    value: str
    regex: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    path: PathMatch = PathPrefix("/")
    headers: tuple[ValueMatch, ...] = ()
    query: tuple[ValueMatch, ...] = ()
    method: str = ""
    """``CONNECT`` is Envoy's connect_matcher: it has no path, so ``path`` is not read."""
    share: int | None = None
    """Parts per million of the requests that match; the others go on to the next route
    (runtime_fraction). Gateway API: the share of a backend that does not exist gets a 500."""


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Pairs are (name, value)."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backend:
    cluster: str
    weight: int = 1
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()


@dataclass(frozen=True, slots=True)
class Retry:
    """envoy.config.route.v3.RetryPolicy. ``attempts`` counts retries, not the first try."""

    attempts: int
    conditions: tuple[str, ...]
    status_codes: tuple[int, ...] = ()
    per_try_timeout: timedelta | None = None
    backoff_base: timedelta = timedelta(milliseconds=25)
    backoff_max: timedelta = timedelta(milliseconds=250)


@dataclass(frozen=True, slots=True)
class Delay:
    """``share``: parts per million of the requests, above 0."""

    duration: timedelta
    share: int


@dataclass(frozen=True, slots=True)
class Abort:
    """``status`` is a gRPC status with ``grpc``, else an HTTP status; ``share`` as in `Delay`."""

    status: int
    share: int
    grpc: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """Failures made on purpose before a request is sent, once per request whatever its retries."""

    delay: Delay | None = None
    abort: Abort | None = None


@dataclass(frozen=True, slots=True)
class PathReplacement:
    """``prefix`` replaces the matched prefix, ``full`` the whole path."""

    kind: Literal["prefix", "full"]
    value: str


@dataclass(frozen=True, slots=True)
class HashOn:
    """What a hashed balancer hashes: a request header, a cookie, or the source address."""

    kind: Literal["header", "cookie", "source-address"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Forward:
    backends: tuple[Backend, ...]
    timeout: timedelta | None = None
    """Whole request. ``None``: no limit (a stream may live for ever)."""
    retry: Retry | None = None
    fault: Fault | None = None
    rewrite_host: str = ""
    rewrite_path: PathReplacement | None = None
    request_headers: HeaderEdits = HeaderEdits()
    response_headers: HeaderEdits = HeaderEdits()
    hash_on: tuple[HashOn, ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    status: int = 302
    scheme: str = ""
    host: str = ""
    port: int | None = None
    path: PathReplacement | None = None


@dataclass(frozen=True, slots=True)
class Respond:
    """A reply made by the sidecar itself, with a text that says why."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Which objects made a route; goes into access logs. Each is ``namespace/name``."""

    route: str = ""
    rule: str = ""
    policies: tuple[str, ...] = ()
    """``Kind namespace/name``."""


@dataclass(frozen=True, slots=True)
class Route:
    name: str
    match: Match
    action: Forward | Redirect | Respond
    origin: Origin = Origin()


@dataclass(frozen=True, slots=True)
class VirtualHost:
    name: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A whole route configuration made of complete virtual hosts.

    ``px`` and ``pxfc`` are not built from this: they are joined per stream from fragments
    (`xds.build.routes.join_proxy_routes`).
    """

    name: str
    hosts: tuple[VirtualHost, ...]
