"""Destination policies and traffic shifts of group mesh.plait.dev/v1alpha1."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from controlplane.api.base import Duration, Label, Model, TargetRef, rule, rules


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
    """A property of a request that decides which endpoint serves it."""

    model_config = rules(
        rule(
            "self.source == 'SourceAddress' || (has(self.name) && self.name != '')",
            "a header or cookie to hash has no name. Set name, or use source SourceAddress",
            ".name",
        ),
        rule(
            "self.source != 'SourceAddress' || !has(self.name) || self.name == ''",
            "name has no meaning for SourceAddress. Remove name, or use source Header or Cookie",
            ".name",
        ),
    )

    source: HashSource
    """What is hashed."""
    name: Annotated[str, Field(max_length=256)] = ""
    """Name of the header or cookie."""


class LoadBalancingSpec(Model):
    """How requests are spread over a destination's endpoints."""

    model_config = rules(
        rule(
            "!has(self.hashOn) || size(self.hashOn) == 0"
            " || (has(self.algorithm) && self.algorithm in ['RingHash', 'Maglev'])",
            "hashOn is used by RingHash and Maglev alone. Set algorithm to one of them, or remove"
            " hashOn",
            ".hashOn",
        ),
        rule(
            "!has(self.algorithm) || !(self.algorithm in ['RingHash', 'Maglev'])"
            " || (has(self.hashOn) && size(self.hashOn) > 0)",
            "RingHash and Maglev need something to hash. Add hashOn, for example {source: Header,"
            " name: x-user}",
            ".hashOn",
        ),
    )

    algorithm: Algorithm = Algorithm.LEAST_REQUEST
    """How an endpoint is picked. Default: LeastRequest."""
    hash_on: Annotated[tuple[HashKey, ...], Field(max_length=8)] = ()
    """For RingHash and Maglev; the first that is present in a request decides."""


Count = Annotated[int, Field(ge=0, le=4_294_967_295)]
Positive = Annotated[int, Field(ge=1, le=4_294_967_295)]


class CircuitBreakerSpec(Model):
    """Ceilings of one sidecar towards one destination. Above them requests fail at once (UO)."""

    max_connections: Count | None = None
    """Connections to the destination."""
    max_pending_requests: Count | None = None
    """Requests that wait for a connection."""
    max_requests: Count | None = None
    """Requests in flight."""
    max_retries: Count | None = None
    """Retries in flight."""


def _above_zero(field: str) -> dict[str, str]:
    return rule(
        f"!has(self.{field}) || duration(self.{field}) > duration('0s')",
        f"{field} is zero. Write a duration above zero, or remove {field} for the default",
        f".{field}",
    )


class OutlierDetectionSpec(Model):
    """Takes endpoints that keep failing out of rotation for a while."""

    model_config = rules(_above_zero("interval"), _above_zero("baseEjectionTime"))

    consecutive_5xx: Annotated[Positive | None, Field(alias="consecutive5xx")] = None
    """So many 5xx answers in a row eject an endpoint; failures to connect count."""
    consecutive_gateway_errors: Positive | None = None
    """So many 502, 503 and 504 answers in a row eject an endpoint."""
    interval: Duration | None = None
    """Time between two looks at the endpoints."""
    base_ejection_time: Duration | None = None
    """Length of the first ejection; each further one is longer."""
    max_ejection_percent: Annotated[int, Field(ge=0, le=100)] = 10
    """Largest share of the endpoints that is ejected at once, in percent. Default: 10."""


class KeepaliveSpec(Model):
    """TCP keepalive. Times are rounded to whole seconds."""

    model_config = rules(
        *(
            rule(
                f"!has(self.{field}) || duration(self.{field}) >= duration('1s')",
                f"{field} is below one second. Use 1s or more",
                f".{field}",
            )
            for field in ("time", "interval")
        )
    )

    time: Duration | None = None
    """Idle time before the first probe."""
    interval: Duration | None = None
    """Time between probes."""
    probes: Positive | None = None
    """Unanswered probes after which the connection is dead."""


class ConnectionSpec(Model):
    """Connections to a destination."""

    model_config = rules(_above_zero("connectTimeout"))

    connect_timeout: Duration | None = None
    """Longest time to connect, TLS included."""
    idle_timeout: Duration | None = None
    """A connection without requests is closed after it; 0s: never."""
    max_requests_per_connection: Positive | None = None
    """A connection is closed after so many requests."""
    tcp_keepalive: KeepaliveSpec | None = None
    """TCP keepalive; absent: none."""


TargetRefs = Annotated[tuple[TargetRef, ...], Field(max_length=16)]


class TrafficPolicySpec(Model):
    """How sidecars spread load over a destination and protect it. Merged field by field: the
    most specific policy that sets a field wins."""

    model_config = rules(
        rule(
            "!has(self.targetRefs) || self.targetRefs.all(t, !has(t.kind) || t.kind == 'Service')",
            "a TrafficPolicy applies to Services alone. Name the Service whose traffic it is for",
            ".targetRefs",
        )
    )

    target_refs: TargetRefs = ()
    """Destinations in this namespace; absent: all of the namespace; absent in plait-system: all."""
    load_balancing: LoadBalancingSpec | None = None
    """How requests are spread over the endpoints."""
    circuit_breakers: CircuitBreakerSpec | None = None
    """Ceilings on connections, requests and retries."""
    outlier_detection: OutlierDetectionSpec | None = None
    """Ejection of endpoints that keep failing; absent: none."""
    connection: ConnectionSpec | None = None
    """Timeouts and limits of connections."""


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
    """Waiting time between tries: exponential, with full jitter."""

    model_config = rules(
        _above_zero("base"),
        rule(
            "!has(self.base) || !has(self.max) || duration(self.base) <= duration(self.max)",
            "base is longer than max. Make max at least as long as base",
            ".max",
        ),
    )

    base: Duration | None = None
    """Upper bound of the first wait. Default: 25ms."""
    max: Duration | None = None
    """Upper bound of every wait. Default: ten times base."""


class RetrySpec(Model):
    """When and how often a failed request is tried again."""

    model_config = rules(
        rule(
            "!has(self.retryOn) || !('retriable-status-codes' in self.retryOn)"
            " || (has(self.statusCodes) && size(self.statusCodes) > 0)",
            "retriable-status-codes needs to know which. List them in statusCodes",
            ".statusCodes",
        ),
        rule(
            "!has(self.statusCodes) || size(self.statusCodes) == 0"
            " || (has(self.retryOn) && 'retriable-status-codes' in self.retryOn)",
            "statusCodes takes no effect. Add retriable-status-codes to retryOn",
            ".statusCodes",
        ),
        _above_zero("perTryTimeout"),
    )

    attempts: Annotated[int, Field(ge=0, le=100)]
    """Retries after the first try; 0 turns retries off."""
    on: Annotated[tuple[RetryOn, ...], Field(alias="retryOn", min_length=1, max_length=12)] = (
        RetryOn.CONNECT_FAILURE,
        RetryOn.REFUSED_STREAM,
        RetryOn.RESET_BEFORE_REQUEST,
    )
    """Failures that are retried. Default: connect-failure, refused-stream, reset-before-request.
    (The field is not called `on`, because YAML 1.1, which kubectl reads, takes that for `true`.)"""
    status_codes: Annotated[
        tuple[Annotated[int, Field(ge=100, le=599)], ...], Field(max_length=32)
    ] = ()
    """For retriable-status-codes."""
    per_try_timeout: Duration | None = None
    """Longest time of one try. Default: the timeout of the request."""
    backoff: BackoffSpec | None = None
    """Waiting time between tries."""


Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
"""A share of the requests in percent; Envoy and gRPC throw dice of a million sides."""


def _not_too_fine() -> dict[str, str]:
    return rule(
        "double(self.percent) == 0.0 || double(self.percent) >= 0.0001",
        "percent is finer than one in a million. Use 0.0001 or more, or 0 for none",
        ".percent",
    )


class FaultDelaySpec(Model):
    """Requests that wait before they are sent."""

    model_config = rules(
        rule(
            "duration(self.duration) > duration('0s')",
            "a delay of zero is none. Write a duration above zero, or percent 0 to turn the delay"
            " off",
            ".duration",
        ),
        rule(
            "duration(self.duration) <= duration('1h')",
            "a delay is longer than one hour. Use 1h or less",
            ".duration",
        ),
        _not_too_fine(),
    )

    duration: Duration
    """How long each of them waits, at most 1h. A timeout of the request begins after it (an
    application without a sidecar counts it in)."""
    percent: Percent
    """Their share of all requests, to four decimals; 0: none."""


class FaultAbortSpec(Model):
    """Requests that the caller's sidecar answers itself instead of sending them."""

    model_config = rules(
        rule(
            "has(self.status) != has(self.grpcStatus)",
            "an abort gives one answer. Set either status (HTTP) or grpcStatus",
            ".status",
        ),
        _not_too_fine(),
    )

    status: Annotated[int, Field(ge=200, le=599)] | None = None
    """HTTP status of the answer; a gRPC call gets the gRPC status that stands for it."""
    grpc_status: Annotated[int, Field(ge=1, le=16)] | None = None
    """gRPC status of the answer, for example 14 (UNAVAILABLE). For gRPC alone: a request that is no
    call gets status 200 and a text."""
    percent: Percent
    """Their share of all requests, to four decimals; 0: none."""


class FaultSpec(Model):
    """Failures made on purpose, to see how callers bear them. Which requests are delayed and which
    are aborted is thrown independently; one that is both waits first."""

    model_config = rules(
        rule(
            "has(self.delay) || has(self.abort)",
            "a fault with neither delay nor abort does nothing. Add one of them, or remove fault",
        )
    )

    delay: FaultDelaySpec | None = None
    """Requests that wait before they are sent."""
    abort: FaultAbortSpec | None = None
    """Requests that are answered instead of being sent; they are not retried."""


class RoutePolicySpec(Model):
    """Retries, timeouts and injected faults of requests to a destination. No retries and no faults
    unless one asks for them."""

    model_config = rules(
        rule(
            "!has(self.timeout) || !has(self.retry) || !has(self.retry.perTryTimeout)"
            " || duration(self.timeout) == duration('0s')"
            " || duration(self.retry.perTryTimeout) <= duration(self.timeout)",
            "one try may take longer than the whole request. Lower retry.perTryTimeout, or raise"
            " timeout",
            ".retry.perTryTimeout",
        )
    )

    target_refs: TargetRefs = ()
    """Services or HTTPRoutes of this namespace; absent: all of the namespace; absent in
    plait-system: all."""
    retry: RetrySpec | None = None
    """Retries; absent: none, or those of a less specific policy."""
    timeout: Duration | None = None
    """Whole request, retries included; 0s: none. An HTTPRoute rule's own timeout wins."""
    fault: FaultSpec | None = None
    """Failures made on purpose, once per request and before its retries; absent: none, or those of
    a less specific policy, which a percent of 0 turns off."""


class ShiftTarget(Model):
    """The Service whose traffic is split."""

    kind: Annotated[str, Field(max_length=63, pattern="^Service$")] = "Service"
    """Service."""
    name: Label
    """Name of the Service."""


class ShiftWeight(Model):
    """One share of the traffic."""

    name: Label
    """A Service of this namespace."""
    weight: Annotated[int, Field(ge=0, le=1_000_000)]
    """Its share, in relation to the sum of all weights."""


class TrafficShiftSpec(Model):
    """Splits a Service's traffic over Services of the same namespace. It replaces the weights of
    HTTPRoute rules whose backends are the same Services, or makes a default rule."""

    model_config = rules(
        rule(
            "self.weights.exists(w, w.weight > 0)",
            "all weights are zero, so no request could go anywhere. Give at least one Service a"
            " weight above zero",
            ".weights",
        ),
        rule(
            "self.weights.all(w, self.weights.exists_one(v, v.name == w.name))",
            "a Service stands in weights more than once. Name each Service once",
            ".weights",
        ),
    )

    target_ref: ShiftTarget
    """The Service whose traffic is split."""
    weights: Annotated[tuple[ShiftWeight, ...], Field(min_length=1, max_length=16)]
    """Services and their shares."""


class TrafficShiftStatus(Model):
    """The state that Plait reports."""

    UNREAD: ClassVar[frozenset[str]] = frozenset({"conditions", "observedGeneration"})

    weights: Annotated[tuple[ShiftWeight, ...], Field(max_length=16)] | None = None
    """Weights in effect. Where present, translation reads these and not spec.weights."""
