"""The grammar of resource names. Every name on the wire is built and parsed here, nowhere else.

The separator is ``|``; there are no dots or slashes, so that Envoy's statistics tags survive.
Names of backends come from their Service, never from an address, because routes share backends.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

SEPARATOR: Final = "|"
MAX_AUTHORITY: Final = 255
"""Longest authority, in bytes, that is answered on demand (RFC 1035 name plus a port)."""

# Fixed listeners, routes and clusters.
OUTBOUND: Final = "outbound"
LOOP: Final = "loop"
DETECT: Final = "detect"
IN: Final = "in"
IN_HTTP2: Final = "in-h2"
PROXY: Final = "proxy"
PROXY_LOOP: Final = "ploop"
FIRST_CONTACT_ROUTES: Final = "fc"
PROXY_ROUTES: Final = "px"
PROXY_LOOP_ROUTES: Final = "pxfc"
BLACK_HOLE: Final = "BlackHole"
PASSTHROUGH: Final = "Passthrough"
XDS_CLUSTER: Final = "xds"
LOCAL_CLUSTER: Final = "local"
IDENTITY_SECRET: Final = "identity"  # noqa: S105  # a name

ClusterKind = Literal["h", "m", "t"]
"""``h``: HTTP/2 on the wire between sidecars. ``m``: HTTP/1.1 on the wire, for a Service some of
whose pods have no sidecar. ``t``: TCP and TLS."""


@dataclass(frozen=True, slots=True)
class BackendName:
    """A cluster of a Service port: ``h|ns|svc|port[|subset][@cluster]``."""

    kind: ClusterKind
    namespace: str
    service: str
    port: int
    subset: str = ""
    cluster: str = ""

    def __str__(self) -> str:
        parts = [self.kind, self.namespace, self.service, str(self.port)]
        if self.subset:
            parts.append(self.subset)
        return SEPARATOR.join(parts) + (f"@{self.cluster}" if self.cluster else "")

    @property
    def endpoints(self) -> str:
        """Name of the load assignment, shared by the kinds: ``e|ns|svc|port[|subset]``."""
        parts = ["e", self.namespace, self.service, str(self.port)]
        if self.subset:
            parts.append(self.subset)
        return SEPARATOR.join(parts) + (f"@{self.cluster}" if self.cluster else "")


@dataclass(frozen=True, slots=True)
class AskedName:
    """A name that Envoy asks for on demand: ``f|IP:port|bucket`` or ``a|authority|bucket``."""

    capture: Literal["f", "a"]
    target: str
    bucket: str

    def __str__(self) -> str:
        return SEPARATOR.join((self.capture, self.target, self.bucket))


def parse_backend(name: str) -> BackendName | None:
    """Parse a Service port's cluster name; ``None`` when ``name`` is something else."""
    body, _, cluster = name.partition("@")
    parts = body.split(SEPARATOR)
    if len(parts) not in (4, 5) or parts[0] not in ("h", "m", "t") or not parts[3].isdecimal():
        return None
    subset = parts[4] if len(parts) == 5 else ""
    kind: ClusterKind = "h" if parts[0] == "h" else "m" if parts[0] == "m" else "t"
    return BackendName(kind, parts[1], parts[2], int(parts[3]), subset, cluster)


def parse_asked(name: str) -> AskedName | None:
    """Parse an on-demand name. The bucket stands after the LAST separator.

    Returns ``None`` for any other name, and for an authority over ``MAX_AUTHORITY`` bytes.
    """
    head, _, bucket = name.rpartition(SEPARATOR)
    if head[:2] not in ("f|", "a|") or not bucket or not head[2:]:
        return None
    target = head[2:]
    if len(target.encode()) > MAX_AUTHORITY:
        return None
    return AskedName("f" if head[0] == "f" else "a", target, bucket)


def external(namespace: str, name: str, port: int) -> str:
    """Cluster of an external service: ``x|ns|name|port``."""
    return SEPARATOR.join(("x", namespace, name, str(port)))


def outside(host: str, port: int) -> str:
    """Cluster of a host outside the mesh that no object names: ``x||host|port``.

    Dots would break statistics tags: ``.`` becomes ``_``, and ``_`` becomes ``__``.
    """
    return external("", host.replace("_", "__").replace(".", "_"), port)


def refused_host(authority: str) -> str:
    """Virtual host that answers for an authority which leads nowhere: ``n|authority``."""
    return SEPARATOR.join(("n", authority))


def routes(namespace: str, service: str, port: int) -> str:
    """Route configuration of a Service port: ``r|ns|svc|port``."""
    return SEPARATOR.join(("r", namespace, service, str(port)))


def promoted_listener(address: str, port: int) -> str:
    """Listener of a promoted destination: ``p|IP:port``; IPv6 as Envoy prints it, ``[..]:port``."""
    return f"p{SEPARATOR}{socket_address(address, port)}"


def socket_address(address: str, port: int) -> str:
    """``IP:port`` as Envoy prints it: ``[..]:port`` for IPv6."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parse_socket(text: str) -> tuple[str, int] | None:
    """(address, port) of ``IP:port``, the target of a name ``f|...``; ``None`` for anything else,
    an address in another form than the usual one included."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if "%" in host:
        return None  # a scope id (RFC 4007) may hold any characters, and means nothing here
    good = colon and re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 65536
    if not good or socket_address(str(address), int(port)) != text:
        return None
    return str(address), int(port)


def parse_promoted(name: str) -> str | None:
    """``IP:port`` of a promoted listener's name; ``None`` for any other name."""
    head, _, target = name.partition(SEPARATOR)
    return target if head == "p" and parse_socket(target) else None


def detected(address: str, port: int) -> str:
    """Cluster of a destination that turned out not to speak HTTP: ``d|IP:port``."""
    return f"d{SEPARATOR}{socket_address(address, port)}"


def service_pods(namespace: str, service: str, port: int, kind: Literal["h", "t"]) -> str:
    """Cluster of the pods of a Service, each by its own address: ``o|ns|svc|port|h``."""
    return SEPARATOR.join(("o", namespace, service, str(port), kind))


def account_pods(namespace: str, account: str, kind: Literal["h", "t"]) -> str:
    """Cluster of the pods of a service account, each by its own address: ``o|ns|account|h``.

    Accounts may have dots, which would break statistics tags; ``_`` they cannot have.
    """
    return SEPARATOR.join(("o", namespace, account.replace(".", "_"), kind))


def plain_routes(namespace: str, service: str, port: int) -> str:
    """Route configuration of a Service port for pods without a sidecar, each by its own address:
    ``r|ns|svc|port|plain``."""
    return SEPARATOR.join((routes(namespace, service, port), "plain"))


def forward_listener(namespace: str, service: str, port: int) -> str:
    """Proxy mode: listener of a declared TCP forward, ``q|ns|svc|port``."""
    return SEPARATOR.join(("q", namespace, service, str(port)))


def inbound_listener(port: int) -> str:
    """Proxy mode: listener of one inbound port, ``in|port``; a taken port spoils no other."""
    return f"{IN}{SEPARATOR}{port}"


def inbound_cluster(port: int, protocol: str) -> str:
    """Proxy mode: cluster of the application behind an inbound port, ``in|port|h1``."""
    return SEPARATOR.join((IN, str(port), protocol))


def roots_secret(trust_domain: str) -> str:
    """Validation context with a trust domain's roots: ``roots|<trust-domain>``."""
    return f"roots{SEPARATOR}{trust_domain}"


def sni(namespace: str, service: str, port: int, domain: str) -> str:
    """Upstream SNI of a Service port: ``p<port>.<svc>.<ns>.<domain>``."""
    return f"p{port}.{service}.{namespace}.{domain}"


def spiffe_id(trust_domain: str, namespace: str, account: str) -> str:
    """``spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>``."""
    return f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}"
