"""TrafficShift: a Service's traffic split over Services of its namespace.

It replaces the weights of the rules whose backends are exactly its Services, or makes a default
rule. A shift whose Service with a share does not exist takes no effect at all: a typing error
must not fail a share of the requests.
"""

from typing import Final, NamedTuple

from controlplane.api.policy import TrafficShiftSpec, TrafficShiftStatus
from controlplane.graph import Reader, query
from controlplane.translate.policies.order import by_precedence
from controlplane.translate.scope import PortRef
from controlplane.translate.services import find_service, service_port, shape
from controlplane.world.rows import Object
from controlplane.world.schema import SHIFTS_BY_TARGET

KIND: Final = "TrafficShift"


class Share(NamedTuple):
    service: str
    weight: int


class Shift(NamedTuple):
    """The shift in effect for a Service; ``name`` is ``namespace/name`` of the object."""

    name: str
    shares: tuple[Share, ...]


def shares(spec: TrafficShiftSpec, status: TrafficShiftStatus | None) -> tuple[Share, ...]:
    """Weights in effect: the status once it has any, else what was asked for."""
    weights = status.weights if status and status.weights is not None else spec.weights
    return tuple(Share(weight.name, weight.weight) for weight in weights)


def in_order(q: Reader, namespace: str, service: str) -> tuple[Object[TrafficShiftSpec], ...]:
    """The shifts of one Service, the winner first."""
    return by_precedence(q.find(SHIFTS_BY_TARGET, (namespace, service)))


@query
def shift_of(q: Reader, namespace: str, service: str) -> Shift | None:
    """The winning shift of a Service."""
    rows = in_order(q, namespace, service)
    if not rows:
        return None
    row = rows[0]
    return Shift(f"{row.key.namespace}/{row.key.name}", shares(row.spec, row.status))


@query
def counterpart(q: Reader, ref: PortRef, service: str) -> PortRef | None:
    """The port of another Service that stands for ``ref``: same number, else same name, else its
    only one. None when the Service does not exist or has no such port."""
    key = find_service(q, ref.namespace, service)
    found = shape(q, key) if key else None
    if key is None or found is None:
        return None
    here = service_port(q, ref)
    port = found.port(ref.port) or (found.port_named(here.name) if here and here.name else None)
    if port is None and len(found.ports) == 1:
        port = found.ports[0]
    return PortRef(key.cluster, key.namespace, key.name, port.port) if port else None


def missing(q: Reader, ref: PortRef, shift: Shift) -> tuple[str, ...]:
    """Services of a shift that have a share and no port to send it to."""
    return tuple(
        share.service
        for share in shift.shares
        if share.weight > 0 and counterpart(q, ref, share.service) is None
    )


@query
def shift_in_effect(q: Reader, ref: PortRef) -> Shift | None:
    """The shift that splits a Service port; None also when it names a Service that is missing or
    when no share is left."""
    shift = shift_of(q, ref.namespace, ref.service)
    if shift is None or missing(q, ref, shift):
        return None
    return shift if any(share.weight > 0 for share in shift.shares) else None
