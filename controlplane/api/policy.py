"""Destination policies and traffic shifts of group mesh.plait.dev/v1alpha1."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from controlplane.api.base import Duration, Model, TargetRef


class Algorithm(StrEnum):
    ROUND_ROBIN = "RoundRobin"
    LEAST_REQUEST = "LeastRequest"
    RANDOM = "Random"
    RING_HASH = "RingHash"
    MAGLEV = "Maglev"


class HashSource(StrEnum):
    HEADER = "Header"
    COOKIE = "Cookie"
    SOURCE_ADDRESS = "SourceAddress"


class HashKey(Model):
    source: HashSource
    """What is hashed."""
    name: str = ""
    """Name of the header or cookie."""


class LoadBalancingSpec(Model):
    algorithm: Algorithm = Algorithm.LEAST_REQUEST
    hash_on: tuple[HashKey, ...] = ()
    """For RingHash and Maglev; the first that is present in a request decides."""


Count = Annotated[int, Field(ge=0, le=4_294_967_295)]
Positive = Annotated[int, Field(ge=1, le=4_294_967_295)]


class CircuitBreakerSpec(Model):
    max_connections: Count | None = None
    max_pending_requests: Count | None = None
    max_requests: Count | None = None
    max_retries: Count | None = None


class OutlierDetectionSpec(Model):
    consecutive_5xx: Annotated[Positive | None, Field(alias="consecutive5xx")] = None
    consecutive_gateway_errors: Positive | None = None
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Annotated[int, Field(ge=0, le=100)] = 10


class KeepaliveSpec(Model):
    time: Duration | None = None
    interval: Duration | None = None
    probes: Positive | None = None


class ConnectionSpec(Model):
    connect_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    max_requests_per_connection: Positive | None = None
    tcp_keepalive: KeepaliveSpec | None = None


class TrafficPolicySpec(Model):
    """How sidecars spread load over a destination and protect it. Merged field by field: the
    most specific policy that sets a field wins."""

    target_refs: tuple[TargetRef, ...] = ()
    """Destinations in this namespace; absent: all of the namespace; absent in plait-system: all."""
    load_balancing: LoadBalancingSpec | None = None
    circuit_breakers: CircuitBreakerSpec | None = None
    outlier_detection: OutlierDetectionSpec | None = None
    connection: ConnectionSpec | None = None


class RetryOn(StrEnum):
    SERVER_ERROR = "5xx"
    GATEWAY_ERROR = "gateway-error"
    RESET = "reset"
    RESET_BEFORE_REQUEST = "reset-before-request"
    CONNECT_FAILURE = "connect-failure"
    REFUSED_STREAM = "refused-stream"
    RETRIABLE_4XX = "retriable-4xx"
    RETRIABLE_STATUS_CODES = "retriable-status-codes"
    CANCELLED = "cancelled"
    DEADLINE_EXCEEDED = "deadline-exceeded"
    RESOURCE_EXHAUSTED = "resource-exhausted"
    UNAVAILABLE = "unavailable"


class BackoffSpec(Model):
    base: Duration | None = None
    max: Duration | None = None


class RetrySpec(Model):
    attempts: Annotated[int, Field(ge=0, le=100)]
    """Retries after the first try; 0 turns retries off."""
    on: tuple[RetryOn, ...] = (
        RetryOn.CONNECT_FAILURE,
        RetryOn.REFUSED_STREAM,
        RetryOn.RESET_BEFORE_REQUEST,
    )
    status_codes: tuple[Annotated[int, Field(ge=100, le=599)], ...] = ()
    """For retriable-status-codes."""
    per_try_timeout: Duration | None = None
    backoff: BackoffSpec | None = None


class RoutePolicySpec(Model):
    """Retries and timeouts of requests to a destination. No retries unless one asks for them."""

    target_refs: tuple[TargetRef, ...] = ()
    """Services or HTTPRoutes of this namespace; absent: all of the namespace."""
    retry: RetrySpec | None = None
    timeout: Duration | None = None
    """Whole request, retries included; 0s: none. An HTTPRoute rule's own timeout wins."""


class ShiftTarget(Model):
    """The Service whose traffic is split."""

    kind: Annotated[str, Field(pattern="^Service$")] = "Service"
    name: str


class ShiftWeight(Model):
    name: str
    """A Service of this namespace."""
    weight: Annotated[int, Field(ge=0, le=1_000_000)]


class TrafficShiftSpec(Model):
    """Splits a Service's traffic over Services of the same namespace. It replaces the weights of
    HTTPRoute rules whose backends are the same Services, or makes a default rule."""

    target_ref: ShiftTarget
    weights: Annotated[tuple[ShiftWeight, ...], Field(min_length=1, max_length=16)]


class TrafficShiftStatus(Model):
    weights: tuple[ShiftWeight, ...] | None = None
    """Weights in effect. Where present, translation reads these and not spec.weights."""
