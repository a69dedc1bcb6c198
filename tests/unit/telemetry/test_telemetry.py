"""Metrics, traces and logs of the control plane."""

import asyncio
import io
import json
import logging
import sys
import time
from functools import partial

import pytest
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client.parser import text_string_to_metric_families

from controlplane.graph import Graph, Reader, query
from controlplane.telemetry import engine, logs, metrics
from controlplane.telemetry.lag import LIMIT, LoopLag, WatchedLoop
from controlplane.telemetry.mesh import MeshReadings, expose
from controlplane.telemetry.metrics import Metric, Metrics
from controlplane.telemetry.traces import Traces, UnknownExporter, exporter_from
from controlplane.telemetry.xds import XdsMetrics
from controlplane.world.rows import Key, Namespace
from controlplane.world.schema import NAMESPACES
from controlplane.world.transaction import Put
from xds import types
from xds.serve.delta import ResponseCache
from xds.serve.lanes import Lane
from xds.wire.resource import make

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ3ZWIifQ.c2lnbmF0dXJl"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA\n-----END EC PRIVATE KEY-----"


def samples(exposed: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text, _ = exposed.exposition()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_names_are_unique_and_prefixed() -> None:
    declared = [value for value in vars(metrics).values() if isinstance(value, Metric)]
    names = [metric.name for metric in declared]
    assert len(set(names)) == len(names)
    assert all(name.startswith("plait.") for name in names)
    assert all(metric.help for metric in declared)


def test_types_that_nobody_knows_are_counted_as_one() -> None:
    exposed = Metrics()
    counted = XdsMetrics(exposed)
    for number in range(3):
        counted.nacked(f"type.example/{number}", 1, "no")
        counted.turned_away(f"type.example/{number}", 1)
    found = samples(exposed)
    assert found[("plait_xds_nacks_total", (("type", "other"),))] == 3
    assert found[("plait_xds_turned_away_total", ())] == 3


def test_an_event_without_end_is_logged_now_and_then_with_what_was_left_out() -> None:
    throttle = logs.Throttle(lines=2, seconds=10)

    def passes(event: str, moment: float) -> logging.LogRecord | None:
        record = logging.LogRecord("x", logging.WARNING, "", 0, event, (), None)
        record.created = moment
        return record if throttle.filter(record) else None

    assert [bool(passes("refused", at)) for at in (0.0, 1.0, 2.0, 3.0, 9.9)] == [1, 1, 0, 0, 0]
    assert passes("another", 3.0)
    later = passes("refused", 10.0)
    assert later is not None
    assert later.__dict__["left_out"] == 3
    assert "left_out" not in passes("refused", 11.0).__dict__


def test_streams_are_counted_by_type() -> None:
    exposed = Metrics()
    counted = XdsMetrics(exposed)
    counted.opened()
    counted.opened()
    counted.closed("UNAVAILABLE", "token expired")
    counted.denied("UNAUTHENTICATED", "no token")
    counted.received(100)
    made = [make(types.CLUSTER, name, b"12345") for name in ("one", "two", "three", "four")]
    batches = ResponseCache()
    several = batches.batch(types.CLUSTER, tuple(made[:3]), ("gone",))
    single = batches.batch(types.CLUSTER, (made[3],))
    counted.pushed(several, Lane.CONFIG, 500)
    counted.pushed(single, Lane.DEMAND, 50)
    counted.acked(types.CLUSTER, Lane.CONFIG, 3, 0.004)
    counted.acked(types.CLUSTER, Lane.CONFIG, 3, 99.0)
    counted.nacked(types.ROUTE, 1, "duplicate domain")
    counted.turned_away(types.CLUSTER, 7)
    found = samples(exposed)
    cds = (("type", "cds"),)
    assert found[("plait_xds_streams", ())] == 1
    assert found[("plait_xds_opened_total", ())] == 2
    assert found[("plait_xds_closed_total", (("code", "UNAVAILABLE"),))] == 1
    assert found[("plait_xds_denied_total", (("code", "UNAUTHENTICATED"),))] == 1
    assert found[("plait_xds_received_bytes_total", ())] == 100
    assert found[("plait_xds_sent_bytes_total", cds)] == 550
    assert found[("plait_xds_responses_total", cds)] == 2
    assert found[("plait_xds_resources_total", cds)] == 4
    assert found[("plait_xds_removed_total", cds)] == 1
    assert found[("plait_xds_acks_total", cds)] == 2
    assert found[("plait_xds_nacks_total", (("type", "rds"),))] == 1
    assert found[("plait_xds_turned_away_total", ())] == 7
    assert found[("plait_xds_ack_seconds_bucket", (("le", "0.0025"),))] == 0
    assert found[("plait_xds_ack_seconds_bucket", (("le", "0.005"),))] == 1
    assert found[("plait_xds_ack_seconds_bucket", (("le", "+Inf"),))] == 2
    assert found[("plait_xds_ack_seconds_sum", ())] == pytest.approx(99.004)
    exposed.close()


@query
def labels_of(q: Reader, key: Key) -> int:
    row = q.get(NAMESPACES, key)
    return len(row.labels) if row else 0


def test_the_engine_is_exposed_and_rechecked() -> None:
    exposed, graph = Metrics(), Graph()
    recheck = engine.Recheck(exposed, graph, 1.0)
    engine.expose(exposed, graph)
    recheck.check()
    assert recheck.checked == 0
    key = Key("local", "", "shop")
    graph.apply([Put(NAMESPACES, key, Namespace(key, (("a", "b"),)))])
    graph.subscribe("stream", labels_of, key)
    graph.settle()
    recheck.check()
    found = samples(exposed)
    assert found[("plait_world_revision", ())] == 1
    assert found[("plait_engine_runs_total", ())] == 1
    assert found[("plait_engine_pending", ())] == 0
    ((query_label, nodes),) = [
        (labels, value) for (name, labels), value in found.items() if name == "plait_engine_nodes"
    ]
    assert query_label[0][1].endswith("labels_of")
    assert nodes == 1
    assert found[("plait_engine_rechecks_total", ())] == 1
    assert found[("plait_engine_stale_total", ())] == 0
    exposed.close()


def test_a_stale_value_is_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    hidden = 1

    @query
    def impure(q: Reader, key: Key) -> int:
        return hidden

    exposed, graph = Metrics(), Graph()
    recheck = engine.Recheck(exposed, graph, 1.0)
    graph.subscribe("stream", impure, Key("local", "", "shop"))
    graph.settle()
    hidden = 2
    recheck.check()
    assert recheck.stale == 1
    assert "differs from a fresh one" in caplog.text
    exposed.close()


def test_the_mesh_is_exposed() -> None:
    exposed = Metrics()
    expose(
        exposed,
        MeshReadings(
            lambda: {"Service": 3},
            lambda: {"error": 1, "warning": 0},
            lambda: {"files": 1},
            lambda: 5,
        ),
    )
    found = samples(exposed)
    assert found[("plait_world_objects", (("kind", "Service"),))] == 3
    assert found[("plait_problems", (("severity", "error"),))] == 1
    assert found[("plait_problems", (("severity", "warning"),))] == 0
    assert found[("plait_source_synced", (("source", "files"),))] == 1
    assert found[("plait_identity_leaves", ())] == 5
    exposed.close()


async def test_a_blocked_loop_shows_as_lag() -> None:
    exposed = Metrics()
    lag = LoopLag(exposed)
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(lag.run())
    await asyncio.sleep(0)  # the timer is set
    until = loop.time() + 0.5
    while loop.time() < until:
        pass
    for _ in range(5):  # the timer's callback, then the task
        await asyncio.sleep(0)
    assert samples(exposed)[("plait_loop_lag_seconds", ())] > 0.1
    assert samples(exposed)[("plait_loop_lag_seconds", ())] == 0
    running.cancel()
    await asyncio.wait({running})
    exposed.close()


def test_work_that_keeps_streams_waiting_is_counted_and_its_query_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @query
    def long(q: Reader, key: Key) -> int:
        spent = time.thread_time() + 3 * LIMIT
        while time.thread_time() < spent:
            pass
        return 1

    exposed, graph = Metrics(), Graph(clock=time.monotonic)
    lag = LoopLag(exposed, partial(engine.slowest, graph))

    async def work() -> None:
        running = asyncio.create_task(lag.run())
        await asyncio.sleep(0.01)
        for name in ("one", "two"):
            graph.read(long, Key("local", "", name))
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait({running})

    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        runner.run(work())
    found = samples(exposed)
    assert found[("plait_loop_blocked_total", ())] >= 2
    assert found[("plait_loop_work_seconds", ())] > LIMIT
    assert samples(exposed)[("plait_loop_work_seconds", ())] == 0
    (warning,) = (each for each in caplog.records if "kept from its streams" in each.message)
    assert warning.__dict__["query"].endswith(".long")
    assert warning.__dict__["query_milliseconds"] > LIMIT * 1e3
    exposed.close()


def test_one_trace_per_transaction() -> None:
    exporter = InMemorySpanExporter()
    traces = Traces(exporter, batch=False)
    for revision in (1, 2):
        transaction = traces.transaction(revision, changes=3)
        with transaction.step("evaluate", pending=2):
            pass
        with pytest.raises(ZeroDivisionError), transaction.step("push"):
            raise ZeroDivisionError
        transaction.note(streams=5)
        transaction.end()
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["evaluate", "push", "transaction"] * 2
    evaluate, push, root = spans[:3]
    assert evaluate.parent is not None
    assert root.context is not None
    assert evaluate.parent.span_id == root.context.span_id
    assert push.status.status_code is StatusCode.ERROR
    assert dict(root.attributes or {}) == {
        "plait.revision": 1,
        "plait.changes": 3,
        "plait.streams": 5,
    }
    assert len({span.context.trace_id for span in spans if span.context}) == 2
    traces.close()


def test_without_an_exporter_nothing_is_traced() -> None:
    traces = Traces(None)
    transaction = traces.transaction(1)
    with transaction.step("evaluate") as span:
        assert not span.is_recording()
    transaction.end()
    traces.close()


def test_the_environment_chooses_the_exporter() -> None:
    assert exporter_from({}) is None
    assert exporter_from({"OTEL_TRACES_EXPORTER": "none"}) is None
    assert exporter_from({"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"}) is None
    assert isinstance(exporter_from({"OTEL_TRACES_EXPORTER": "console"}), ConsoleSpanExporter)
    with pytest.raises(UnknownExporter, match="zipkinn, which is not installed"):
        exporter_from({"OTEL_TRACES_EXPORTER": "zipkinn"})
    with pytest.raises(UnknownExporter, match="=carrier-pigeon is unknown"):
        exporter_from(
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon"}
        )


def record(message: str, **facts: object) -> logging.LogRecord:
    made = logging.LogRecord("plait.test", logging.WARNING, "f", 1, message, (), None)
    made.__dict__.update(facts)
    return made


def test_json_lines_hold_event_and_facts() -> None:
    line = json.loads(logs.JsonFormatter().format(record("resource rejected", type="rds", n=2)))
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "plait.test",
        "event": "resource rejected",
        "type": "rds",
        "n": 2,
    }


@pytest.mark.parametrize(
    "formatter", [logs.JsonFormatter(), logs.ConsoleFormatter(colours=False)], ids=["json", "text"]
)
def test_secrets_are_blotted_out_wherever_they_stand(formatter: logging.Formatter) -> None:
    try:
        raise ValueError(f"bad key {KEY}")
    except ValueError:
        caught = sys.exc_info()
    made = record(f"got {JWT}", header=f"Bearer {'a' * 20}", nested={"key": KEY}, after="kept")
    made.exc_info = caught
    line = formatter.format(made)
    for secret in (JWT, "a" * 20, "MHcCAQEEIA"):
        assert secret not in line
    assert line.count(logs.REDACTED) == 4
    assert "kept" in line
    assert "ValueError" in line
    if isinstance(formatter, logs.JsonFormatter):
        json.loads(line)


def test_a_key_that_is_cut_off_is_blotted_out_too() -> None:
    line = logs.JsonFormatter().format(record("x", key=KEY[:50], after="kept"))
    assert json.loads(line) | {"time": ""} == {
        "time": "",
        "level": "warning",
        "logger": "plait.test",
        "event": "x",
        "key": logs.REDACTED,
        "after": "kept",
    }


def test_configure_chooses_the_form_by_terminal() -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        stream = io.StringIO()
        logs.configure("info", "auto", stream)
        logging.getLogger("plait.test").debug("not shown")
        logging.getLogger("plait.test").info("shown", extra={"a": 1})
        assert json.loads(stream.getvalue())["a"] == 1
        stream = io.StringIO()
        logs.configure("info", "console", stream)
        logging.getLogger("plait.test").info("shown", extra={"a": 1})
        assert stream.getvalue().rstrip().endswith("info    shown  a=1")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
