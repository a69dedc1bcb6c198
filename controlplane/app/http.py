"""Health and metrics over plain HTTP: /healthz, /readyz and /metrics, for probes and scrapers.

It serves no configuration and no identity. /readyz is ready only when every source is synced and
what it read is applied; it says why not.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

from controlplane.app.codec import to_json
from controlplane.app.settings import Address
from controlplane.app.statedir import CannotStart
from controlplane.app.views import Readiness

GRACE = 0.5
"""Seconds that a scrape has to end at shutdown."""

Exposition = Callable[[], tuple[bytes, str]]
"""The metrics as (body, content type)."""


def application(ready: Callable[[], Readiness], exposition: Exposition) -> web.Application:
    """The three pages. ``ready`` and ``exposition`` are called per request, on the loop."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        readiness = ready()
        return web.json_response(to_json(readiness), status=200 if readiness.ready else 503)

    async def metrics(_: web.Request) -> web.Response:
        body, kind = exposition()
        return web.Response(body=body, headers={"Content-Type": kind})

    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
        ]
    )
    return app


class HttpServer:
    """Serves `application` on ``address`` until cancelled."""

    name = "health and metrics"

    def __init__(
        self, address: Address, ready: Callable[[], Readiness], exposition: Exposition
    ) -> None:
        self.address = address
        """With port 0, the port chosen by the system once `start` has returned."""
        self._runner = web.AppRunner(
            application(ready, exposition), access_log=None, shutdown_timeout=GRACE
        )

    async def start(self) -> None:
        """Bind. Raises CannotStart when the address is taken or not ours."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address.host, self.address.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise CannotStart(
                f"cannot listen on {self.address} for health and metrics:"
                f" {(error.strerror or str(error)).lower()}",
                "Give another --metrics-address, or --metrics-address off",
            ) from None
        host, port = self._runner.addresses[0][:2]
        self.address = Address(host, port)

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self._runner.cleanup()
