"""The gRPC edge: who is served, how streams end, and that nobody disturbs anybody else."""

import asyncio
import contextlib
import resource as rusage
from collections.abc import Callable

import grpc
import pytest

from tests.fakes.ads_client import AdsClient, Ended
from tests.protocol.conftest import Edge
from xds.serve.limits import Denied
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE


async def test_serves_over_tls_with_a_token(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "h|default|web|80", endpoints="e|default|web|80")
    edge.handler.want(ENDPOINT, "e|default|web|80")
    client = edge.client()
    await client.request(CLUSTER)
    first = await client.expect(CLUSTER)
    assert first.names == ["h|default|web|80"]
    await client.request(ENDPOINT, subscribe=["e|default|web|80"])
    assert (await client.expect(ENDPOINT)).names == ["e|default|web|80"]
    await client.quiet()
    await _until(lambda: [session.settled for session in edge.service.sessions] == [True])


@pytest.mark.parametrize("token", ["", "forged", "good:-1"])
async def test_a_stranger_is_refused(edge: Edge, token: str) -> None:
    client = edge.client(token=token)
    ended = await client.ended()
    assert ended.code == "UNAUTHENTICATED"
    assert "token" in ended.detail
    assert edge.handler.events == []


async def test_another_nodes_id_is_refused(edge: Edge) -> None:
    client = edge.client(node="c1/default/stolen")
    await client.request(CLUSTER)
    ended = await client.ended()
    assert (ended.code, ended.detail) == (
        "PERMISSION_DENIED",
        "the token is not c1/default/stolen's",
    )
    assert edge.handler.events == []


async def test_a_stream_ends_when_its_token_expires(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "c")
    client = edge.client(token="good:0.5")
    await client.request(CLUSTER)
    await client.expect(CLUSTER)
    ended = await client.ended()
    assert ended.code == "UNAUTHENTICATED"
    assert "expired" in ended.detail
    assert edge.handler.events[-1] == ("closed", "c1/default/web")


async def test_stop_tells_every_stream(edge: Edge) -> None:
    client = edge.client()
    await client.request(CLUSTER)
    await client.expect(CLUSTER)
    stopping = asyncio.create_task(edge.service.stop(5.0))
    ended = await client.ended()
    await stopping
    assert (ended.code, "stopping" in ended.detail) == ("UNAVAILABLE", True)
    assert edge.handler.sessions == []


async def test_a_second_server_on_the_address_is_refused(edge: Edge) -> None:
    from tests.fakes.handler import FakeAuthenticator, FakeHandler
    from xds.serve.service import Service

    second = Service(
        FakeHandler(),
        FakeAuthenticator(),
        credentials=None,
        address=f"127.0.0.1:{edge.service.port}",
    )
    with pytest.raises(OSError, match=f"127.0.0.1:{edge.service.port}"):
        await second.start()


@pytest.mark.parametrize(
    ("garbage", "code"),
    [
        (b"\xff" * 40, "INVALID_ARGUMENT"),
        (b"", "INVALID_ARGUMENT"),
        (b"\x12\x05\xff\xff\xff\xff\xff", "INVALID_ARGUMENT"),
        (b"\x12\x03cds", "INVALID_ARGUMENT"),
        (bytes(100 << 20), "RESOURCE_EXHAUSTED"),
    ],
    ids=["noise", "empty", "no-utf8", "no-node", "100-MB"],
)
async def test_garbage_ends_its_own_stream_alone(edge: Edge, garbage: bytes, code: str) -> None:
    edge.handler.want(CLUSTER, "c")
    witness = edge.client("c1/default/witness")
    await witness.request(CLUSTER)
    await witness.expect(CLUSTER)
    client = AdsClient(edge.channel(), token="good")
    with contextlib.suppress(Ended):
        await client.raw(garbage)
    ended = await client.ended()
    assert ended.code == code
    assert ended.detail
    edge.handler.want(CLUSTER, "c", "2")
    assert (await witness.expect(CLUSTER)).names == ["c"]


async def test_a_failing_handler_ends_that_stream_alone(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    edge.handler.on_subscribed = fail
    witness, client = edge.client("c1/default/witness"), edge.client()
    for each in (witness, client):
        await each.request(CLUSTER)
        await each.expect(CLUSTER)
    await client.request(ROUTE, subscribe=["r"])
    assert (await client.ended()).code == "INTERNAL"
    assert "c1/default/web" in caplog.text
    edge.handler.want(CLUSTER, "c")
    assert (await witness.expect(CLUSTER)).names == ["c"]


async def test_a_client_that_never_acks_is_bounded(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "c", "0")
    silent, witness = edge.client("c1/default/silent"), edge.client("c1/default/witness")
    for each in (silent, witness):
        await each.request(CLUSTER)
    assert (await silent.receive()).names == ["c"]
    await witness.expect(CLUSTER)
    for number in range(1, 50):
        edge.handler.want(CLUSTER, "c", str(number))
        assert (await witness.expect(CLUSTER)).resources[0].version == str(number)
    await silent.quiet()
    await silent.request(CLUSTER, nonce="1")
    assert (await silent.receive()).resources[0].version == "49", "newest wins"


async def test_a_peer_that_does_not_read_costs_one_response(edge: Edge) -> None:
    """Responses of 1 MB to a peer that reads nothing: memory stays, others go on."""
    size = 1 << 20
    edge.handler.want(CLUSTER, "c", "0")
    stalled, witness = edge.client("c1/default/stalled"), edge.client("c1/default/witness")
    await stalled.request(CLUSTER)
    await witness.request(CLUSTER)
    await witness.expect(CLUSTER)
    before = _resident()
    for number in range(200):
        edge.handler.want(CLUSTER, f"c{number}", str(number), size=size)
        assert (await witness.expect(CLUSTER)).names == [f"c{number}"]
        witness.held.clear()
    session = next(s for s in edge.service.sessions if s.node and "stalled" in s.node.id)
    assert len(session.sent(CLUSTER)) < 20
    # The wishes themselves are 200 MB here, held once for all streams.
    assert _resident() - before < 450 << 20
    edge.handler.want(LISTENER, "l")


async def test_a_stalled_peer_is_cut_off_when_its_token_expires(edge: Edge) -> None:
    for number in range(40):
        edge.handler.want(CLUSTER, f"c{number}", "1", size=1 << 20)
    stalled = edge.client(token="good:1")
    await stalled.request(CLUSTER)
    await _until(lambda: ("closed", "c1/default/web") in edge.handler.events)
    assert list(edge.service.sessions) == []


async def test_a_stream_that_ends_with_a_response_on_its_way_says_why(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "c", size=16 << 20)
    client = edge.client()
    await client.request(CLUSTER)
    await _until(lambda: any(s.sent(CLUSTER) for s in edge.handler.sessions))
    edge.handler.sessions[0].end(Denied("UNAVAILABLE", "pod deleted"))
    await _until(lambda: ("closed", "c1/default/web") in edge.handler.events)
    assert (await client.receive()).names == ["c"]
    ended = await client.ended()
    assert (ended.code, ended.detail) == ("UNAVAILABLE", "pod deleted")


def _many(part: int) -> list[str]:
    return [f"a|{part}-{number}|1" for number in range(50_000)]


@pytest.mark.slow
async def test_a_million_names(edge: Edge) -> None:
    """Beyond the ceiling names are answered as absent and forgotten. Nobody else notices."""
    edge.handler.want(CLUSTER, "c", "0")
    witness, greedy = edge.client("c1/default/witness"), edge.client("c1/default/greedy")
    await witness.request(CLUSTER)
    await witness.expect(CLUSTER)
    for part in range(20):
        await greedy.request(CLUSTER, subscribe=_many(part))
        absent = 0
        while absent < 50_000:
            absent += len((response := await greedy.receive()).removed)
            await greedy.ack(response)
        edge.handler.want(CLUSTER, "c", str(part + 1))
        assert (await witness.expect(CLUSTER)).names == ["c"]
    session = next(s for s in edge.service.sessions if s.node and "greedy" in s.node.id)
    assert len(session.subscribed(CLUSTER)) == 50_000


@pytest.mark.slow
async def test_a_flood_of_names_without_reading_is_cut_off(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "c", "0")
    witness, greedy = edge.client("c1/default/witness"), edge.client("c1/default/greedy")
    await witness.request(CLUSTER)
    await witness.expect(CLUSTER)

    async def flood() -> None:
        for part in range(20):
            await greedy.request(CLUSTER, subscribe=_many(part))

    flooding = asyncio.create_task(flood())
    await _until(lambda: bool(edge.ends))
    code, detail = edge.ends[0]
    assert code == "RESOURCE_EXHAUSTED"
    assert "ceiling of 50000" in detail
    edge.handler.want(CLUSTER, "c", "1")
    assert (await witness.expect(CLUSTER)).names == ["c"]
    flooding.cancel()
    await asyncio.gather(flooding, return_exceptions=True)


async def test_a_thousand_streams_at_once(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "c")

    async def one(number: int, channel: grpc.aio.Channel) -> None:
        client = AdsClient(channel, node=f"c1/default/web-{number}", token="good")
        await client.request(CLUSTER)
        await client.expect(CLUSTER, timeout=60)

    channels = [edge.channel() for _ in range(10)]
    await asyncio.gather(*(one(number, channels[number % 10]) for number in range(1000)))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def _resident() -> int:
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * rusage.getpagesize()
