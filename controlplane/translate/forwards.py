"""TCP in proxy mode: the pod annotation ``mesh.plait.dev/tcp-forwards``.

``5000:ledger.shop:9000[,...]`` opens port 5000 of the pod's address and forwards its connections to
port 9000 of Service ledger in namespace shop. A part that cannot be read, or a port that is taken,
costs that forward alone.
"""

import re
from typing import Final, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate.inbound import inbound_ports
from controlplane.translate.instances import instance
from controlplane.translate.scope import PortRef
from controlplane.translate.services import external_host, find_service, port_numbers
from controlplane.translate.workloads import PROXY_LOOP_PORT as PROXY_LOOP_PORT
from controlplane.translate.workloads import PROXY_PORT as PROXY_PORT
from controlplane.world.rows import Key

EXAMPLE: Final = "5000:ledger.shop:9000"
_NUMBER: Final = re.compile(r"[0-9]{1,5}")


class Forward(NamedTuple):
    """``target`` is None when there is no such Service or port: connections are closed."""

    local: int
    namespace: str
    service: str
    port: int
    target: PortRef | None


class Fault(NamedTuple):
    text: str
    message: str
    remedy: str


def parse(text: str, namespace: str) -> tuple[int, str, str, int] | None:
    """(local port, namespace, service, port) of one forward; None when it is not of that form."""
    parts = text.strip().split(":")
    if len(parts) != 3 or not all(_NUMBER.fullmatch(part) for part in (parts[0], parts[2])):
        return None
    local, port = int(parts[0]), int(parts[2])
    service, _, where = parts[1].lower().partition(".")
    if not service or not (0 < local < 65536 and 0 < port < 65536):
        return None
    # svc, svc.ns, svc.ns.svc[.domain]: what follows the namespace says nothing.
    return local, where.partition(".")[0] or namespace, service, port


def _texts(q: Reader, pod: Key) -> tuple[str, ...]:
    found = instance(q, pod)
    return tuple(t for t in found.forwards.split(",") if t.strip()) if found else ()


def _read(q: Reader, pod: Key) -> tuple[list[Forward], list[Fault]]:
    good: list[Forward] = []
    bad: list[Fault] = []
    taken = {port.port: "an inbound port of the pod" for port in inbound_ports(q, pod)}
    taken |= {PROXY_PORT: "the HTTP proxy", PROXY_LOOP_PORT: "the HTTP proxy's loop"}
    seen: set[tuple[str, str, int]] = set()
    for text in _texts(q, pod):
        parsed = parse(text, pod.namespace)
        if parsed is None:
            message = f"{text.strip()!r} is no forward"
            bad.append(Fault(text, message, f"Write LOCALPORT:SERVICE.NAMESPACE:PORT, {EXAMPLE}"))
            continue
        local, namespace, service, port = parsed
        if local in taken:
            message = f"port {local} is already {taken[local]}"
            bad.append(Fault(text, message, "Use another local port"))
            continue
        if (namespace, service, port) in seen:
            message = f"{service}.{namespace}:{port} has a forward already"
            bad.append(Fault(text, message, "Remove one of the two"))
            continue
        seen.add((namespace, service, port))
        taken[local] = f"the forward {text.strip()}"
        target, fault = _target(q, namespace, service, port)
        good.append(Forward(local, namespace, service, port, target))
        if fault:
            bad.append(Fault(text, *fault))
    return good, bad


def _target(
    q: Reader, namespace: str, service: str, port: int
) -> tuple[PortRef | None, tuple[str, str] | None]:
    key = find_service(q, namespace, service)
    if key is None:
        return None, (
            f"there is no Service {namespace}/{service}",
            "Create it, or correct the name",
        )
    if external_host(q, key):
        message = f"Service {namespace}/{service} is of type ExternalName"
        return None, (message, "Dial its host directly; forwards reach Services of the mesh")
    ports = port_numbers(q, key)
    if port not in ports:
        listed = ", ".join(map(str, ports)) or "none"
        message = f"Service {namespace}/{service} has no port {port}"
        return None, (message, f"Use one of its ports: {listed}")
    return PortRef(key.cluster, namespace, service, port), None


@query
def forwards(q: Reader, pod: Key) -> tuple[Forward, ...]:
    """The TCP forwards of a pod, in the order written."""
    return tuple(_read(q, pod)[0])


@query
def forward_faults(q: Reader, pod: Key) -> tuple[Fault, ...]:
    return tuple(_read(q, pod)[1])
