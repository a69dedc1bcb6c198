"""The routes of a Service port: its HTTPRoutes, its TrafficShift, or the port itself.

With routes attached, what none of their rules matches gets a 404 (GEP-1426). Without any, every
request goes to the port, or is split by the TrafficShift.
"""

from controlplane.graph import Reader, query
from controlplane.translate.attached import attached, route_spec
from controlplane.translate.clusters import Upstream, http_kind
from controlplane.translate.matches import faults, specificity, to_ir
from controlplane.translate.policies.route_policy import fault, request_settings, retry
from controlplane.translate.policies.traffic_policy import traffic_sources
from controlplane.translate.policies.traffic_shift import counterpart, shift_in_effect
from controlplane.translate.rules import hashes, outcome, shifted
from controlplane.translate.scope import PortRef
from controlplane.world.rows import Key
from xds.ir.connect import CONNECT
from xds.ir.route import Backend, Forward, Match, Origin, Respond, Route


@query
def rule_matches(q: Reader, route: Key, index: int) -> tuple[Match, ...]:
    """The matches of a rule that are valid. A rule without matches takes everything."""
    spec = route_spec(q, route)
    if spec is None or index >= len(spec.rules):
        return ()
    rule = spec.rules[index]
    if not rule.matches:
        return (Match(),)
    return tuple(to_ir(match) for match in rule.matches if not faults(match))


@query
def rule_count(q: Reader, route: Key) -> int:
    spec = route_spec(q, route)
    return len(spec.rules) if spec else 0


@query
def rule_routes(q: Reader, ref: PortRef, route: Key, index: int) -> tuple[Route, ...]:
    """The routes of one rule, in the order of its matches, refused shares before the rest."""
    result, found = outcome(q, ref, route, index), rule_matches(q, route, index)
    base = f"{route.namespace}/{route.name}/{result.origin.rule or index}"
    made: list[Route] = []
    for i, match in enumerate(found):
        name = base if len(found) == 1 else f"{base}/{i}"
        if result.refused:
            part = Match(match.path, match.headers, match.query, match.method, result.refused)
            refusal = Respond(500, result.refusal)
            made.append(Route(f"{name}/refused", part, refusal, result.origin))
        made.append(Route(name, match, result.action, result.origin))
    return tuple(made)


@query
def port_routes(q: Reader, view: str, ref: PortRef) -> tuple[Route, ...]:
    """All routes of a Service port for a view, the first match decides."""
    routes = attached(q, view, ref)
    found = [
        made
        for route in routes
        for index in range(rule_count(q, route))
        for made in rule_routes(q, ref, route, index)
    ]
    # The sort is stable: ties keep the order of routes, rules and matches.
    found.sort(key=lambda made: specificity(made.match))
    if not routes or (shift_in_effect(q, ref) and not shift_taken(q, view, ref)):
        found.append(default_route(q, ref))
    else:
        names = ", ".join(f"{route.namespace}/{route.name}" for route in routes)
        text = f"plait: no rule of HTTPRoute {names} matches this request\n"
        found.append(Route("unmatched", Match(), Respond(404, text), Origin(names)))
    return (*found, CONNECT)


@query
def shift_taken(q: Reader, view: str, ref: PortRef) -> bool:
    """Whether any rule has the backends of the port's TrafficShift."""
    return any(
        shifted(q, ref, route, index)
        for route in attached(q, view, ref)
        for index in range(rule_count(q, route))
    )


@query
def default_upstreams(q: Reader, ref: PortRef) -> tuple[tuple[Upstream, int], ...]:
    """Where requests go that no HTTPRoute decides about, with weights."""
    targets: list[tuple[PortRef | None, int]] = [(ref, 1)]
    if shift := shift_in_effect(q, ref):
        targets = [(counterpart(q, ref, share.service), share.weight) for share in shift.shares]
    return tuple(
        (Upstream(target, kind), weight)
        for target, weight in targets
        if target is not None and (kind := http_kind(q, target)) is not None
    )


@query
def default_route(q: Reader, ref: PortRef) -> Route:
    """The route of a port without HTTPRoutes, or of its TrafficShift."""
    found = default_upstreams(q, ref)
    if not any(weight for _, weight in found):
        return Route("default", Match(), Respond(500, f"plait: {ref} leads nowhere\n"))
    settings, shift = request_settings(q, ref, None, ""), shift_in_effect(q, ref)
    upstreams = tuple(upstream for upstream, _ in found)
    policies = {*settings.sources(), *(s for up in upstreams for s in traffic_sources(q, up.ref))}
    if shift:
        policies.add(f"TrafficShift {shift.name}")
    action = Forward(
        backends=tuple(Backend(upstream.name, weight) for upstream, weight in found),
        timeout=settings.timeout or None,
        retry=retry(settings.retry, None),
        fault=fault(settings.fault),
        hash_on=hashes(q, upstreams),
    )
    return Route("default", Match(), action, Origin(policies=tuple(sorted(policies))))


@query
def upstreams(q: Reader, view: str, ref: PortRef) -> tuple[Upstream, ...]:
    """Every cluster that the routes of a port name, sorted; weights of 0 count, so that a cluster
    is warm before it gets its first share."""
    routes = attached(q, view, ref)
    found = {
        upstream
        for route in routes
        for index in range(rule_count(q, route))
        for upstream in outcome(q, ref, route, index).upstreams
    }
    if not routes or (shift_in_effect(q, ref) and not shift_taken(q, view, ref)):
        found.update(upstream for upstream, _ in default_upstreams(q, ref))
    return tuple(sorted(found))
