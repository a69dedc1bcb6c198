"""What a real sidecar reports of itself, and that the stream has the sidecar's identity."""

from datetime import timedelta
from pathlib import Path

import pytest

from tests.envoy.conftest import Envoys
from tests.envoy.loopback import Loopback
from tests.envoy.plane import Plane

pytestmark = pytest.mark.envoy
OFTEN = timedelta(seconds=0.2)
SMALL = 10_000
"""Bytes of a report without any destination in use."""


async def test_a_sidecar_reports_its_clusters_and_its_memory(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with Plane(short / "state", loopback.address(1)) as plane:
        files = plane.files("web", envoys.directory("web"), report_interval=OFTEN)
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()
        seen = plane.reports.seen

        async def several() -> bool:
            return len(seen) >= 3

        await envoy.until("reporting", several)
        assert {node for node, _, _ in seen} == {"local/shop/web"}
        [first, second, third] = [report for _, report, _ in seen[:3]]
        assert first.node is not None, "once a stream"
        assert second.node is third.node is None
        assert first.node.metadata["capture"] == "proxy"
        assert third.connections == third.active_connections == {"xds": 1}
        assert third.requests == third.active_requests == {"xds": 2}, "configuration and reports"
        assert third.memory is not None
        allocated = (await envoy.memory())["allocated"]
        assert 0.5 < third.memory / allocated < 2
        assert seen[2][2] < SMALL
        assert plane.refusals.seen == []


async def test_a_report_stream_ends_with_its_token_and_comes_again(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with Plane(short / "state", loopback.address(1)) as plane:
        short_lived = plane.token("web", lifetime=timedelta(seconds=6))
        files = plane.files("web", envoys.directory("web"), short_lived, OFTEN)
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()
        seen = plane.reports.seen

        async def reporting() -> bool:
            return bool(seen)

        await envoy.until("reporting", reporting)
        files.renew_token(plane.token("web"))

        async def again() -> bool:
            return sum(1 for _, report, _ in seen if report.node is not None) == 2

        await envoy.until("reporting on a second stream", again)
        assert plane.reports.streams == 1
