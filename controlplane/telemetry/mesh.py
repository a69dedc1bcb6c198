"""Metrics of the mesh as it is configured: objects, their problems, sources, certificates."""

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.telemetry import metrics as declared
from controlplane.telemetry.metrics import Metrics, Readings


@dataclass(frozen=True, slots=True)
class MeshReadings:
    """How each value is read at a scrape."""

    objects: Callable[[], Readings]
    """Counts by kind."""
    problems: Callable[[], Readings]
    """Counts by severity."""
    synced: Callable[[], Readings]
    """1 or 0 by source."""
    leaves: Callable[[], float]
    """Workload certificates at connected sidecars."""


def expose(metrics: Metrics, read: MeshReadings) -> None:
    metrics.gauge(declared.WORLD_OBJECTS, read.objects, "kind")
    metrics.gauge(declared.PROBLEMS, read.problems, "severity")
    metrics.gauge(declared.SOURCE_SYNCED, read.synced, "source")
    metrics.gauge(declared.CERTIFICATES, read.leaves)
