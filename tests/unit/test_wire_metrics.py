"""The scanner of reports reads what Envoy's metrics sink sends, and refuses what nobody should."""

import math
import time

import pytest
from envoy_data_plane.envoy.config.core.v3 import Extension
from envoy_data_plane.envoy.config.core.v3 import Node as EnvoyNode
from envoy_data_plane.envoy.service.metrics.v3 import (
    StreamMetricsMessage,
    StreamMetricsMessageIdentifier,
)
from envoy_data_plane.io.prometheus.client import (
    Counter,
    Gauge,
    LabelPair,
    Metric,
    MetricFamily,
    MetricType,
    Quantile,
    Summary,
)
from hypothesis import given
from hypothesis import strategies as st

from xds.wire.encode import encode
from xds.wire.fields import Malformed
from xds.wire.metrics import Limits, Report, scan
from xds.wire.request import Node
from xds.wire.varint import delimited

clusters = st.text(
    st.characters(exclude_characters=".", exclude_categories=["Cs"]), min_size=1, max_size=20
)
counts = st.integers(0, 1 << 53).map(float)
values = st.dictionaries(clusters, counts, max_size=4)
nodes = st.builds(Node, st.text(min_size=1, max_size=20), st.text(max_size=20))
reports = st.builds(
    Report, st.none() | nodes, values, values, values, values, st.none() | st.integers(0, 1 << 40)
)


def counter(name: str, value: float) -> MetricFamily:
    metric = Metric(counter=Counter(value=value), timestamp_ms=1_790_000_000_000)
    return MetricFamily(name=name, type=MetricType.COUNTER, metric=[metric])


def gauge(name: str, value: float) -> MetricFamily:
    label = LabelPair(name="envoy.cluster_name", value="h|shop|reviews|80")
    metric = Metric(gauge=Gauge(value=value), label=[label], timestamp_ms=1_790_000_000_000)
    return MetricFamily(name=name, help="x", type=MetricType.GAUGE, metric=[metric])


def histogram(name: str) -> MetricFamily:
    summary = Summary(sample_count=3, sample_sum=1.5, quantile=[Quantile(quantile=0.5, value=0.5)])
    return MetricFamily(name=name, type=MetricType.SUMMARY, metric=[Metric(summary=summary)])


OTHERS = (
    counter("cluster.h|shop|reviews|80.upstream_rq_2xx", 9),
    counter("cluster.h|shop|reviews|80.zone.a.b.upstream_rq_total", 9),
    counter("listener.0.0.0.0_80.downstream_cx_total", 9),
    counter("http.proxy.downstream_rq_total", 9),
    counter("cluster.", 9),
    counter("", 9),
    gauge("server.live", 1),
    histogram("cluster.h|shop|reviews|80.upstream_rq_time"),
    counter("cluster." + "x" * 600 + ".upstream_rq_total", 9),
)


def wire(report: Report) -> bytes:
    """``report`` as Envoy would send it, among statistics that are to be skipped."""
    identifier = None
    if report.node is not None:
        node = EnvoyNode(
            id=report.node.id,
            cluster=report.node.cluster,
            extensions=[Extension(name="envoy.filters.http.router", category="http")],
        )
        identifier = StreamMetricsMessageIdentifier(node=node)
    families = [
        *(counter(f"cluster.{k}.upstream_rq_total", v) for k, v in report.requests.items()),
        *OTHERS,
        *(gauge(f"cluster.{k}.upstream_rq_active", v) for k, v in report.active_requests.items()),
        *(counter(f"cluster.{k}.upstream_cx_total", v) for k, v in report.connections.items()),
        *(
            gauge(f"cluster.{k}.upstream_cx_active", v)
            for k, v in report.active_connections.items()
        ),
    ]
    if report.memory is not None:
        families.append(gauge("server.memory_allocated", report.memory))
    return encode(StreamMetricsMessage(identifier=identifier, envoy_metrics=families))


@given(reports)
def test_what_is_sent_is_read(report: Report) -> None:
    assert scan(wire(report)) == report


@given(reports)
def test_a_message_cut_off_anywhere_is_read_or_malformed(report: Report) -> None:
    data = wire(report)
    for end in range(0, len(data), 7):
        try:
            scan(data[:end])
        except Malformed:
            continue


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        scan(data)
    except Malformed:
        return


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0])
def test_values_that_are_no_counts_are_skipped(value: float) -> None:
    families = [
        gauge("cluster.t|a|b|1.upstream_cx_active", value),
        gauge("server.memory_allocated", value),
    ]
    assert scan(encode(StreamMetricsMessage(envoy_metrics=families))) == Report()


def test_a_name_may_stand_behind_its_metrics_and_may_be_no_text() -> None:
    value = delimited(4, delimited(3, b"\x09" + b"\x00\x00\x00\x00\x00\x00\x1c\x40"))
    name = delimited(1, b"cluster.t|a|b|1.upstream_cx_total")
    assert scan(delimited(2, value + name)) == Report(connections={"t|a|b|1": 7.0})
    assert scan(delimited(2, delimited(1, b"cluster.\xff.upstream_cx_total") + value)) == Report()


def test_an_identifier_that_is_no_text_is_malformed() -> None:
    with pytest.raises(Malformed, match="UTF-8"):
        scan(delimited(1, delimited(1, delimited(1, b"\xff"))))


@pytest.mark.parametrize(
    ("data", "limits", "words"),
    [
        (bytes(101), Limits(size=100), "101 bytes"),
        (b"\x18\x01" * 101, Limits(fields=100), "100 fields"),
        (delimited(1, b"\x18\x01" * 101), Limits(fields=100), "100 fields"),
        (delimited(2, b"\x18\x01" * 101), Limits(fields=100), "100 fields"),
        (
            delimited(
                2,
                delimited(1, b"cluster.h.upstream_rq_total")
                + delimited(4, delimited(2, b"\x10\x01") * 99),
            ),
            Limits(fields=100),
            "100 fields",
        ),
    ],
)
def test_bounds(data: bytes, limits: Limits, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        scan(data, limits)


def test_the_costliest_messages_take_milliseconds() -> None:
    """Within the default limits nothing holds up the event loop."""
    fill = b"\x18\x01" * (1 << 18)
    metric = delimited(4, delimited(2, b"\x09" + bytes(8)))
    name = delimited(1, b"cluster.h.upstream_rq_total")
    for data in (
        fill,
        delimited(2, fill[:-8]),
        delimited(2, name + metric * 30_000),
        delimited(2, name) * 16_000,
        delimited(2, b"") * 250_000,
    ):
        assert len(data) <= Limits().size
        begun = time.process_time()
        with pytest.raises(Malformed):
            scan(data)
        assert time.process_time() - begun < 0.2, "generous: the machine may be busy"
