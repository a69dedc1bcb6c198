"""What is wrong with a TrafficShift: its Services, its rivals, and routes that decide before it."""

from collections.abc import Iterator

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.graph import Reader
from controlplane.translate.attached import attached
from controlplane.translate.clusters import http_kind
from controlplane.translate.policies.traffic_shift import (
    KIND,
    counterpart,
    in_order,
    shares,
    shift_in_effect,
)
from controlplane.translate.routes import rule_count, rule_matches, shift_taken
from controlplane.translate.scope import PortRef
from controlplane.translate.services import find_service, port_numbers
from controlplane.world.rows import Key
from controlplane.world.schema import TRAFFIC_SHIFTS
from xds.ir.route import Match


def check(q: Reader, key: Key) -> Iterator[Problem]:
    row = q.get(TRAFFIC_SHIFTS, key)
    if row is None:
        return
    me, target = ObjectRef(KIND, key.namespace, key.name), row.spec.target_ref.name
    first = in_order(q, key.namespace, target)[0]
    if first.key != key:
        message = (
            f"{KIND} {first.key.namespace}/{first.key.name} has the same target and wins: older, "
            "else first by name"
        )
        yield Problem(me, Reason.CONFLICTED, message, "Remove one of the two", "spec.targetRef")
        return
    where = find_service(q, key.namespace, target)
    if where is None:
        message = f"there is no Service {key.namespace}/{target}"
        remedy = "Create it, or correct the name"
        yield Problem(me, Reason.TARGET_NOT_FOUND, message, remedy, "spec.targetRef.name")
        return
    refs = [PortRef(*where, port) for port in port_numbers(q, where)]
    http = [ref for ref in refs if http_kind(q, ref) is not None]
    if not http:
        message = f"Service {key.namespace}/{target} has no HTTP port, and TCP is not split"
        remedy = "Declare a port HTTP (appProtocol: http)"
        yield Problem(me, Reason.UNSUPPORTED_VALUE, message, remedy, "spec.targetRef")
    weights = shares(row.spec, row.status)
    names = [share.service for share in weights]
    for i, share in enumerate(weights):
        field = f"spec.weights[{i}].name"
        if share.service in names[:i]:
            message = f"Service {share.service} stands there twice; the last weight counts"
            yield Problem(me, Reason.INVALID, message, "Remove one", field)
        for ref in http:
            if counterpart(q, ref, share.service) is None:
                yield _lost(q, me, ref, share.service, share.weight, field)
    if all(share.weight == 0 for share in weights):
        message = "all weights are 0, so the shift takes no effect"
        yield Problem(me, Reason.INVALID, message, "Give a Service a weight", "spec.weights")
    yield from _preceded(q, me, http)


def _lost(q: Reader, me: ObjectRef, ref: PortRef, service: str, weight: int, field: str) -> Problem:
    exists = find_service(q, ref.namespace, service) is not None
    what = f"has no port for {ref.port}" if exists else "does not exist"
    message = f"Service {ref.namespace}/{service} {what}"
    if weight == 0:
        remedy = "Remove it from the weights; its share is 0 and nothing is lost"
        return Problem(me, Reason.BACKEND_NOT_FOUND, message, remedy, field, Severity.WARNING)
    remedy = "Create it, or correct the name; until then the shift takes no effect"
    return Problem(me, Reason.BACKEND_NOT_FOUND, message, remedy, field)


def _preceded(q: Reader, me: ObjectRef, refs: list[PortRef]) -> Iterator[Problem]:
    """Routes that take every request and do not have the shift's backends."""
    for ref in refs:
        if shift_in_effect(q, ref) is None or shift_taken(q, ref.namespace, ref):
            continue
        for route in attached(q, ref.namespace, ref):
            if any(Match() in rule_matches(q, route, i) for i in range(rule_count(q, route))):
                yield Problem(
                    me,
                    Reason.CONFLICTED,
                    f"HTTPRoute {route.namespace}/{route.name} takes every request to {ref}, and "
                    "its backends are not those of the shift",
                    "Give the route's rule exactly the shift's Services as backendRefs",
                    "spec.targetRef",
                    Severity.WARNING,
                )
