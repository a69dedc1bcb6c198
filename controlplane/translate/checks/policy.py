"""What is wrong with a TrafficPolicy or a RoutePolicy: targets, conflicts, useless settings."""

from collections.abc import Iterator

from controlplane.api.policy import Algorithm, RetryOn
from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.graph import Reader
from controlplane.translate.attached import route_spec
from controlplane.translate.policies import route_policy, traffic_policy
from controlplane.translate.policies.attachment import Attachment, attachments, conflicts
from controlplane.translate.services import find_service, shape
from controlplane.world.rows import Key
from controlplane.world.schema import (
    ROUTE_POLICIES,
    ROUTE_POLICIES_BY_TARGET,
    TRAFFIC_POLICIES,
    TRAFFIC_POLICIES_BY_TARGET,
)


def check_traffic(q: Reader, key: Key) -> Iterator[Problem]:
    row = q.get(TRAFFIC_POLICIES, key)
    if row is None:
        return
    me = ObjectRef(traffic_policy.KIND, key.namespace, key.name)
    for place in attachments(row):
        yield from _target(q, me, key, place, ("Service",))
        rows = q.find(TRAFFIC_POLICIES_BY_TARGET, place.bucket)
        yield from conflicts(traffic_policy.KIND, row, place, rows, traffic_policy.flatten)
    balancing = row.spec.load_balancing
    if balancing is None:
        return
    hashed = balancing.algorithm in (Algorithm.RING_HASH, Algorithm.MAGLEV)
    if balancing.hash_on and not hashed:
        message = f"hashOn is not used by {balancing.algorithm}"
        remedy = "Use RingHash or Maglev, or remove it"
        yield _warn(me, message, remedy, "spec.loadBalancing.hashOn")
    if hashed and not balancing.hash_on:
        message = f"without hashOn, {balancing.algorithm} spreads requests at random"
        yield _warn(me, message, "Say what to hash", "spec.loadBalancing")


def check_route(q: Reader, key: Key) -> Iterator[Problem]:
    row = q.get(ROUTE_POLICIES, key)
    if row is None:
        return
    me = ObjectRef(route_policy.KIND, key.namespace, key.name)
    for place in attachments(row):
        yield from _target(q, me, key, place, ("Service", "HTTPRoute"))
        rows = q.find(ROUTE_POLICIES_BY_TARGET, place.bucket)
        yield from conflicts(route_policy.KIND, row, place, rows, route_policy.flatten)
    retry, timeout = row.spec.retry, row.spec.timeout
    if retry is None:
        return
    if RetryOn.RETRIABLE_STATUS_CODES in retry.on and not retry.status_codes:
        message = "retriable-status-codes needs statusCodes"
        yield _warn(me, message, "List the codes", "spec.retry.statusCodes")
    if retry.per_try_timeout and timeout and retry.per_try_timeout > timeout:
        message = "one try may take longer than the whole request"
        remedy = "Make perTryTimeout shorter than timeout"
        yield _warn(me, message, remedy, "spec.retry.perTryTimeout")


def _warn(me: ObjectRef, message: str, remedy: str, field: str) -> Problem:
    return Problem(me, Reason.UNSUPPORTED_VALUE, message, remedy, field, Severity.WARNING)


def _target(
    q: Reader, me: ObjectRef, key: Key, place: Attachment, kinds: tuple[str, ...]
) -> Iterator[Problem]:
    if not place.field:
        return
    kind, name = place.bucket[1], place.bucket[2]
    if kind not in kinds:
        message, remedy = f"{me.kind} has no effect on {kind}", f"Target {' or '.join(kinds)}"
        yield Problem(me, Reason.UNSUPPORTED_VALUE, message, remedy, f"{place.field}.kind")
        return
    sections = _sections(q, key, kind, name)
    if sections is None:
        message = f"there is no {kind} {key.namespace}/{name}"
        remedy = "Create it, or correct the name; a policy targets objects of its namespace"
        yield Problem(me, Reason.TARGET_NOT_FOUND, message, remedy, f"{place.field}.name")
    elif place.section and place.section not in sections:
        what = "port" if kind == "Service" else "rule"
        message = f"{kind} {key.namespace}/{name} has no {what} {place.section}"
        remedy = f"Use one of: {', '.join(sections) or 'none has a name'}"
        yield Problem(me, Reason.TARGET_NOT_FOUND, message, remedy, f"{place.field}.sectionName")


def _sections(q: Reader, key: Key, kind: str, name: str) -> tuple[str, ...] | None:
    """What a sectionName may say for a target; None when there is no such target."""
    if kind == "HTTPRoute":
        spec = route_spec(q, Key(key.cluster, key.namespace, name))
        return tuple(rule.name for rule in spec.rules if rule.name) if spec else None
    where = find_service(q, key.namespace, name)
    service = shape(q, where) if where else None
    if service is None:
        return None
    return tuple(text for p in service.ports for text in (p.name, str(p.port)) if text)
