"""What is wrong with a Service or an EndpointSlice, beyond what its own text shows."""

from collections.abc import Iterator

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.graph import Reader
from controlplane.translate.addresses import is_address
from controlplane.translate.endpoints import target_port
from controlplane.translate.members import selected
from controlplane.translate.redirect import GUARDED
from controlplane.translate.services import find_service, service_at, shape
from controlplane.world.rows import Key
from controlplane.world.schema import ENDPOINT_SLICES


def check(q: Reader, key: Key) -> Iterator[Problem]:
    service = shape(q, key)
    if service is None:
        return
    me = ObjectRef("Service", key.namespace, key.name)
    for address in service.addresses:
        owner = service_at(q, address)
        if owner is not None and owner != key:
            message = f"Service {owner.namespace}/{owner.name} has the address {address} too"
            remedy = "Remove clusterIP from one of the two; by name both are reached"
            yield Problem(
                me, Reason.CONFLICTED, message, remedy, "spec.clusterIP", Severity.WARNING
            )
    pods = selected(q, key.cluster, key.namespace, service.selector)
    for i, port in enumerate(service.ports):
        if port.port in GUARDED:
            message = f"port {port.port} is a sidecar's own: redirected pods cannot reach it"
            field = f"spec.ports[{i}].port"
            remedy = "Use another port number"
            yield Problem(me, Reason.CONFLICTED, message, remedy, field, Severity.WARNING)
        if not pods or not port.target or port.target.isdecimal():
            continue
        if all(target_port(q, pod, port.target, port.port) is None for pod in pods):
            message = f"no selected pod has a container port named {port.target!r}"
            remedy = "Name a port of the pods, or give its number"
            field = f"spec.ports[{i}].targetPort"
            yield Problem(me, Reason.TARGET_NOT_FOUND, message, remedy, field, Severity.WARNING)


def check_slice(q: Reader, key: Key) -> Iterator[Problem]:
    row = q.get(ENDPOINT_SLICES, key)
    if row is None:
        return
    me = ObjectRef("EndpointSlice", key.namespace, key.name)
    label = "metadata.labels[kubernetes.io/service-name]"
    if not row.service or find_service(q, key.namespace, row.service) is None:
        message = (
            f"there is no Service {key.namespace}/{row.service}"
            if row.service
            else "the label that names its Service is missing"
        )
        remedy = "Set the label to a Service of this namespace"
        yield Problem(me, Reason.TARGET_NOT_FOUND, message, remedy, label, Severity.WARNING)
    if row.address_type not in ("IPv4", "IPv6"):
        message = f"addresses of type {row.address_type} are not used"
        remedy = "Use IPv4 or IPv6, or a Service of type ExternalName"
        yield Problem(me, Reason.UNSUPPORTED_VALUE, message, remedy, "addressType")
        return
    version = int(row.address_type[-1])
    for i, endpoint in enumerate(row.endpoints):
        for j, address in enumerate(endpoint.addresses):
            if not is_address(address, version):
                message = f"{address!r} is no {row.address_type} address"
                field = f"endpoints[{i}].addresses[{j}]"
                yield Problem(me, Reason.INVALID, message, "Correct it", field)
