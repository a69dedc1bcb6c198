"""What is wrong with an HTTPRoute: parents, matches, filters, backends, and who overrides it."""

from collections.abc import Iterator

from controlplane.api.gateway import HTTPRouteSpec, ParentRef, RouteRule
from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.graph import Reader
from controlplane.translate.attached import attached, fits, names_service, on_port, route_spec
from controlplane.translate.backends import Fault
from controlplane.translate.clusters import http_kind
from controlplane.translate.filters import rule_filters
from controlplane.translate.matches import faults
from controlplane.translate.routes import rule_count, rule_matches
from controlplane.translate.rules import backends_of, rule_name, shifted
from controlplane.translate.scope import PortRef
from controlplane.translate.services import find_service, shape
from controlplane.world.rows import Key


def check(q: Reader, key: Key) -> Iterator[Problem]:
    spec = route_spec(q, key)
    if spec is None:
        return
    me = ObjectRef("HTTPRoute", key.namespace, key.name)
    if spec.hostnames and any(names_service(parent, key) for parent in spec.parent_refs):
        yield Problem(
            me,
            Reason.UNSUPPORTED_VALUE,
            "hostnames are not looked at when the parent is a Service",
            "Remove them: the Service's own names are what the route applies to",
            "spec.hostnames",
            Severity.WARNING,
        )
    for i, parent in enumerate(spec.parent_refs):
        yield from _parent(q, me, key, parent, f"spec.parentRefs[{i}]")
    refs = attached_ports(q, key, spec)
    for i, rule in enumerate(spec.rules):
        yield from _rule(q, me, key, spec, rule, i, refs)
        yield from _overridden(q, me, key, rule, i, refs)


def attached_ports(q: Reader, key: Key, spec: HTTPRouteSpec) -> tuple[PortRef, ...]:
    """Every Service port that a route is attached to, sorted."""
    found: set[PortRef] = set()
    for service in {s for parent in spec.parent_refs if (s := names_service(parent, key))}:
        where = find_service(q, *service)
        known = shape(q, where) if where else None
        for port in known.ports if known else ():
            assert known is not None
            ref = PortRef(known.key.cluster, *service, port.port)
            if key in on_port(q, ref):
                found.add(ref)
    return tuple(sorted(found))


def _parent(q: Reader, me: ObjectRef, key: Key, parent: ParentRef, field: str) -> Iterator[Problem]:
    if parent.kind != "Service":
        # A Gateway's routes are another controller's.
        return
    named = names_service(parent, key)
    if named is None:
        message = f"kind Service is in the core group, not in {parent.group!r}"
        yield Problem(me, Reason.NO_MATCHING_PARENT, message, 'Write group: ""', f"{field}.group")
        return
    where = find_service(q, *named)
    service = shape(q, where) if where else None
    name = "/".join(named)
    if service is None:
        message, remedy = f"there is no Service {name}", "Create it, or correct the reference"
        yield Problem(me, Reason.NO_MATCHING_PARENT, message, remedy, f"{field}.name")
        return
    ports = [port for port in service.ports if fits(parent, port.port, port.name)]
    listed = ", ".join(f"{p.port} ({p.name})" if p.name else str(p.port) for p in service.ports)
    if not ports and not service.external_name:
        which = "port" if parent.port is not None else "sectionName"
        asked = parent.port if parent.port is not None else parent.section_name
        message = f"Service {name} has no port {asked}"
        remedy = f"Use one of its ports: {listed or 'none'}"
        yield Problem(me, Reason.NO_MATCHING_PARENT, message, remedy, f"{field}.{which}")
    closed = [
        p for p in ports if http_kind(q, PortRef(service.key.cluster, *named, p.port)) is None
    ]
    if ports and len(closed) == len(ports):
        message = f"every port of Service {name} that is meant is declared TCP or TLS"
        remedy = "Declare the port HTTP (appProtocol: http), or remove the route"
        yield Problem(me, Reason.UNSUPPORTED_VALUE, message, remedy, field)


def _rule(
    q: Reader,
    me: ObjectRef,
    key: Key,
    spec: HTTPRouteSpec,
    rule: RouteRule,
    index: int,
    refs: tuple[PortRef, ...],
) -> Iterator[Problem]:
    where = f"spec.rules[{index}]"
    for i, match in enumerate(rule.matches):
        for field, message in faults(match):
            remedy = "Correct it; until then this match takes no requests"
            yield Problem(me, Reason.INVALID, message, remedy, f"{where}.matches[{i}].{field}")
    filters = rule_filters(rule)
    for field, message in filters.faults:
        remedy = "Correct it; until then requests of this rule get a 500"
        yield Problem(me, Reason.INVALID, message, remedy, f"{where}.{field}")
    if filters.redirect:
        return
    moved = any(shifted(q, ref, key, index) for ref in refs)
    for i, found in enumerate(backends_of(q, key, spec, rule)):
        if isinstance(found, Fault):
            field = f"{where}.backendRefs[{i}].{found.field}"
            level = Severity.WARNING if moved else Severity.ERROR
            yield Problem(me, found.reason, found.message, found.remedy, field, level)
    if not rule.backend_refs:
        message = "the rule has no backendRefs, so its requests get a 500"
        yield Problem(me, Reason.INVALID, message, "Name a backend", f"{where}.backendRefs")
    elif not moved and all(backend.weight == 0 for backend in rule.backend_refs):
        message = "all weights are 0, so requests of this rule get a 500"
        remedy = "Give a backend a weight"
        yield Problem(me, Reason.INVALID, message, remedy, f"{where}.backendRefs")


def _overridden(
    q: Reader, me: ObjectRef, key: Key, rule: RouteRule, index: int, refs: tuple[PortRef, ...]
) -> Iterator[Problem]:
    """Matches that another route of the same port has too, and takes first."""
    mine = rule_matches(q, key, index)
    for ref in refs:
        for other in attached(q, key.namespace, ref):
            if other == key:
                break
            theirs = {
                match for i in range(rule_count(q, other)) for match in rule_matches(q, other, i)
            }
            for i, match in enumerate(mine):
                if match in theirs:
                    yield Problem(
                        me,
                        Reason.CONFLICTED,
                        f"HTTPRoute {other.namespace}/{other.name} has the same match for {ref} "
                        "and wins: older, else first by namespace and name",
                        f"Remove rule {rule_name(rule, index)}, or make its match more specific",
                        f"spec.rules[{index}].matches[{i}]",
                        Severity.WARNING,
                    )
