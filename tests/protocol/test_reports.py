"""The metrics service at its edge: who may report, how streams end, what one may cost."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.fakes.delta_wire import text
from tests.protocol.conftest import Edge
from xds.types import CLUSTER

METHOD = "/envoy.service.metrics.v3.MetricsService/StreamMetrics"
WEB = "c1/default/web"


def first(node: str = WEB) -> bytes:
    """A message of a node and nothing else."""
    return text(1, text(1, text(1, node)))


def used(cluster: str) -> bytes:
    """One counter, 7."""
    value = text(4, text(3, b"\x09" + b"\x00\x00\x00\x00\x00\x00\x1c\x40"))
    return text(2, text(1, f"cluster.{cluster}.upstream_rq_total") + value)


class Reporter:
    def __init__(self, edge: Edge, token: str = "good") -> None:
        metadata = (("authorization", f"Bearer {token}"),) if token else None
        self.call: Any = edge.channel().stream_unary(METHOD)(metadata=metadata)

    async def ended(self) -> tuple[str, str]:
        async with asyncio.timeout(10):
            code = await self.call.code()
            return code.name, await self.call.details()


async def until(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not probe():
            await asyncio.sleep(0.005)


async def test_reports_are_taken_beside_the_configuration(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "c")
    client = edge.client()
    await client.request(CLUSTER)
    await client.expect(CLUSTER)
    reporter = Reporter(edge)
    await reporter.call.write(first() + used("h|a|b|80"))
    await reporter.call.write(used("h|a|c|80"))
    await until(lambda: len(edge.reports.seen) == 2)
    assert [node for node, _ in edge.reports.seen] == [WEB, WEB]
    assert [report.requests for _, report in edge.reports.seen] == [
        {"h|a|b|80": 7},
        {"h|a|c|80": 7},
    ]
    await reporter.call.done_writing()
    assert await reporter.ended() == ("OK", "")
    assert edge.reports.streams == 0


@pytest.mark.parametrize("token", ["", "forged", "good:-1"])
async def test_a_stranger_is_refused(edge: Edge, token: str) -> None:
    code, detail = await Reporter(edge, token).ended()
    assert (code, "token" in detail) == ("UNAUTHENTICATED", True)
    assert edge.reports.streams == 0


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        (first("c1/default/stolen"), "PERMISSION_DENIED", "not c1/default/stolen's"),
        (used("h|a|b|80"), "INVALID_ARGUMENT", "no node id"),
        (b"", "INVALID_ARGUMENT", "no node id"),
        (b"\xff" * 40, "INVALID_ARGUMENT", "varint"),
        (first() + bytes(1 << 20), "INVALID_ARGUMENT", "bytes"),
        (bytes(100 << 20), "RESOURCE_EXHAUSTED", ""),
    ],
    ids=["stolen", "no-node", "empty", "noise", "1-MB", "100-MB"],
)
async def test_nonsense_ends_its_own_stream_alone(
    edge: Edge, message: bytes, code: str, words: str
) -> None:
    witness = Reporter(edge)
    await witness.call.write(first())
    await until(lambda: len(edge.reports.seen) == 1)
    reporter = Reporter(edge)
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await reporter.call.write(message)
    ended = await reporter.ended()
    assert (ended[0], words in ended[1]) == (code, True), ended
    await witness.call.write(used("h|a|b|80"))
    await until(lambda: len(edge.reports.seen) == 2)


async def test_a_newer_stream_of_a_sidecar_ends_the_older(edge: Edge) -> None:
    old, new = Reporter(edge), Reporter(edge)
    await old.call.write(first())
    await until(lambda: len(edge.reports.seen) == 1)
    await new.call.write(first())
    assert await old.ended() == ("UNAVAILABLE", "a newer stream reports for this sidecar")
    await new.call.write(used("h|a|b|80"))
    await until(lambda: len(edge.reports.seen) == 3)


async def test_a_stream_ends_when_its_token_expires(edge: Edge) -> None:
    reporter = Reporter(edge, "good:0.5")
    await reporter.call.write(first())
    code, detail = await reporter.ended()
    assert (code, "expired" in detail) == ("UNAUTHENTICATED", True)


async def test_stop_ends_streams(edge: Edge) -> None:
    reporter = Reporter(edge)
    await reporter.call.write(first())
    await until(lambda: len(edge.reports.seen) == 1)
    stopping = asyncio.create_task(edge.service.stop(5.0))
    code, detail = await reporter.ended()
    assert (code, "stopping" in detail) == ("UNAVAILABLE", True)
    await stopping


async def test_a_defect_ends_that_stream_alone(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    edge.reports.fail = True
    reporter = Reporter(edge)
    await reporter.call.write(first())
    assert (await reporter.ended())[0] == "INTERNAL"
    assert WEB in caplog.text
    edge.reports.fail = False
    await Reporter(edge).call.write(first())
    await until(lambda: len(edge.reports.seen) == 1)


async def test_a_flood_does_not_hold_up_others(edge: Edge) -> None:
    """Costly messages without pause: configuration is still answered at once."""
    message = first() + b"".join(used(f"h|a|s{n}|80") for n in range(900))
    flood = Reporter(edge)

    async def pour() -> None:
        while True:
            await flood.call.write(message)

    pouring = asyncio.create_task(pour())
    try:
        await until(lambda: len(edge.reports.seen) >= 2)
        edge.handler.want(CLUSTER, "c", "0")
        client = edge.client("c1/default/witness")
        await client.request(CLUSTER)
        await client.expect(CLUSTER)
        begun, before = asyncio.get_running_loop().time(), len(edge.reports.seen)
        for number in range(1, 20):
            edge.handler.want(CLUSTER, "c", str(number))
            await client.expect(CLUSTER)
            await asyncio.sleep(0.02)
        took = asyncio.get_running_loop().time() - begun
        taken = len(edge.reports.seen) - before
        assert taken < 1000 * took, "far fewer than could be read"
    finally:
        pouring.cancel()
