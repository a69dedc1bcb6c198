"""The clock is set by a day while a stream is up: nobody is cut off, and its token ends when its
lifetime has gone by, whatever the time of day says meanwhile."""

from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from controlplane.identity import tokens
from controlplane.identity.authenticate import TokenAuthenticator
from tests.fakes.ads_client import AdsClient
from tests.fakes.clock import ManualClock
from tests.fakes.handler import FakeHandler
from tests.fakes.tls import server_credentials
from xds.serve.limits import Denied
from xds.serve.service import Service
from xds.types import CLUSTER

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WORKLOAD = tokens.Workload("c1", "shop", "web", "web")
ID = "spiffe://example.org/ns/shop/sa/web"


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_a_live_stream_is_not_cut(
    pair: tuple[bytes, bytes], tmp_path: Path, jump: timedelta
) -> None:
    clock, key = ManualClock(), tokens.load_or_create(tmp_path / "tokens")
    token = tokens.sign(key, WORKLOAD, ID, clock.now(), HOUR).reveal()
    handler = FakeHandler()
    service = Service(
        handler,
        TokenAuthenticator(key, clock),
        credentials=server_credentials(*pair),
        address="127.0.0.1:0",
        clock=clock.monotonic,
    )
    port = await service.start()
    credentials = grpc.ssl_channel_credentials(pair[0])
    try:
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            client = AdsClient(channel, node="c1/shop/web", token=token)
            handler.want(CLUSTER, "before")
            await client.request(CLUSTER)
            assert (await client.expect(CLUSTER)).names == ["before"]
            clock.set_by(jump)
            await client.quiet()
            handler.want(CLUSTER, "after")
            assert (await client.expect(CLUSTER)).names == ["after"]
    finally:
        await service.stop(1.0)


async def test_a_stream_ends_by_monotonic_time(tmp_path: Path) -> None:
    clock, key = ManualClock(), tokens.load_or_create(tmp_path)
    authenticator = TokenAuthenticator(key, clock)
    metadata = {
        "authorization": f"Bearer {tokens.sign(key, WORKLOAD, ID, clock.now(), HOUR).reveal()}"
    }
    until = (await authenticator.authenticate(metadata, "")).expires_at
    assert until == clock.monotonic() + 3600
    clock.pass_time(HOUR / 2)
    assert (await authenticator.authenticate(metadata, "")).expires_at == until
    clock.set_by(-DAY)  # the token seems to have a day and a half to live
    assert (await authenticator.authenticate(metadata, "")).expires_at == clock.monotonic() + 3600
    clock.set_by(2 * DAY)
    with pytest.raises(Denied) as denied:
        await authenticator.authenticate(metadata, "")
    assert "expired" in denied.value.detail
