"""Bounded scanner of what a sidecar's metrics sink reports, for the few statistics that are used.

Messages: envoy.service.metrics.v3.StreamMetricsMessage, whose families are io.prometheus.client
MetricFamily; Envoy names them by the whole name of the statistic. Of clusters, four statistics
tell whether a destination is in use; of the server, its memory. The rest, most of a report, is
skipped by its name alone.
"""

import math
import struct
from dataclasses import dataclass, field
from typing import Final

from xds.wire import request
from xds.wire.fields import FIXED64, LEN, Malformed, fields
from xds.wire.request import Node, node_at

_DOUBLE: Final = struct.Struct("<d")
_NAME: Final = 1 << 3 | LEN
"""Key of a family's name, its first field."""
_CLUSTER: Final = b"cluster."
_USED: Final = (
    b".upstream_rq_total",
    b".upstream_rq_active",
    b".upstream_cx_total",
    b".upstream_cx_active",
)
_MEMORY: Final = b"server.memory_allocated"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may cost: a few milliseconds. A sidecar's own stay far below, since its sink
    cuts a report into messages of `sidecar.bootstrap.BATCH` families."""

    size: int = 1 << 19
    """Bytes of the whole message; the node, which comes once a stream, is about 61 KB of them."""
    fields: int = 8192
    """Fields looked at, the node's aside."""
    name: int = 512
    """Bytes of a statistic's name; longer ones are no clusters of ours and are skipped."""
    node: request.Limits = field(default_factory=lambda: request.Limits(size=1 << 19, values=1000))


DEFAULT: Final = Limits()


@dataclass(frozen=True, slots=True)
class Report:
    """One message. Values by cluster, as far as they are in it: Envoy leaves out statistics that
    were never used, and a report may come in several messages."""

    node: Node | None = None
    requests: dict[str, float] = field(default_factory=dict)
    """``upstream_rq_total``, counted since the cluster was made."""
    active_requests: dict[str, float] = field(default_factory=dict)
    """``upstream_rq_active``."""
    connections: dict[str, float] = field(default_factory=dict)
    """``upstream_cx_total``, counted since the cluster was made."""
    active_connections: dict[str, float] = field(default_factory=dict)
    """``upstream_cx_active``."""
    memory: int | None = None
    """Bytes that Envoy has allocated; ``None``: not in this message."""


def scan(data: bytes, limits: Limits = DEFAULT) -> Report:
    """Read one message.

    Raises `Malformed` for anything that is no protobuf message, for an identifier whose texts are
    no UTF-8, and for whatever exceeds ``limits``. Other names that are no UTF-8, and values that
    are no counts, are skipped.
    """
    if len(data) > limits.size:
        raise Malformed(f"message of {len(data)} bytes, at most {limits.size} are read")
    return _Scanner(data, limits).report()


class _Scanner:
    """Holds the message and what is left of its limits."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        self.limits = limits
        self.left = limits.fields
        self.memory: int | None = None
        self.found: dict[bytes, dict[str, float]] = {name[1:]: {} for name in _USED}

    def report(self) -> Report:
        node: Node | None = None
        for number, wire, start, end in fields(self.data, 0, len(self.data)):
            self.spend()
            if wire != LEN:
                continue
            if number == 2:
                if not self.unused(start, end):
                    self.family(start, end)
            elif number == 1:
                node = self.identifier(start, end) or node
        requests, active_requests, connections, active_connections = self.found.values()
        return Report(node, requests, active_requests, connections, active_connections, self.memory)

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Malformed(f"message of more than {self.limits.fields} fields")

    def identifier(self, start: int, end: int) -> Node | None:
        """StreamMetricsMessage.Identifier: the node."""
        node: Node | None = None
        for number, wire, first, last in fields(self.data, start, end):
            self.spend()
            if number == 1 and wire == LEN:
                node = node_at(self.data, first, last, self.limits.node)
        return node

    def unused(self, start: int, end: int) -> bool:
        """Whether a MetricFamily begins, as Envoy writes it, with the name of a statistic that is
        not used: most of them do, so nothing is copied here."""
        data = self.data
        if end - start < 2 or data[start] != _NAME or data[start + 1] > 0x7F:
            return False
        first = start + 2
        last = first + data[start + 1]
        if data.startswith(_CLUSTER, first):
            return last <= end and not data.endswith(_USED, first, last)
        return last <= end and not data.startswith(_MEMORY, first)

    def family(self, start: int, end: int) -> None:
        """A MetricFamily; its name may stand anywhere in it."""
        data = self.data
        name, metrics = b"", []
        for number, wire, first, last in fields(data, start, end):
            self.spend()
            if wire != LEN:
                continue
            if number == 1:
                name = data[first:last] if last - first <= self.limits.name else b""
            elif number == 4:
                metrics.append((first, last))
        place = self.place(name)
        if place is None:
            return
        values = [value for metric in metrics if (value := self.metric(*metric)) is not None]
        if not values:
            return
        into, cluster = place
        if into is None:
            self.memory = int(values[-1])
        else:
            into[cluster] = sum(values)

    def place(self, name: bytes) -> tuple[dict[str, float] | None, str] | None:
        """Where a statistic's value goes: (values, cluster), the first ``None`` for the memory;
        ``None`` for a statistic that is not used."""
        if name.startswith(_CLUSTER):
            head, _, last = name.rpartition(b".")
            into = self.found.get(last)
            cluster = head[len(_CLUSTER) :]
            # Names of our clusters hold no dot: what has more is a part of a cluster.
            if into is None or not cluster or b"." in cluster:
                return None
            try:
                return into, cluster.decode()
            except UnicodeDecodeError:
                return None
        return (None, "") if name == _MEMORY else None

    def metric(self, start: int, end: int) -> float | None:
        """The value of a Metric that is a gauge (2) or a counter (3)."""
        value: float | None = None
        for number, wire, first, last in fields(self.data, start, end):
            self.spend()
            if wire != LEN or number not in (2, 3):
                continue
            value = 0.0
            for part, kind, low, _ in fields(self.data, first, last):
                self.spend()
                if part == 1 and kind == FIXED64:
                    value = _DOUBLE.unpack_from(self.data, low)[0]
        return value if value is not None and 0 <= value < math.inf else None
