"""A stream that has ended is freed at once, by count: no collector, which would stop all others."""

import asyncio
import gc
import time

from tests.protocol.conftest import Edge
from xds.serve.limits import Denied
from xds.serve.session import Session
from xds.types import CLUSTER, ROUTE


def sessions() -> int:
    return sum(isinstance(each, Session) for each in gc.get_objects())


async def test_ended_streams_leave_nothing_behind(edge: Edge) -> None:
    edge.handler.want(CLUSTER, "c")
    gc.collect()
    before = sessions()
    gc.disable()
    try:
        for end in ("left", "garbage", "refused"):
            client = edge.client()
            await client.request(CLUSTER)
            await client.expect(CLUSTER)
            await client.request(ROUTE, subscribe=["px"])
            if end == "garbage":
                await client.raw(b"\xff")
            elif end == "refused":
                edge.handler.sessions[0].end(Denied("UNAVAILABLE", "pod deleted"))
            await client.close()
        deadline = time.monotonic() + 10
        while sessions() > before:
            assert time.monotonic() < deadline, sessions() - before
            await asyncio.sleep(0.01)
    finally:
        gc.enable()
