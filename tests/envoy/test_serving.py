"""What the serving edge assumes about Envoy: warming, the greeting, clusters that come and go."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.envoy.conftest import Envoys
from tests.envoy.loopback import Loopback
from tests.envoy.plane import Plane
from tests.envoy.process import EnvoyProcess
from xds import names, types
from xds.build.clusters import cluster
from xds.build.endpoints import assignment, fragment
from xds.ir.cluster import ConnectionSettings, EdsCluster, Wire
from xds.ir.endpoint import Endpoint
from xds.serve.limits import Denied
from xds.serve.session import Session
from xds.wire.resource import Resource

pytestmark = pytest.mark.envoy

REVIEWS = names.BackendName("h", "shop", "reviews", 80)
CLUSTER = EdsCluster(str(REVIEWS), REVIEWS.endpoints, Wire.HTTP2)
BEFORE_FETCH_TIMEOUT = 10.0
"""Envoy gives up on an assignment after 15 s; whatever comes earlier was really answered."""


def wish(plane: Plane, loopback: Loopback) -> Resource:
    made = cluster(CLUSTER)
    given = assignment(REVIEWS.endpoints, (fragment((Endpoint(loopback.address(9), 80),)),))
    plane.wish([(made, REVIEWS.endpoints), (given, "")])
    return made


async def settled(plane: Plane, envoy: EnvoyProcess) -> Session:
    async def rest() -> Session | None:
        settled = [each for each in plane.sessions if each.settled]
        return settled[0] if settled else None

    found = await envoy.until("at rest", rest, BEFORE_FETCH_TIMEOUT)
    assert found is not None
    return found


async def active(envoy: EnvoyProcess) -> dict[str, str]:
    """Versions of the clusters that are warm, by name."""
    dump = await envoy.dumped("ClustersConfigDump")
    assert "dynamic_warming_clusters" not in dump
    clusters = dump.get("dynamic_active_clusters", [])
    return {each["cluster"]["name"]: each["version_info"] for each in clusters}


async def test_a_changed_cluster_is_warm_with_the_assignment_it_had(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    """Envoy asks for nothing when a known cluster changes; its assignment follows unasked, in the
    version that was sent before."""
    async with Plane(short / "state", loopback.address(1)) as plane:
        wish(plane, loopback)
        envoy = await envoys.start("web", plane.files("web-1", envoys.directory("web")).bootstrap)
        await envoy.ready()
        session = await settled(plane, envoy)
        given = session.acked(types.ENDPOINT)[REVIEWS.endpoints]
        plane.acks.clear()
        slower = ConnectionSettings(connect_timeout=timedelta(seconds=9))
        changed = cluster(replace(CLUSTER, connection=slower))
        session.want(types.CLUSTER, changed.name, changed, endpoints=REVIEWS.endpoints)
        await settled(plane, envoy)
        assert sorted(plane.acks) == [
            (types.CLUSTER, changed.name, changed.version),
            (types.ENDPOINT, REVIEWS.endpoints, given),
        ]
        assert await active(envoy) == {changed.name: changed.version}


async def test_a_cluster_and_its_assignment_leave_and_come_again(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with Plane(short / "state", loopback.address(1)) as plane:
        made = wish(plane, loopback)
        envoy = await envoys.start("web", plane.files("web-1", envoys.directory("web")).bootstrap)
        await envoy.ready()
        session = await settled(plane, envoy)
        for _ in range(3):
            session.want(types.CLUSTER, made.name, None)
            await settled(plane, envoy)
            assert await active(envoy) == {}
            session.want(types.CLUSTER, made.name, made, endpoints=REVIEWS.endpoints)
            await settled(plane, envoy)
            assert await active(envoy) == {made.name: made.version}


async def test_what_vanished_while_the_stream_was_down_leaves(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    """This Envoy has no routes, so only its answer to an empty response tells that it reported
    all that it holds."""
    async with Plane(short / "state", loopback.address(1)) as plane:
        made = wish(plane, loopback)
        envoy = await envoys.start("web", plane.files("web-1", envoys.directory("web")).bootstrap)
        await envoy.ready()
        first = await settled(plane, envoy)
        assert await active(envoy) == {made.name: made.version}
        plane.wishes.clear()
        first.end(Denied("UNAVAILABLE", "the test ends this stream"))

        async def gone() -> bool:
            return await active(envoy) == {}

        await envoy.until("rid of the cluster", gone, BEFORE_FETCH_TIMEOUT)
        second = await settled(plane, envoy)
        assert second is not first
        assert made.name not in second.acked(types.CLUSTER)
