"""Every metric of the control plane: its name, unit and help, and the registry that exposes them.

Meters are OpenTelemetry's; the Prometheus exporter turns ``plait.xds.sent`` with unit ``By`` into
``plait_xds_sent_bytes_total``. No label names a sidecar, an object or a resource. What happens per
push is counted in plain integers and read when scraped, because one synchronous OpenTelemetry
recording costs about 8 µs, a tenth of what a whole push costs.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    unit: str
    help: str


# The query engine (`controlplane.graph`).
ENGINE_RUNS: Final = Metric("plait.engine.runs", "1", "Query functions run")
ENGINE_VERIFICATIONS: Final = Metric(
    "plait.engine.verifications", "1", "Values found still valid without running"
)
ENGINE_CUTOFFS: Final = Metric(
    "plait.engine.cutoffs", "1", "Runs whose value was equal, so that nothing above ran"
)
ENGINE_PENDING: Final = Metric("plait.engine.pending", "1", "Values that await evaluation")
ENGINE_IDLE: Final = Metric("plait.engine.idle", "1", "Values that nobody subscribes to")
ENGINE_FAILED: Final = Metric("plait.engine.failed", "1", "Values whose last run raised")
ENGINE_NODES: Final = Metric("plait.engine.nodes", "1", "Values, by query")
ENGINE_LONGEST: Final = Metric("plait.engine.longest_run", "s", "Longest run, by query")
ENGINE_RECHECKS: Final = Metric(
    "plait.engine.rechecks", "1", "Random values evaluated afresh and compared"
)
ENGINE_STALE: Final = Metric(
    "plait.engine.stale", "1", "Rechecks that found another value: a bug; alert on any"
)

# World, sources and problems.
WORLD_REVISION: Final = Metric("plait.world.revision", "1", "Transactions applied")
WORLD_OBJECTS: Final = Metric("plait.world.objects", "1", "Objects, by kind")
SOURCE_SYNCED: Final = Metric("plait.source.synced", "1", "1 when the source is synced")
PROBLEMS: Final = Metric("plait.problems", "1", "Problems of objects, by severity")
EVALUATION: Final = Metric(
    "plait.evaluation.duration", "s", "Time from a transaction to the last value it changed"
)

# Streams (`xds.serve`); `type` is cds, eds, sds, lds or rds.
XDS_STREAMS: Final = Metric("plait.xds.streams", "1", "Open streams")
XDS_OPENED: Final = Metric("plait.xds.opened", "1", "Streams opened")
XDS_CLOSED: Final = Metric("plait.xds.closed", "1", "Streams ended, by gRPC status")
XDS_DENIED: Final = Metric("plait.xds.denied", "1", "Streams refused, by gRPC status")
XDS_RESPONSES: Final = Metric("plait.xds.responses", "1", "Responses sent, by type")
XDS_RESOURCES: Final = Metric("plait.xds.resources", "1", "Resources sent, by type")
XDS_RESOURCE_BYTES: Final = Metric(
    "plait.xds.resource_bytes", "By", "Bytes of the resources in them, where they enter gRPC"
)
XDS_REMOVED: Final = Metric("plait.xds.removed", "1", "Names removed, by type")
XDS_SENT: Final = Metric("plait.xds.sent", "By", "Response bytes handed to gRPC")
XDS_RECEIVED: Final = Metric("plait.xds.received", "By", "Request bytes")
XDS_ACKS: Final = Metric("plait.xds.acks", "1", "Responses acknowledged, by type")
XDS_NACKS: Final = Metric("plait.xds.nacks", "1", "Responses refused by Envoy, by type")
XDS_TURNED_AWAY: Final = Metric(
    "plait.xds.turned_away", "1", "Names answered as absent because a sidecar asked for too many"
)
XDS_ACK_LATENCY: Final = Metric("plait.xds.ack", "s", "Time from a response to its ACK")

# What sidecars report of themselves, and what follows from it (`controlplane.rollout.eviction`).
REPORT_STREAMS: Final = Metric("plait.reports.streams", "1", "Sidecars that report statistics")
REPORT_RECEIVED: Final = Metric("plait.reports.received", "By", "Bytes of their reports")
EVICTED: Final = Metric("plait.destinations.evicted", "1", "Destinations taken back from sidecars")
EXHAUSTED: Final = Metric(
    "plait.sidecars.exhausted", "1", "Sidecars that asked for too many names to be relieved of any"
)

# Identity.
CERTIFICATES: Final = Metric(
    "plait.identity.leaves", "1", "Workload certificates at connected sidecars"
)
ISSUED: Final = Metric("plait.identity.issued", "1", "Workload certificates issued")
ISSUANCE: Final = Metric(
    "plait.identity.issuance", "1", "Workload certificates issued in the last minute"
)

# The process.
LOOP_LAG: Final = Metric(
    "plait.loop.lag", "s", "Longest delay of the event loop since the last scrape"
)

LOOP_WORK: Final = Metric(
    "plait.loop.work", "s", "Longest turn of the event loop, in processor time, since the scrape"
)
LOOP_BLOCKED: Final = Metric(
    "plait.loop.blocked", "1", "Turns of the event loop that took more than 20 ms"
)

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Upper bounds in seconds."""

Readings = Mapping[str, float]
"""Values by label value; the key "" stands for no label."""


class Buckets:
    """A histogram of seconds for hot paths: one bisection and two additions per value."""

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BUCKETS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class _BucketsCollector(Collector):
    """Exposes `Buckets` beside the OpenTelemetry metrics of the same registry."""

    def __init__(self) -> None:
        self.histograms: list[tuple[Metric, Buckets]] = []

    def collect(self) -> Iterable[HistogramMetricFamily]:
        for metric, buckets in self.histograms:
            name = f"{metric.name.replace('.', '_')}_seconds"
            total, pairs = 0, []
            for bound, count in zip((*buckets.bounds, "+Inf"), buckets.counts, strict=True):
                total += count
                pairs.append((str(bound), total))
            family = HistogramMetricFamily(name, metric.help)
            family.add_metric([], pairs, buckets.sum)
            yield family


class Metrics:
    """The registry and meters of one control plane; nothing global is touched."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        reader = PrometheusMetricReader(
            disable_target_info=True, scope_info_enabled=False, registry=self._registry
        )
        self._provider = MeterProvider([reader], shutdown_on_exit=False)
        self._meter: Meter = self._provider.get_meter("plait")
        self._buckets = _BucketsCollector()
        self._registry.register(self._buckets)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def count(self, metric: Metric, read: Callable[[], Readings | float], label: str = "") -> None:
        """Expose a value that only grows, read at each scrape."""
        self._meter.create_observable_counter(
            metric.name, [_observe(read, label)], metric.unit, metric.help
        )

    def gauge(self, metric: Metric, read: Callable[[], Readings | float], label: str = "") -> None:
        """Expose a value that goes up and down, read at each scrape."""
        self._meter.create_observable_gauge(
            metric.name, [_observe(read, label)], metric.unit, metric.help
        )

    def histogram(self, metric: Metric) -> Histogram:
        """An OpenTelemetry histogram of seconds, for what happens per transaction."""
        return self._meter.create_histogram(
            metric.name,
            metric.unit,
            metric.help,
            explicit_bucket_boundaries_advisory=LATENCY_BUCKETS,
        )

    def buckets(self, metric: Metric) -> Buckets:
        """A histogram of seconds, for what happens per push."""
        buckets = Buckets()
        self._buckets.histograms.append((metric, buckets))
        return buckets

    def exposition(self) -> tuple[bytes, str]:
        """The Prometheus text of all metrics, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def close(self) -> None:
        self._provider.shutdown()


def _observe(
    read: Callable[[], Readings | float], label: str
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def callback(_: CallbackOptions) -> Iterable[Observation]:
        values: Any = read()
        if isinstance(values, Mapping):
            return [Observation(value, {label: key}) for key, value in sorted(values.items())]
        return [Observation(values)]

    return callback
