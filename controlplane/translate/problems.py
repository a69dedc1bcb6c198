"""What is wrong with an object, as values: references, conflicts with the loser named, settings
that cannot take effect. Whether the object's own text is valid was decided before it became a row.
"""

from collections.abc import Callable, Iterable
from typing import Final

from controlplane.api.problem import Problem, Severity
from controlplane.graph import Reader, query
from controlplane.translate.checks import http_route, mesh, pod, policy, service, shift
from controlplane.world.rows import Key

Check = Callable[[Reader, Key], Iterable[Problem]]

_CHECKS: Final[dict[str, Check]] = {
    "Service": service.check,
    "EndpointSlice": service.check_slice,
    "Pod": pod.check,
    "HTTPRoute": http_route.check,
    "MeshConfig": mesh.check_config,
    "MutualTLS": mesh.check_mutual_tls,
    "TrafficPolicy": policy.check_traffic,
    "RoutePolicy": policy.check_route,
    "TrafficShift": shift.check,
}

KINDS: Final = tuple(sorted(_CHECKS))
"""Kinds that are looked at."""


@query
def problems(q: Reader, kind: str, key: Key) -> tuple[Problem, ...]:
    """The problems of one object, errors first; ``()`` for other kinds and absent objects."""
    check = _CHECKS.get(kind)
    found = dict.fromkeys(check(q, key)) if check else {}
    return tuple(sorted(found, key=lambda p: (p.severity is Severity.WARNING, p.field, p.message)))
