"""Counts what the serving edge does: an `xds.serve` Observer for Metrics and the log."""

import logging
from collections import Counter
from functools import partial

from controlplane.telemetry import metrics as declared
from controlplane.telemetry.logs import Throttle
from controlplane.telemetry.metrics import Metrics
from xds.serve.delta import Batch
from xds.serve.lanes import Lane
from xds.types import SECRET, SHORT

OTHER = "other"
"""What types are counted under that are not Envoy's own: a client may name any."""

_log = logging.getLogger("controlplane.xds")
_log.addFilter(Throttle())


class XdsMetrics:
    """Implements `xds.serve.observer.Observer`: plain additions; state changes go to the log."""

    def __init__(self, metrics: Metrics) -> None:
        self._streams = 0
        self._opened = 0
        self._received = 0
        self._turned_away = 0
        self._denied: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()
        self._responses: Counter[str] = Counter()
        self._resources: Counter[str] = Counter()
        self._content: Counter[str] = Counter()
        self._removed: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()
        self._batch: Batch | None = None
        self._pushes = self._size = 0
        """How often ``_batch`` left and is not counted yet, and its bytes."""
        self._acks: Counter[str] = Counter()
        self._nacks: Counter[str] = Counter()
        self._latency = metrics.buckets(declared.XDS_ACK_LATENCY)
        metrics.gauge(declared.XDS_STREAMS, lambda: self._streams)
        metrics.count(declared.XDS_OPENED, lambda: self._opened)
        metrics.count(declared.XDS_CLOSED, lambda: self._closed, "code")
        metrics.count(declared.XDS_DENIED, lambda: self._denied, "code")
        metrics.count(declared.XDS_RECEIVED, lambda: self._received)
        metrics.count(declared.XDS_TURNED_AWAY, lambda: self._turned_away)
        for metric, counts in (
            (declared.XDS_RESPONSES, self._responses),
            (declared.XDS_RESOURCES, self._resources),
            (declared.XDS_RESOURCE_BYTES, self._content),
            (declared.XDS_REMOVED, self._removed),
            (declared.XDS_SENT, self._sent),
            (declared.XDS_ACKS, self._acks),
            (declared.XDS_NACKS, self._nacks),
        ):
            metrics.count(metric, partial(self._read, counts), "type")

    def opened(self) -> None:
        self._streams += 1
        self._opened += 1

    def closed(self, code: str, detail: str) -> None:
        self._streams -= 1
        self._closed[code] += 1
        if code != "OK":
            _log.info("stream ended", extra={"code": code, "detail": detail})

    def denied(self, code: str, detail: str) -> None:
        self._denied[code] += 1
        _log.warning("stream refused", extra={"code": code, "detail": detail})

    def received(self, size: int) -> None:
        self._received += size

    def pushed(self, batch: Batch, lane: Lane, size: int) -> None:
        if batch is not self._batch:
            self._count()
            self._batch = batch
        self._pushes += 1
        self._size += size
        if batch.type_url == SECRET:  # a key must not outlive its stream
            self._count()

    def _count(self) -> None:
        """Add what left of the last batch: the same one often leaves a thousand times."""
        batch, pushes = self._batch, self._pushes
        if batch is None or not pushes:
            return
        type_url = SHORT.get(batch.type_url, OTHER)
        self._responses[type_url] += pushes
        self._resources[type_url] += pushes * len(batch.items)
        self._content[type_url] += pushes * batch.content
        self._sent[type_url] += self._size
        if batch.removed:
            self._removed[type_url] += pushes * len(batch.removed)
        self._batch, self._pushes, self._size = None, 0, 0

    def _read(self, counts: Counter[str]) -> dict[str, int]:
        self._count()
        return dict(counts)

    def acked(self, type_url: str, lane: Lane, resources: int, seconds: float) -> None:
        self._acks[SHORT.get(type_url, OTHER)] += 1
        self._latency.add(seconds)

    def nacked(self, type_url: str, resources: int, message: str) -> None:
        short = SHORT.get(type_url, OTHER)
        self._nacks[short] += 1
        _log.warning(
            "resources rejected",
            extra={"type": short, "resources": resources, "detail": message},
        )

    def turned_away(self, type_url: str, names: int) -> None:
        self._turned_away += names
        _log.warning(
            "too many names asked for", extra={"type": SHORT.get(type_url, OTHER), "names": names}
        )
