"""RoutePolicy: retries, timeouts and faults of requests to a destination.

Layers: rule of an HTTPRoute, HTTPRoute, port of the Service, Service, its namespace, mesh.
``retry`` and ``fault`` are taken whole. Nothing is retried, and nothing fails on purpose, unless a
policy asks for it.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from controlplane.api.policy import FaultSpec, RetrySpec, RoutePolicySpec
from controlplane.graph import Reader, query
from controlplane.translate.policies.attachment import Bucket, layer
from controlplane.translate.policies.order import Setting, Settings, layered
from controlplane.translate.scope import PortRef
from controlplane.translate.services import service_port
from controlplane.world.rows import Key, Object
from controlplane.world.schema import MESH_BUCKET, ROUTE_POLICIES_BY_TARGET
from xds.ir.route import Abort, Delay, Fault, Retry

KIND: Final = "RoutePolicy"
_FIELDS: Final = ("retry", "timeout", "fault")


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """``timeout`` None: nothing says so; a zero timeout means none."""

    retry: RetrySpec | None = None
    timeout: timedelta | None = None
    fault: FaultSpec | None = None
    retry_source: str = ""
    timeout_source: str = ""
    fault_source: str = ""

    def sources(self, own_timeout: bool = False) -> tuple[str, ...]:
        """The policies in effect, sorted; not for its timeout where the rule has its own."""
        timeout = "" if own_timeout else self.timeout_source
        return tuple(sorted({self.retry_source, timeout, self.fault_source} - {""}))


def flatten(row: Object[RoutePolicySpec]) -> Settings:
    """The fields that a policy sets, by their path in spec."""
    source = f"{KIND} {row.key.namespace}/{row.key.name}"
    values = ((field, getattr(row.spec, field)) for field in _FIELDS)
    return tuple(Setting(field, value, source) for field, value in values if value is not None)


@query
def route_layer(q: Reader, bucket: Bucket, section: str) -> Settings:
    """Merged settings of the policies of one target and section."""
    return layer(q.find(ROUTE_POLICIES_BY_TARGET, bucket), bucket, section, flatten)


@query
def route_namespace_layer(q: Reader, namespace: str) -> Settings:
    """Settings for all of a namespace: its own over the mesh's."""
    return layered(route_layer(q, (namespace,), ""), route_layer(q, MESH_BUCKET, ""))


@query
def port_settings(q: Reader, ref: PortRef) -> Settings:
    """Settings in effect for requests to a Service port that no HTTPRoute rule narrows."""
    bucket = (ref.namespace, "Service", ref.service)
    port = service_port(q, ref)
    named = route_layer(q, bucket, port.name) if port and port.name else ()
    return layered(
        named,
        route_layer(q, bucket, str(ref.port)),
        route_layer(q, bucket, ""),
        route_namespace_layer(q, ref.namespace),
    )


@query
def request_settings(q: Reader, ref: PortRef, route: Key | None, rule: str) -> RequestSettings:
    """What policies set for a rule of an HTTPRoute, or for the port itself without one."""
    layers = [port_settings(q, ref)]
    if route is not None:
        bucket = (route.namespace, "HTTPRoute", route.name)
        layers.insert(0, route_layer(q, bucket, ""))
        if rule:
            layers.insert(0, route_layer(q, bucket, rule))
    values: dict[str, Any] = {}
    for setting in layered(*layers):
        values[setting.field] = setting.value
        values[f"{setting.field}_source"] = setting.source
    return RequestSettings(**values)


def retry(spec: RetrySpec | None, per_try: timedelta | None) -> Retry | None:
    """The retry policy of a route. ``per_try`` comes from the rule (timeouts.backendRequest) and
    wins over the policy's own."""
    if spec is None or spec.attempts == 0:
        return None
    default = Retry(0, ())
    base = spec.backoff.base if spec.backoff and spec.backoff.base else default.backoff_base
    longest = spec.backoff.max if spec.backoff and spec.backoff.max else None
    return Retry(
        attempts=spec.attempts,
        conditions=tuple(condition.value for condition in spec.on),
        status_codes=spec.status_codes,
        per_try_timeout=per_try or spec.per_try_timeout or None,
        backoff_base=base,
        # Envoy refuses a maximum below the base.
        backoff_max=max(base, longest or base * 10),
    )


def fault(spec: FaultSpec | None) -> Fault | None:
    """The fault of a route; None where no request is to fail."""
    if spec is None:
        return None
    delay = spec.delay and Delay(spec.delay.duration, _share(spec.delay.percent))
    abort = spec.abort and Abort(
        spec.abort.status or spec.abort.grpc_status or 0,
        _share(spec.abort.percent),
        grpc=spec.abort.grpc_status is not None,
    )
    kept = Fault(delay if delay and delay.share else None, abort if abort and abort.share else None)
    return kept if kept != Fault() else None


def _share(percent: float) -> int:
    """Parts per million."""
    return round(percent * 10_000)
