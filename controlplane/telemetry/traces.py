"""One trace per transaction of the world: what changed, its evaluation, the push that followed.

Off unless OTEL_TRACES_EXPORTER names an exporter, as the OpenTelemetry specification has it:
``console`` writes spans to standard error, ``otlp`` needs the exporter's package. ACKs are no
spans, there are too many; they are the histogram ``plait_xds_ack_seconds``.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
)
from opentelemetry.trace import NoOpTracer, Span, Status, StatusCode, Tracer, set_span_in_context

EXPORTER = "OTEL_TRACES_EXPORTER"
PROTOCOL = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
ANY_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_OTLP = {
    "http/protobuf": ("otlp_proto_http", "opentelemetry-exporter-otlp-proto-http"),
    "grpc": ("otlp_proto_grpc", "opentelemetry-exporter-otlp-proto-grpc"),
}

Attribute = str | int | float | bool


class UnknownExporter(ValueError):
    """The environment names an exporter that is not there; ``remedy`` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Transaction:
    """The trace of one transaction. Steps are spans under it, in the order they happen."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._inside = set_span_in_context(span, Context())

    def note(self, **attributes: Attribute) -> None:
        """Add facts to the transaction."""
        self._span.set_attributes({f"plait.{key}": value for key, value in attributes.items()})

    @contextmanager
    def step(self, name: str, **attributes: Attribute) -> Iterator[Span]:
        """A part of the work, for example ``evaluate`` or ``push``."""
        span = self._tracer.start_span(
            name, self._inside, attributes={f"plait.{k}": v for k, v in attributes.items()}
        )
        try:
            yield span
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end()

    def end(self) -> None:
        self._span.end()


class Traces:
    """Makes transactions' traces. Without an exporter they cost next to nothing."""

    def __init__(self, exporter: SpanExporter | None, *, batch: bool = True) -> None:
        self._provider: TracerProvider | None = None
        self._tracer: Tracer = NoOpTracer()
        if exporter is not None:
            self._provider = TracerProvider(
                resource=Resource.create({"service.name": "plait"}), shutdown_on_exit=False
            )
            self._provider.add_span_processor(
                BatchSpanProcessor(exporter) if batch else SimpleSpanProcessor(exporter)
            )
            self._tracer = self._provider.get_tracer("plait")

    def transaction(self, revision: int, **attributes: Attribute) -> Transaction:
        """Begin the trace of the transaction that made ``revision``; the caller ends it."""
        span = self._tracer.start_span(
            "transaction",
            Context(),
            attributes={
                "plait.revision": revision,
                **{f"plait.{key}": value for key, value in attributes.items()},
            },
        )
        return Transaction(self._tracer, span)

    def close(self) -> None:
        """Export what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def exporter_from(environment: Mapping[str, str] = os.environ) -> SpanExporter | None:
    """The exporter that OTEL_TRACES_EXPORTER names; None when it is unset or ``none``.

    Raises UnknownExporter.
    """
    name = environment.get(EXPORTER, "").strip() or "none"
    if name == "none" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if name == "console":
        return ConsoleSpanExporter(out=sys.stderr)
    package = f"the package that provides the OpenTelemetry trace exporter {name!r}"
    if name == "otlp":
        protocol = environment.get(PROTOCOL) or environment.get(ANY_PROTOCOL) or "http/protobuf"
        if protocol not in _OTLP:
            raise UnknownExporter(
                f"{PROTOCOL}={protocol} is unknown", f"Set it to one of {', '.join(_OTLP)}"
            )
        name, package = _OTLP[protocol]
    for point in entry_points(group="opentelemetry_traces_exporter", name=name):
        made = point.load()()
        assert isinstance(made, SpanExporter)
        return made
    raise UnknownExporter(
        f"{EXPORTER} asks for {name}, which is not installed",
        f"Install {package}, or set {EXPORTER} to console or none",
    )
