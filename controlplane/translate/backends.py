"""backendRefs: from a reference to the cluster that carries its requests, or to what is wrong.

A backend that does not exist keeps its share of the requests, and they get a 500 (Gateway API,
HTTPRouteRule.backendRefs); so a typing error is seen and never silently sent elsewhere.
"""

from typing import NamedTuple

from controlplane.api.gateway import BackendRef
from controlplane.api.problem import Reason
from controlplane.graph import Reader
from controlplane.translate.clusters import Upstream, http_kind
from controlplane.translate.filters import backend_filters
from controlplane.translate.scope import PortRef
from controlplane.translate.services import find_service, port_numbers, shape
from controlplane.world.rows import Key
from xds.ir.route import HeaderEdits


class Fault(NamedTuple):
    """``field`` is a path below the reference."""

    field: str
    reason: Reason
    message: str
    remedy: str


class Resolved(NamedTuple):
    upstream: Upstream
    weight: int
    request_headers: HeaderEdits
    response_headers: HeaderEdits


def resolve(
    q: Reader, route: Key, parents: tuple[str, ...], backend: BackendRef
) -> Resolved | Fault:
    """The upstream of one backendRef.

    ``parents`` are the namespaces of the route's parent Services: a route may send traffic to its
    own namespace and to its parents', where it may anyway. Others need a ReferenceGrant, which is
    not read.
    """
    if backend.kind != "Service" or backend.group not in ("", "core"):
        kind = f"{backend.group}/{backend.kind}" if backend.group else backend.kind
        return Fault(
            "kind",
            Reason.UNSUPPORTED_VALUE,
            f"{kind} {backend.name} is no backend",
            "Refer to a Service (group empty, kind Service)",
        )
    namespace = backend.namespace or route.namespace
    if namespace not in (route.namespace, *parents):
        return Fault(
            "namespace",
            Reason.UNSUPPORTED_VALUE,
            f"Service {namespace}/{backend.name} is in another namespace, and ReferenceGrants "
            "are not read",
            f"Put the route into namespace {namespace}, or give it a parent there",
        )
    key = find_service(q, namespace, backend.name)
    if key is None:
        return Fault(
            "name",
            Reason.BACKEND_NOT_FOUND,
            f"there is no Service {namespace}/{backend.name}",
            "Create it, or correct the name; its share of the requests gets a 500",
        )
    return _on_port(q, key, backend)


def _on_port(q: Reader, key: Key, backend: BackendRef) -> Resolved | Fault:
    ports = ", ".join(str(number) for number in port_numbers(q, key)) or "none"
    if backend.port is None:
        return Fault(
            "port",
            Reason.BACKEND_NOT_FOUND,
            f"the port of Service {key.namespace}/{key.name} is missing",
            f"Set port; the Service has {ports}",
        )
    ref = PortRef(key.cluster, key.namespace, key.name, backend.port)
    service = shape(q, key)
    kind = http_kind(q, ref)
    if kind is None and service and service.port(backend.port):
        return Fault(
            "port",
            Reason.UNSUPPORTED_VALUE,
            f"port {backend.port} of Service {key.namespace}/{key.name} is declared TCP or TLS",
            "Declare it HTTP (appProtocol: http), or do not route HTTP to it",
        )
    if kind is None:
        return Fault(
            "port",
            Reason.BACKEND_NOT_FOUND,
            f"Service {key.namespace}/{key.name} has no port {backend.port}",
            f"Use one of its ports: {ports}",
        )
    request, response, faults = backend_filters(backend.filters)
    if faults:
        field, message = faults[0]
        inside = "." in field  # a setting of a filter, not the filter itself
        remedy = (
            "Correct it; until then its share of the requests gets a 500"
            if inside
            else "Move the filter to the rule"
        )
        return Fault(field, Reason.UNSUPPORTED_VALUE, message, remedy)
    return Resolved(Upstream(ref, kind), backend.weight, request, response)
