"""Which HTTPRoutes decide about a Service port, for clients of which namespace.

A *producer* route stands in the Service's namespace and holds for everyone. A *consumer* route
stands in another one and holds for the clients there, instead of the producer's (GEP-1426). The
namespace is part of a virtual host's key only where that makes a difference: see `view`.
"""

from typing import NamedTuple

from controlplane.api.gateway import HTTPRouteSpec, ParentRef
from controlplane.graph import Reader, query
from controlplane.translate.policies.order import by_precedence
from controlplane.translate.scope import PortRef
from controlplane.translate.services import service_port
from controlplane.world.rows import Key
from controlplane.world.schema import HTTP_ROUTES, ROUTES_BY_PARENT

CORE_GROUPS = ("", "core")


class Candidate(NamedTuple):
    route: Key
    parents: tuple[ParentRef, ...]
    """Those that name the Service, whatever their port."""


@query
def route_spec(q: Reader, key: Key) -> HTTPRouteSpec | None:
    """A route without its metadata."""
    row = q.get(HTTP_ROUTES, key)
    return row.spec if row else None


def names_service(parent: ParentRef, route: Key) -> tuple[str, str] | None:
    """(namespace, name) of the Service that a parentRef names; None when it names another kind."""
    if parent.kind != "Service" or parent.group not in CORE_GROUPS:
        return None
    return (parent.namespace or route.namespace, parent.name)


@query
def candidates(q: Reader, namespace: str, service: str) -> tuple[Candidate, ...]:
    """Every route with the Service as a parent, by precedence: older, then namespace/name."""
    return tuple(
        Candidate(row.key, parents)
        for row in by_precedence(q.find(ROUTES_BY_PARENT, (namespace, service)))
        if (
            parents := tuple(
                parent
                for parent in row.spec.parent_refs
                if names_service(parent, row.key) == (namespace, service)
            )
        )
    )


def fits(parent: ParentRef, port: int, name: str) -> bool:
    """Whether a parentRef means this port: no port and no sectionName means all."""
    if parent.port is not None and parent.port != port:
        return False
    return parent.section_name is None or parent.section_name == name


@query
def on_port(q: Reader, ref: PortRef) -> tuple[Key, ...]:
    """Routes attached to a Service port, from any namespace, by precedence."""
    port = service_port(q, ref)
    name = port.name if port else ""
    return tuple(
        candidate.route
        for candidate in candidates(q, ref.namespace, ref.service)
        if any(fits(parent, ref.port, name) for parent in candidate.parents)
    )


@query
def attached(q: Reader, view: str, ref: PortRef) -> tuple[Key, ...]:
    """Routes that decide for clients of a view, by precedence."""
    routes = on_port(q, ref)
    own = tuple(route for route in routes if view and route.namespace == view)
    return own or tuple(route for route in routes if route.namespace == ref.namespace)


@query
def view(q: Reader, namespace: str, ref: PortRef) -> str:
    """The namespace if clients there see the port in a way of their own, else empty.

    They do in the Service's namespace (short names) and where a consumer route stands.
    """
    if namespace == ref.namespace:
        return namespace
    own = any(route.namespace == namespace for route in on_port(q, ref))
    return namespace if own else ""
