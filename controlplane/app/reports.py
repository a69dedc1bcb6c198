"""What sidecars report of themselves, on its way from the xDS server to the edge."""

from controlplane.rollout.edge import Edge
from controlplane.telemetry import metrics as declared
from controlplane.telemetry.metrics import Metrics
from controlplane.world.rows import Key
from xds.wire.metrics import Report
from xds.wire.request import Node


class SidecarReports:
    """Implements `xds.serve.metrics_service.Reports`."""

    def __init__(self, metrics: Metrics, edge: Edge) -> None:
        self._edge = edge
        self._streams = 0
        self._received = 0
        metrics.gauge(declared.REPORT_STREAMS, lambda: self._streams)
        metrics.count(declared.REPORT_RECEIVED, lambda: self._received)
        metrics.count(declared.EVICTED, lambda: edge.eviction.evicted)
        metrics.gauge(declared.EXHAUSTED, lambda: edge.exhausted)

    def opened(self) -> None:
        self._streams += 1

    def reported(self, node: Node, report: Report, size: int) -> None:
        self._received += size
        self._edge.eviction.reported(Key(*node.id.split("/", 2)), report)

    def closed(self) -> None:
        self._streams -= 1
