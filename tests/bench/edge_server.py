"""The serving edge alone as a process: `xds.serve` with a handler that wishes the same for all.

What a fleet of sidecars of one scope looks like to the edge: some clusters with endpoints,
listeners and routes, shared by every stream. ``change`` moves one endpoint.
"""

import asyncio
import gc
import json
import sys
import time
from pathlib import Path

from tests.bench.process import messages, say
from tests.fakes.handler import FakeAuthenticator, FakeHandler
from tests.fakes.tls import self_signed, server_credentials
from xds.serve.lanes import Lane
from xds.serve.service import Service
from xds.serve.session import Session
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

SERVICES = 20
RESPONSE_SIZE = 560
"""Bytes of an assignment of 20 endpoints; with its envelope what `plait serve` sends for one."""
SUBSCRIPTIONS = {
    CLUSTER: [],
    ENDPOINT: [f"e|default|svc-{number}|80" for number in range(SERVICES)],
    LISTENER: [],
    ROUTE: ["px", "pxfc"],
}


class Fleet(FakeHandler):
    """Counts ACKs of the change instead of recording every event."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        for number in range(SERVICES):
            endpoints = f"e|default|svc-{number}|80"
            self.want(CLUSTER, f"h|default|svc-{number}|80", size=800, endpoints=endpoints)
            self.want(ENDPOINT, endpoints, size=RESPONSE_SIZE)
        for name in ("proxy", "ploop", "in|8080"):
            self.want(LISTENER, name, size=1300)
        for name in ("px", "pxfc"):
            self.want(ROUTE, name, size=6000)

    def change(self, version: str) -> None:
        self.left = len(self.sessions)
        self.want(ENDPOINT, "e|default|svc-0|80", version, Lane.DEMAND, size=RESPONSE_SIZE)

    def acked(
        self, session: Session, type_url: str, resources: tuple[tuple[str, str], ...], trial: bool
    ) -> None:
        if self.left and type_url == ENDPOINT:
            self.left -= 1
            if not self.left:
                say(acked=True)


def certificate(directory: str) -> tuple[bytes, bytes]:
    """The server certificate and key kept in ``directory``, made when there is none."""
    paths = [Path(directory) / name for name in ("server.pem", "server.key")]
    if not paths[0].exists():
        for path, content in zip(paths, self_signed(), strict=True):
            path.write_bytes(content)
    return paths[0].read_bytes(), paths[1].read_bytes()


async def main() -> None:
    # As the control plane does: a fan-out makes thousands of short-lived objects, and the default
    # thresholds would walk the whole heap for them again and again.
    gc.set_threshold(10_000, 10, 100)
    fleet = Fleet()
    service = Service(
        fleet,
        FakeAuthenticator(time.monotonic),
        credentials=server_credentials(*certificate(sys.argv[1])),
        address="127.0.0.1:0",
    )
    say(port=await service.start())
    lines = await messages()
    while line := await lines.readline():
        message = json.loads(line)
        if message["do"] == "change":
            fleet.change(message["version"])
    await service.stop(0)


if __name__ == "__main__":
    asyncio.run(main())
