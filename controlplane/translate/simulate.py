"""What one request would meet: route, split, policies, limits, mTLS, refusal.

It evaluates the IR that the sidecars' bytes are made of, and explains each step in a line. Nothing
is sent, and what a sidecar holds at the moment is not looked at.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from controlplane.api.base import format_duration
from controlplane.api.problem import Problem
from controlplane.graph import Reader, query
from controlplane.translate.attached import attached, view
from controlplane.translate.authority import Dead, Meaning, Outside, Refused, resolve
from controlplane.translate.endpoints import endpoints, hinted_zone
from controlplane.translate.evaluate import Request, taken
from controlplane.translate.hosts import host_of
from controlplane.translate.inbound import inbound_strict
from controlplane.translate.instances import labels_of, pod_at
from controlplane.translate.mesh import may_leave
from controlplane.translate.policies.mutual_tls import mutual_tls_source
from controlplane.translate.policies.traffic_shift import KIND as SHIFT
from controlplane.translate.policies.traffic_shift import in_order
from controlplane.translate.problems import problems
from controlplane.translate.redirect_contact import Contact
from controlplane.translate.redirect_dialled import dialled
from controlplane.translate.scope import PortRef
from controlplane.translate.services import find_service
from controlplane.translate.workloads import Capture, Workload, workload
from controlplane.world.rows import Key
from xds.ir.endpoint import Endpoint, Health
from xds.ir.route import Backend, Fault, Forward, Redirect, Respond, Retry, Route
from xds.names import parse_backend
from xds.types import CLUSTER


@dataclass(frozen=True, slots=True)
class Share:
    """One backend of a split. ``mtls``: mTLS, plain, mixed, or empty without endpoints."""

    service: str
    cluster: str
    weight: int
    percent: float
    mtls: str = ""
    endpoints: int = 0


@dataclass(frozen=True, slots=True)
class Simulation:
    """``outcome``: forward, redirect, respond, passthrough (outside the mesh), tcp, or refused.

    ``promotion``: what the sidecar holds for the destination once it was asked for, or ``no:`` and
    why not.
    """

    source: str
    authority: str
    method: str
    path: str
    outcome: str
    service: str = ""
    route: str = ""
    rule: str = ""
    policies: tuple[str, ...] = ()
    split: tuple[Share, ...] = ()
    timeout: str = ""
    retries: str = ""
    status: int = 0
    lines: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    promotion: str = ""
    fault: str = ""


@dataclass(slots=True)
class _Trace:
    """A simulation in the making."""

    q: Reader
    work: Workload
    result: Simulation
    lines: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.lines.append(line)

    def done(self, **values: Any) -> Simulation:
        found = tuple(dict.fromkeys(self.problems))
        return replace(self.result, lines=tuple(self.lines), problems=found, **values)


@query
def simulate(
    q: Reader,
    source: Key,
    authority: str,
    method: str,
    path: str,
    headers: tuple[tuple[str, str], ...],
) -> Simulation:
    """What a request of the pod ``source`` to ``authority`` would meet."""
    name = f"{source.namespace}/{source.name}"
    result = Simulation(name, authority, method, path, "refused")
    work = workload(q, source)
    if work is None:
        return replace(result, lines=(f"there is no Pod {name}",))
    trace = _Trace(q, work, result)
    trace.problems.extend(problems(q, "Pod", source))
    if not work.meshed:
        trace.say(f"Pod {name} has no sidecar: no route applies, and it cannot speak mTLS")
        return trace.done()
    lowered = tuple((key.lower(), value) for key, value in headers)
    request = Request(method, path, lowered)
    if work.capture is Capture.REDIRECT:
        return _redirected(trace, request)
    meaning = resolve(q, source.namespace, authority)
    trace.result = replace(trace.result, promotion=_promotion(q, meaning, authority))
    if isinstance(meaning, Refused):
        trace.say(f"{authority}: {meaning.text}")
        return trace.done(outcome="respond", status=meaning.status)
    return _meaning(trace, meaning, request)


def _promotion(q: Reader, meaning: Meaning, authority: str) -> str:
    """Proxy mode: the virtual host that an authority gets."""
    target: PortRef | Outside | Dead
    target = Dead("", authority.lower()) if isinstance(meaning, Refused) else meaning
    found = host_of(q, "", target)
    return f"virtual host {found.name}" if found else "no: it cannot be a virtual host's domain"


def _redirected(trace: _Trace, request: Request) -> Simulation:
    """Redirect mode: the address that is dialled decides."""
    work, authority = trace.work, trace.result.authority
    found = dialled(trace.q, work.namespace, authority, work.scope, work.zone)
    trace.result = replace(trace.result, promotion=found.promotion)
    if found.note:
        trace.say(found.note)
    if found.refused:
        trace.say(f"{authority}: {found.refused.text}")
        return trace.done()
    contact = found.contact
    if contact is None or contact.kind == "outside":
        trace.say("the connection goes on as it is: no route applies to it")
        return trace.done(outcome="passthrough" if may_leave(trace.q) else "refused")
    trace.say(f"{authority} is dialled as {found.where}")
    if contact.kind == "nothing":
        trace.say(f"the connection is closed: {contact.reason}")
        return trace.done()
    if contact.kind == "undeclared":
        trace.say("the port's protocol is undeclared: HTTP is known by its first bytes")
    if contact.target is None or contact.kind == "tcp":
        return _connection(trace, contact)
    return _meaning(trace, contact.target, request)


def _connection(trace: _Trace, contact: Contact) -> Simulation:
    """A connection that no route decides about: TCP, TLS, or to a pod of no headless Service."""
    outcome = "tcp" if contact.kind == "tcp" else "forward"
    if contact.pod:
        pod = f"{contact.pod.namespace}/{contact.pod.name}"
        meshed = any(w.type_url == CLUSTER for w in contact.needs)
        trace.say(f"to pod {pod} itself, {'mTLS' if meshed else 'plain text'}")
    elif contact.target:
        ref = contact.target
        _objects(trace, "", ref)
        name = str(ref.backend("t"))
        share = _share(trace, Backend(name), 1)
        return trace.done(
            outcome=outcome,
            service=f"{ref.namespace}/{ref.service}:{ref.port}",
            split=(share,),
        )
    return trace.done(outcome=outcome)


def _meaning(trace: _Trace, meaning: PortRef | Outside, request: Request) -> Simulation:
    q, namespace = trace.q, trace.work.namespace
    seen = ""
    if isinstance(meaning, PortRef):
        seen = view(q, namespace, meaning)
        name = f"{meaning.namespace}/{meaning.service}:{meaning.port}"
        trace.result = replace(trace.result, service=name)
        trace.say(
            f"{trace.result.authority} is port {meaning.port} of Service "
            f"{meaning.namespace}/{meaning.service}"
        )
        _objects(trace, seen, meaning)
    else:
        trace.say(f"{meaning.host} is outside the mesh, which MeshConfig allows")
    host = host_of(q, seen, meaning)
    routes = tuple(taken(host, request)) if host else ()
    if not routes:
        trace.say("no route matches")
        return trace.done(outcome="respond", status=404)
    for part in routes[:-1]:
        assert isinstance(part.action, Respond)
        share = (part.match.share or 0) / 10_000
        trace.say(f"{share:g} % get {part.action.status}: {part.action.body.strip()}")
    return _route(trace, routes[-1], outside=isinstance(meaning, Outside))


def _objects(trace: _Trace, seen: str, ref: PortRef) -> None:
    """Collect the problems of the objects that decide about a port."""
    q = trace.q
    trace.problems.extend(problems(q, "Service", ref.key))
    for route in attached(q, seen, ref):
        trace.problems.extend(problems(q, "HTTPRoute", route))
    for row in in_order(q, ref.namespace, ref.service):
        trace.problems.extend(problems(q, SHIFT, row.key))


def _route(trace: _Trace, route: Route, *, outside: bool) -> Simulation:
    origin = route.origin
    trace.result = replace(
        trace.result, route=origin.route, rule=origin.rule, policies=origin.policies
    )
    if origin.route:
        rule = f", rule {origin.rule}" if origin.rule else ""
        trace.say(f"HTTPRoute {origin.route}{rule} decides")
    elif route.name == "default":
        trace.say("no HTTPRoute decides: the default route of the port")
    if origin.policies:
        trace.say(f"policies in effect: {', '.join(origin.policies)}")
    match route.action:
        case Respond(status, body):
            trace.say(f"the sidecar answers {status} itself: {body.strip()}")
            return trace.done(outcome="respond", status=status)
        case Redirect():
            trace.say(f"redirect: {_target(route.action)}")
            return trace.done(outcome="redirect", status=route.action.status)
        case Forward():
            return _forward(trace, route.action, outside=outside)


def _target(action: Redirect) -> str:
    parts = {
        "scheme": action.scheme,
        "host": action.host,
        "port": str(action.port or ""),
        "path": f"{action.path.kind} {action.path.value}" if action.path else "",
    }
    changed = ", ".join(f"{name} {value}" for name, value in parts.items() if value)
    return f"{action.status}, {changed or 'to itself'}"


def _forward(trace: _Trace, action: Forward, *, outside: bool) -> Simulation:
    timeout = format_duration(action.timeout) if action.timeout else "none"
    retries = _retries(action.retry) if action.retry else "none"
    fault = _fault(action.fault) if action.fault else ""
    if fault:
        trace.say(f"fault made by the caller's sidecar: {fault}")
    trace.say(f"timeout {timeout}, retries {retries}")
    if action.rewrite_host:
        trace.say(f"Host becomes {action.rewrite_host}")
    if action.rewrite_path:
        trace.say(f"path: {action.rewrite_path.kind} replaced by {action.rewrite_path.value}")
    total = sum(backend.weight for backend in action.backends)
    shares = tuple(_share(trace, backend, total) for backend in action.backends)
    outcome = "passthrough" if outside else "forward"
    return trace.done(outcome=outcome, split=shares, timeout=timeout, retries=retries, fault=fault)


def _fault(fault: Fault) -> str:
    parts = []
    if fault.delay:
        share = fault.delay.share / 10_000
        parts.append(f"{share:g} % wait {format_duration(fault.delay.duration)}")
    if fault.abort:
        share, kind = fault.abort.share / 10_000, "gRPC status " if fault.abort.grpc else ""
        parts.append(f"{share:g} % get {kind}{fault.abort.status}")
    return ", ".join(parts)


def _retries(retry: Retry) -> str:
    text = f"{retry.attempts} on {','.join(retry.conditions)}"
    if retry.status_codes:
        text += f" ({','.join(map(str, retry.status_codes))})"
    return (
        f"{text}, {format_duration(retry.per_try_timeout)} a try" if retry.per_try_timeout else text
    )


def _share(trace: _Trace, backend: Backend, total: int) -> Share:
    percent = 100 * backend.weight / total if total else 0.0
    name = parse_backend(backend.cluster)
    if name is None:
        trace.say(f"{percent:g} % to {backend.cluster}, plain text, by DNS")
        return Share(backend.cluster, backend.cluster, backend.weight, percent)
    q, work = trace.q, trace.work
    key = find_service(q, name.namespace, name.service)
    label = f"{name.namespace}/{name.service}:{name.port}"
    if key is None:
        return Share(label, backend.cluster, backend.weight, percent)
    ref = PortRef(*key, name.port)
    found = endpoints(q, ref, work.scope, hinted_zone(q, key, work.zone))
    healthy = [each for each in found if each.health is Health.HEALTHY]
    mtls = _mtls(healthy)
    wire = {"h": "HTTP/2", "m": "HTTP/1.1", "t": "TCP"}[name.kind]
    count = "1 endpoint" if len(healthy) == 1 else f"{len(healthy)} endpoints"
    trace.say(f"{percent:g} % to {label}: {count}, {wire}, {mtls or 'nobody'}")
    if not healthy and backend.weight:
        trace.say(f"{label} has no healthy endpoint: its requests get 503 (UH)")
    _refusals(trace, healthy)
    return Share(label, backend.cluster, backend.weight, percent, mtls, len(healthy))


def _mtls(found: list[Endpoint]) -> str:
    kinds = {each.tls for each in found}
    return "" if not kinds else "mixed" if len(kinds) == 2 else "mTLS" if True in kinds else "plain"


def _refusals(trace: _Trace, found: list[Endpoint]) -> None:
    """Say what the callees' MutualTLS asks for, and who presents which identity."""
    q, said = trace.q, set[str]()
    for each in found:
        pod = pod_at(q, each.address)
        if pod is None or not each.tls:
            continue
        labels = labels_of(q, pod) or ()
        mode = "strict" if inbound_strict(q, pod) else "permissive"
        source = mutual_tls_source(q, pod.namespace, labels) or "the default"
        said.add(f"callee presents {each.identity}, {mode} by {source}")
    for line in sorted(said):
        trace.say(f"{line}; caller presents {trace.work.spiffe_id}")
