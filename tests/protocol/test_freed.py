"""A stream that has ended is freed at once, by count: no collector, which would stop all others."""

import asyncio
import gc
import time
from collections.abc import Callable

from tests.protocol.conftest import Edge
from xds.serve.limits import Denied
from xds.serve.session import Session
from xds.types import CLUSTER, ROUTE


def sessions() -> int:
    return sum(isinstance(each, Session) for each in gc.get_objects())


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, sessions()
        await asyncio.sleep(0.01)


async def test_ended_streams_leave_nothing_behind(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "c")
    gc.collect()
    before = sessions()
    gc.disable()
    try:
        for end in ("left", "garbage", "refused", "broken"):
            client = edge.client()
            await client.request(CLUSTER)
            await client.expect(CLUSTER)
            await client.request(ROUTE, subscribe=["px"])
            if end == "garbage":
                await client.raw(b"\xff")
            elif end == "refused":
                edge.handler.sessions[0].end(Denied("UNAVAILABLE", "pod deleted"))
            elif end == "broken":
                # It goes while a response that it does not read is on its way.
                edge.handler.want(CLUSTER, "large", size=16 << 20)
                await until(lambda: "large" in edge.handler.sessions[-1].sent(CLUSTER))
            await client.close()
        await until(lambda: sessions() <= before)
    finally:
        gc.enable()
