"""A TLS server on loopback around a fake handler, and clients of it."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import grpc
import pytest
import pytest_asyncio

from tests.fakes.ads_client import AdsClient
from tests.fakes.handler import FakeAuthenticator, FakeHandler
from tests.fakes.tls import self_signed, server_credentials
from xds.serve.observer import Unobserved
from xds.serve.service import Service
from xds.wire.metrics import Report
from xds.wire.request import Node


@pytest.fixture(scope="session")
def pair() -> tuple[bytes, bytes]:
    return self_signed()


class Ends(Unobserved):
    """Notes how streams end."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def closed(self, code: str, detail: str) -> None:
        self.seen.append((code, detail))


class Recorder:
    """Keeps what sidecars report; ``fail`` makes it break."""

    def __init__(self) -> None:
        self.streams = 0
        self.seen: list[tuple[str, Report]] = []
        self.fail = False

    def opened(self) -> None:
        self.streams += 1

    def reported(self, node: Node, report: Report, size: int) -> None:
        if self.fail:
            raise ZeroDivisionError
        self.seen.append((node.id, report))

    def closed(self) -> None:
        self.streams -= 1


@dataclass
class Edge:
    """A started service and what is needed to speak to it."""

    service: Service
    handler: FakeHandler
    channel: Callable[[], grpc.aio.Channel]
    ends: list[tuple[str, str]]
    """(status, detail) of streams that were served and have ended."""
    reports: Recorder

    def client(self, node: str = "c1/default/web", token: str = "good") -> AdsClient:
        return AdsClient(self.channel(), node=node, token=token)


@pytest_asyncio.fixture
async def edge(pair: tuple[bytes, bytes]) -> AsyncIterator[Edge]:
    """A service over TLS; clients' channels are closed at the end."""
    handler = FakeHandler()
    ends, reports = Ends(), Recorder()
    service = Service(
        handler,
        FakeAuthenticator(time.monotonic),
        credentials=server_credentials(*pair),
        address="127.0.0.1:0",
        observer=ends,
        reports=reports,
    )
    port = await service.start()
    channels: list[grpc.aio.Channel] = []

    def channel() -> grpc.aio.Channel:
        made = grpc.aio.secure_channel(
            f"localhost:{port}",
            grpc.ssl_channel_credentials(pair[0]),
            options=(
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.max_receive_message_length", -1),
            ),
        )
        channels.append(made)
        return made

    yield Edge(service, handler, channel, ends.seen, reports)
    for each in channels:
        await each.close()
    await service.stop(1.0)
