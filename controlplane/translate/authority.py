"""From the authority of a request to what it means, for a client of one namespace.

A Service answers to svc (in its own namespace), svc.ns, svc.ns.svc, svc.ns.svc.<domain> and its
virtual address, each with a port; without one, port 80 is meant. Everything else is outside the
mesh, or a mistake that is answered with a text that says what is wrong.
"""

import re
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate import mesh
from controlplane.translate.clusters import http_kind
from controlplane.translate.instances import pod_at
from controlplane.translate.scope import PortRef
from controlplane.translate.services import external_host, find_service, port_numbers, service_at
from controlplane.world.rows import Key
from controlplane.world.schema import SERVICES_BY_NAMESPACE
from xds.names import MAX_AUTHORITY

DEFAULT_PORT: Final = 80
COMPARED: Final = 20
"""Most names that an unknown one is compared with, at 10 us each."""
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?")


class Authority(NamedTuple):
    """A parsed authority: lower case; ``host`` of an IPv6 address without brackets."""

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


class Outside(NamedTuple):
    """A host that no object of the mesh names."""

    host: str
    port: int


class Refused(NamedTuple):
    """``text`` says what is wrong and what to do; it is the body of the reply."""

    status: int
    text: str


class Dead(NamedTuple):
    """An authority as asked for by clients of a namespace, that leads nowhere."""

    namespace: str
    authority: str


Meaning = PortRef | Outside | Refused
MALFORMED: Final = Refused(400, "this is no authority; ask for SERVICE.NAMESPACE:PORT")
"""Of what cannot be a virtual host's domain."""


def parse(text: str) -> Authority | None:
    """Parse ``host[:port]``. None for what cannot be a virtual host's domain: wildcards, user
    information, a bad port, more than `MAX_AUTHORITY` bytes."""
    if not text or len(text.encode()) > MAX_AUTHORITY:
        return None
    text = text.lower()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_address(host) or ":" not in host:
            return None
    else:
        host, colon, port_text = text.partition(":")
        rest = colon + port_text
        if not _HOST.fullmatch(host) or ".." in host:
            return None
    if not rest:
        return Authority(host, None)
    if not re.fullmatch(r":[0-9]{1,5}", rest) or not 0 < int(rest[1:]) < 65536:
        return None
    return Authority(host, int(rest[1:]))


def _is_address(host: str) -> bool:
    if "%" in host:
        return False  # a scope id (RFC 4007) may hold any characters, and means nothing here
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def split_service(host: str, namespace: str, domain: str) -> tuple[str, str] | None:
    """(namespace, service) if a host has a form of a Service's name; it need not exist."""
    for suffix in (f".svc.{domain}", ".svc"):
        if host.endswith(suffix):
            name, dot, where = host.removesuffix(suffix).partition(".")
            if dot:
                return (where, name) if name and where and "." not in where else None
            # A namespace may be called svc: what is left has no namespace of its own.
    name, dot, where = host.partition(".")
    if not dot:
        return (namespace, name)
    return (where, name) if where and "." not in where else None


@query
def resolve(q: Reader, namespace: str, text: str) -> Meaning:
    """What an authority means to a client of ``namespace``."""
    authority = parse(text)
    if authority is None:
        return MALFORMED
    if authority.host.endswith("."):
        return Refused(502, f"{authority.host} ends with a dot. Ask for it without")
    if _is_address(authority.host):
        return _address(q, authority)
    parts = split_service(authority.host, namespace, mesh.cluster_domain(q))
    key = find_service(q, *parts) if parts else None
    if key is not None:
        return _service(q, key, authority)
    if _mistaken(q, authority.host, parts):
        return Refused(502, _unknown(q, namespace, authority, parts))
    return _outside(q, authority)


def _service(q: Reader, key: Key, authority: Authority) -> Meaning:
    port = DEFAULT_PORT if authority.port is None else authority.port
    ref = PortRef(key.cluster, key.namespace, key.name, port)
    ports = port_numbers(q, key)
    if port not in ports and not (external_host(q, key) and not ports):
        listed = ", ".join(map(str, ports)) or "none"
        asked = (
            f"no port {port}" if authority.port else f"no port {port}, which is meant without one"
        )
        return Refused(
            502,
            f"Service {key.namespace}/{key.name} has {asked}; its ports: {listed}. "
            f"Ask for {authority.host}:PORT",
        )
    if http_kind(q, ref) is None:
        return Refused(
            502,
            f"port {port} of Service {key.namespace}/{key.name} is declared TCP or TLS, and this "
            "is an HTTP proxy. Declare a forward on the pod, mesh.plait.dev/tcp-forwards: "
            f"'LOCALPORT:{key.name}.{key.namespace}:{port}', or declare the port appProtocol: http",
        )
    return ref


def _address(q: Reader, authority: Authority) -> Meaning:
    address = ip_address(authority.host)
    if str(address) != authority.host:
        return Refused(502, f"{authority.host} is not the usual form; ask for {address}")
    key = service_at(q, authority.host)
    if key is not None:
        return _service(q, key, authority)
    pod = pod_at(q, authority.host)
    if pod is not None:
        return Refused(
            502,
            f"{authority.host} is the address of pod {pod.namespace}/{pod.name}, and single pods "
            "are not reached through the HTTP proxy. Ask for a Service that selects it",
        )
    for text in mesh.mesh_ranges(q):
        if address in ip_network(text, strict=False):
            return Refused(
                502,
                f"{authority.host} is in the mesh's range {text}, and no Service has this "
                "address. Ask for the Service by name",
            )
    return _outside(q, authority)


def _mistaken(q: Reader, host: str, parts: tuple[str, str] | None) -> bool:
    """Whether an unknown name can only have meant a Service: one label, a name under ``.svc``, or
    one in a namespace that has Services."""
    domain = mesh.cluster_domain(q)
    if "." not in host or host.endswith((".svc", f".svc.{domain}")):
        return True
    return parts is not None and bool(q.find(SERVICES_BY_NAMESPACE, (parts[0],)))


def _unknown(q: Reader, namespace: str, authority: Authority, parts: tuple[str, str] | None) -> str:
    if parts is None:
        return (
            f"{authority.host} is no name of a Service. Ask for SERVICE.NAMESPACE:PORT; single "
            "pods are not reached through the HTTP proxy"
        )
    where, name = parts
    known = [row.key.name for row in q.find(SERVICES_BY_NAMESPACE, (where,))]
    text = f"there is no Service {name!r} in namespace {where!r}"
    if not known:
        return f"{text}, nor any other. Check the namespace: ask for SERVICE.NAMESPACE:PORT"
    if near := _near(name, known):
        return f"{text}; did you mean {near[0]}?"
    elsewhere = " For one in another namespace ask for SERVICE.NAMESPACE:PORT"
    return f"{text}.{elsewhere if where == namespace else ' Check the name'}"


def _near(name: str, known: list[str]) -> list[str]:
    """The likeliest of ``known``, if any. Applications ask for whatever they like, and each change
    of a namespace's Services comes by here for every name asked in vain: so only names that share
    a half with ``name``, as after one slip of the finger, are compared."""
    half = max(2, len(name) // 2)
    first, last, size = name[:half], name[-half:], len(name)
    like = [
        each
        for each in known
        if -2 <= len(each) - size <= 2 and (each.startswith(first) or each.endswith(last))
    ]
    return get_close_matches(name, like[:COMPARED], n=1, cutoff=0.6)


def _outside(q: Reader, authority: Authority) -> Meaning:
    if mesh.may_leave(q):
        return Outside(authority.host, authority.port or DEFAULT_PORT)
    return Refused(
        403,
        f"{authority.host} is outside the mesh, and MeshConfig plait-system/default says "
        "outside: Refuse. Make it a Service of type ExternalName, or set outside: Allow",
    )
