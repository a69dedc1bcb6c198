"""One rule of an HTTPRoute: what it does with a request, and which clusters that needs.

A rule's outcome is memoised by itself, so that a change of one backend or policy re-makes the rules
that use it and no others.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from controlplane.api.gateway import HTTPRouteSpec, RouteRule
from controlplane.graph import Reader, query
from controlplane.translate.attached import names_service, route_spec
from controlplane.translate.backends import Fault, Resolved, resolve
from controlplane.translate.clusters import Upstream
from controlplane.translate.filters import Filters, redirect, rule_filters
from controlplane.translate.policies.route_policy import (
    RequestSettings,
    fault,
    request_settings,
    retry,
)
from controlplane.translate.policies.traffic_policy import hash_on, traffic_sources
from controlplane.translate.policies.traffic_shift import Shift, shift_in_effect
from controlplane.translate.scope import PortRef
from controlplane.world.rows import Key
from xds.ir.route import Backend, Forward, HashOn, Origin, Redirect, Respond

MILLION: Final = 1_000_000
Action = Forward | Redirect | Respond


@dataclass(frozen=True, slots=True)
class Outcome:
    """``refused`` is the share (parts per million) whose backend does not exist."""

    action: Action
    origin: Origin
    upstreams: tuple[Upstream, ...] = ()
    refused: int = 0
    refusal: str = ""


def rule_name(rule: RouteRule, index: int) -> str:
    """The rule's name, or its place among the rules (from 0)."""
    return rule.name or str(index)


def parent_namespaces(spec: HTTPRouteSpec, route: Key) -> tuple[str, ...]:
    """Namespaces of a route's parent Services."""
    found = {service[0] for p in spec.parent_refs if (service := names_service(p, route))}
    return tuple(sorted(found))


def takes_shift(shift: Shift, ref: PortRef, route: Key, rule: RouteRule) -> bool:
    """Whether a rule's backends are exactly the Services of a shift. One that is gone counts too:
    the shift may have moved everything away from it."""
    named = {(backend.namespace or route.namespace, backend.name) for backend in rule.backend_refs}
    return named == {(ref.namespace, share.service) for share in shift.shares}


def backends_of(
    q: Reader, route: Key, spec: HTTPRouteSpec, rule: RouteRule
) -> tuple[Resolved | Fault, ...]:
    parents = parent_namespaces(spec, route)
    return tuple(resolve(q, route, parents, backend) for backend in rule.backend_refs)


@query
def shifted(q: Reader, ref: PortRef, route: Key, index: int) -> bool:
    """Whether the parent's TrafficShift sets the weights of this rule."""
    shift, spec = shift_in_effect(q, ref), route_spec(q, route)
    if shift is None or spec is None or index >= len(spec.rules):
        return False
    return takes_shift(shift, ref, route, spec.rules[index])


@query
def outcome(q: Reader, ref: PortRef, route: Key, index: int) -> Outcome:
    """What rule ``index`` of a route does with requests to the parent ``ref``."""
    spec = route_spec(q, route)
    if spec is None or index >= len(spec.rules):
        return Outcome(Respond(500, "plait: the route is gone"), Origin())
    rule = spec.rules[index]
    name, label = rule_name(rule, index), f"{route.namespace}/{route.name}"
    origin = Origin(label, name)
    filters = rule_filters(rule)
    if filters.faults:
        field, message = filters.faults[0]
        text = f"plait: HTTPRoute {label}, rule {name}, {field}: {message}"
        return Outcome(Respond(500, text), origin)
    if filters.redirect:
        return Outcome(redirect(filters.redirect, ref.port), origin)
    settings = request_settings(q, ref, route, rule.name or "")
    found = backends_of(q, route, spec, rule)
    weights = tuple(
        each.weight if isinstance(each, Resolved) else backend.weight
        for each, backend in zip(found, rule.backend_refs, strict=True)
    )
    own_timeout = rule.timeouts is not None and rule.timeouts.request is not None
    sources = settings.sources(own_timeout)
    if shifted(q, ref, route, index) and (shift := shift_in_effect(q, ref)):
        by_service = {share.service: share.weight for share in shift.shares}
        weights = tuple(by_service[backend.name] for backend in rule.backend_refs)
        sources = (*sources, f"TrafficShift {shift.name}")
    return _forward(q, label, name, rule, filters, settings, found, weights, sources)


def _forward(
    q: Reader,
    label: str,
    name: str,
    rule: RouteRule,
    filters: Filters,
    settings: RequestSettings,
    found: tuple[Resolved | Fault, ...],
    weights: tuple[int, ...],
    sources: tuple[str, ...],
) -> Outcome:
    total = sum(weights)
    good = [(r, w) for r, w in zip(found, weights, strict=True) if isinstance(r, Resolved)]
    bad = [(r, w) for r, w in zip(found, weights, strict=True) if isinstance(r, Fault)]
    upstreams = tuple(dict.fromkeys(each.upstream for each, _ in good))
    policies = (*sources, *(s for up in upstreams for s in traffic_sources(q, up.ref)))
    origin = Origin(label, name, tuple(sorted(set(policies))))
    where = f"plait: HTTPRoute {label}, rule {name}"
    if not found:
        return Outcome(Respond(500, f"{where}: it has no backendRefs"), origin)
    if total == 0:
        return Outcome(Respond(500, f"{where}: all weights are 0"), origin, upstreams)
    lost = sum(weight for _, weight in bad)
    refusal = f"{where}: {bad[0][0].message}" if bad else ""
    if lost == total:
        return Outcome(Respond(500, refusal), origin, upstreams)
    request, one_try = _limits(rule, settings)
    again = retry(settings.retry, one_try)
    action = Forward(
        backends=tuple(
            Backend(each.upstream.name, weight, each.request_headers, each.response_headers)
            for each, weight in good
        ),
        timeout=_shorter(request, None if again else one_try),
        retry=again,
        fault=fault(settings.fault),
        rewrite_host=filters.host,
        rewrite_path=filters.path,
        request_headers=filters.request,
        response_headers=filters.response,
        hash_on=hashes(q, upstreams),
    )
    return Outcome(action, origin, upstreams, lost * MILLION // total, refusal)


def _limits(
    rule: RouteRule, settings: RequestSettings
) -> tuple[timedelta | None, timedelta | None]:
    """(whole request, one try); None means no limit. The rule's own timeouts win."""
    request, one_try = settings.timeout, None
    if rule.timeouts and rule.timeouts.request is not None:
        request = rule.timeouts.request
    if rule.timeouts and rule.timeouts.backend_request is not None:
        one_try = rule.timeouts.backend_request
    return request or None, one_try or None


def _shorter(first: timedelta | None, second: timedelta | None) -> timedelta | None:
    return min((each for each in (first, second) if each is not None), default=None)


def hashes(q: Reader, upstreams: tuple[Upstream, ...]) -> tuple[HashOn, ...]:
    """What the balancers of any of these clusters hash, in order, once each."""
    return tuple(dict.fromkeys(h for up in upstreams for h in hash_on(q, up.ref)))
