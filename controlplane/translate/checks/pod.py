"""What is wrong with a Pod's place in the mesh: addresses, ports, declared forwards."""

from collections.abc import Iterator

from controlplane.api.explain import nearest
from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.graph import Reader
from controlplane.translate.addresses import is_address
from controlplane.translate.endpoints import target_port
from controlplane.translate.forwards import PROXY_LOOP_PORT, PROXY_PORT, forward_faults
from controlplane.translate.inbound import declared_ports, services_of
from controlplane.translate.instances import (
    APP_ADDRESS,
    CAPTURE,
    EXCLUSIONS,
    TCP_FORWARDS,
    Instance,
    instance,
    pod_at,
)
from controlplane.translate.protocols import Protocol, protocol_of
from controlplane.translate.redirect import OWN_PORTS
from controlplane.translate.services import shape
from controlplane.translate.workloads import Capture
from controlplane.world.rows import Key, Labels
from controlplane.world.schema import PODS
from sidecar.redirect.exclusions import ANNOTATIONS, Refused, plan_of

_ANNOTATION = "metadata.annotations[{}]"
_KNOWN = (APP_ADDRESS, CAPTURE, TCP_FORWARDS, *ANNOTATIONS)


def check(q: Reader, key: Key) -> Iterator[Problem]:
    found = instance(q, key)
    if found is None:
        return
    me = ObjectRef("Pod", key.namespace, key.name)
    if found.meshed:
        for address in found.addresses:
            owner = pod_at(q, address)
            if owner is not None and owner != key:
                message = f"Pod {owner.namespace}/{owner.name} has the address {address} too"
                remedy = "Give each pod an address of its own"
                yield Problem(me, Reason.CONFLICTED, message, remedy, "status.podIP")
    pod = q.get(PODS, key)
    for address in pod.addresses if pod else ():
        if not is_address(address):
            message = f"{address!r} is no address, and is left out"
            yield Problem(me, Reason.INVALID, message, "Correct it", "status.podIP")
    yield from _unknown(me, pod.annotations if pod else ())
    yield from _capture(me, found)
    if found.app_address:
        yield from _proxy_mode(q, me, found)
    elif found.meshed:
        yield from _redirect_mode(q, me, found)
    yield from _disagreement(q, me, found)
    for fault in forward_faults(q, key):
        field = _ANNOTATION.format(TCP_FORWARDS)
        yield Problem(me, Reason.INVALID, fault.message, fault.remedy, field)


def _proxy_mode(q: Reader, me: ObjectRef, found: Instance) -> Iterator[Problem]:
    field = _ANNOTATION.format(APP_ADDRESS)
    if not is_address(found.app_address):
        message = f"{found.app_address!r} is no address"
        yield Problem(me, Reason.INVALID, message, "Write for example 127.0.1.2", field)
    if found.app_address in found.addresses:
        message = "the application's address is the pod's own, which the sidecar binds"
        remedy = "Let the application listen on another address, for example 127.0.1.2"
        yield Problem(me, Reason.INVALID, message, remedy, field)
    if not found.addresses:
        message = "the sidecar has no address to bind"
        yield Problem(me, Reason.INVALID, message, "Set status.podIP", "status.podIP")
    for port in declared_ports(q, found.key):
        if port.port in (PROXY_PORT, PROXY_LOOP_PORT):
            message = f"port {port.port} is the sidecar's own and is not served"
            yield Problem(me, Reason.CONFLICTED, message, "Use another port", "spec.containers")


def _unknown(me: ObjectRef, annotations: Labels) -> Iterator[Problem]:
    """Annotations of ours that there are none of. A misspelt one may cost the pod its sidecar."""
    for name, _ in annotations:
        if name in _KNOWN or name.startswith(EXCLUSIONS):  # these are looked at elsewhere
            continue
        prefix, _, word = name.partition("/")
        close = nearest(word, [each.partition("/")[2] for each in _KNOWN])
        remedy = f"Did you mean {prefix}/{close}?" if close else f"Known: {', '.join(_KNOWN)}"
        message, field = "unknown annotation; it is ignored", _ANNOTATION.format(name)
        yield Problem(me, Reason.UNKNOWN_FIELD, message, remedy, field, Severity.WARNING)


def _capture(me: ObjectRef, found: Instance) -> Iterator[Problem]:
    field = _ANNOTATION.format(CAPTURE)
    if found.capture not in ("", Capture.REDIRECT, Capture.PROXYLESS):
        message = f"{found.capture!r} is no way to capture a pod's traffic"
        remedy = "Write redirect or proxyless; for proxy mode set mesh.plait.dev/app-address alone"
        yield Problem(me, Reason.INVALID, message, remedy, field)
    elif found.capture == Capture.REDIRECT and found.app_address:
        message = "the pod is in proxy mode, because it has mesh.plait.dev/app-address"
        remedy = "Remove one of the two annotations"
        yield Problem(me, Reason.CONFLICTED, message, remedy, field)


def _redirect_mode(q: Reader, me: ObjectRef, found: Instance) -> Iterator[Problem]:
    for port in declared_ports(q, found.key):
        if port.port in OWN_PORTS:
            message = f"port {port.port} is the sidecar's own and is not served"
            yield Problem(me, Reason.CONFLICTED, message, "Use another port", "spec.containers")
    if found.forwards:
        message = "forwards belong to proxy mode; this pod's connections are redirected"
        remedy = "Remove the annotation; dial the Service itself"
        field = _ANNOTATION.format(TCP_FORWARDS)
        yield Problem(me, Reason.UNSUPPORTED_VALUE, message, remedy, field, Severity.WARNING)
    yield from _exclusions(me, found)


def _exclusions(me: ObjectRef, found: Instance) -> Iterator[Problem]:
    """What keeps the pod's redirection from being applied, and the pod from starting."""
    plan = plan_of(dict(found.exclusions), ())
    for fault in plan.faults if isinstance(plan, Refused) else ():
        field = _ANNOTATION.format(fault.annotation)
        message = f"{fault.message}; nothing of the pod is redirected until this is mended"
        yield Problem(me, Reason.INVALID, message, fault.remedy, field)


def _disagreement(q: Reader, me: ObjectRef, found: Instance) -> Iterator[Problem]:
    """Services that declare different protocols for one port of the pod."""
    declared: dict[int, tuple[Protocol, Key]] = {}
    for key in services_of(q, found.key.cluster, found.key.namespace, found.labels):
        service = shape(q, key)
        for port in service.ports if service else ():
            number = target_port(q, found.key, port.target, port.port)
            protocol = protocol_of(port.app_protocol, port.name)
            if number is None or protocol is Protocol.UNDECLARED:
                continue
            first, owner = declared.setdefault(number, (protocol, key))
            if first is not protocol:
                yield Problem(
                    me,
                    Reason.CONFLICTED,
                    f"port {number} is {first} to Service {owner.name} and {protocol} to Service "
                    f"{key.name}; it is served as {first}",
                    "Declare one protocol for the port in all Services",
                    "spec.containers",
                    Severity.WARNING,
                )
