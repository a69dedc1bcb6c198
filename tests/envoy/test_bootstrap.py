"""A stock Envoy with our bootstrap and our identity: what it gets, and what it is refused."""

from datetime import timedelta
from pathlib import Path

import pytest

from controlplane.identity import tokens
from sidecar.bootstrap import bootstrap
from sidecar.files import SidecarFiles
from tests.envoy.conftest import Envoys
from tests.envoy.loopback import Loopback
from tests.envoy.plane import TRUST_DOMAIN, Plane
from tests.envoy.process import EnvoyProcess
from xds import names, types
from xds.build.clusters import cluster
from xds.build.endpoints import assignment, fragment
from xds.ir.cluster import EdsCluster, UpstreamTls, Wire
from xds.ir.endpoint import Endpoint
from xds.serve.limits import Denied
from xds.wire.resource import Resource

pytestmark = pytest.mark.envoy

ID = names.spiffe_id(TRUST_DOMAIN, "shop", "web")
REVIEWS = names.BackendName("h", "shop", "reviews", 80)


def reviews(loopback: Loopback) -> list[tuple[Resource, str]]:
    """One mTLS cluster with one endpoint: enough to make Envoy ask for its leaf and the roots."""
    tls = UpstreamTls(
        sni="p80.reviews.shop.cluster.local",
        trust_domain=TRUST_DOMAIN,
        peers=(names.spiffe_id(TRUST_DOMAIN, "shop", "reviews"),),
    )
    endpoint = Endpoint(loopback.address(9), 80, tls=True)
    made = cluster(EdsCluster(str(REVIEWS), REVIEWS.endpoints, Wire.HTTP2, tls))
    return [
        (made, REVIEWS.endpoints),
        (assignment(REVIEWS.endpoints, (fragment((endpoint,)),)), ""),
    ]


def plane_on(loopback: Loopback, base: Path) -> Plane:
    plane = Plane(base / "state", loopback.address(1))
    plane.wish(reviews(loopback))
    return plane


async def serial(envoy: EnvoyProcess) -> str:
    """Serial of the leaf that Envoy has loaded, in hex."""
    [loaded] = [each for each in await envoy.certs() if each.get("cert_chain")]
    assert loaded["cert_chain"][0]["subject_alt_names"] == [{"uri": ID}]
    return str(loaded["cert_chain"][0]["serial_number"])


def sent_serial(plane: Plane) -> str:
    [session] = plane.sessions
    slot = plane.leaves.slot(session)
    assert slot is not None
    return f"{slot.version.serial:x}"


async def test_leaf_and_cluster(loopback: Loopback, envoys: Envoys, short: Path) -> None:
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()

        [principal] = plane.principals
        assert (principal.namespace, principal.workload, principal.account) == (
            "shop",
            "web-1",
            "web",
        )
        clusters = (await envoy.dumped("ClustersConfigDump"))["dynamic_active_clusters"]
        assert [each["cluster"]["name"] for each in clusters] == [str(REVIEWS)]
        assert int((await serial(envoy)).lstrip("0"), 16) == int(sent_serial(plane), 16)
        secrets = (await envoy.dumped("SecretsConfigDump"))["dynamic_active_secrets"]
        held = {each["name"]: each.get("version_info", "") for each in secrets}
        assert held["identity"].startswith(f"leaf|{plane.identity.authority.key_id}|")
        assert f"roots|{TRUST_DOMAIN}" in held
        assert [name for type_url, name, _ in plane.acks if type_url == types.CLUSTER] == [
            str(REVIEWS)
        ]
        members = await envoy.stats("membership_total")
        assert members[f"cluster.{REVIEWS}.membership_total"] == 1
        assert members["cluster.local.membership_total"] == 0


async def test_node_says_who_and_nothing_more(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        await (await envoys.start("web", files.bootstrap)).ready()
        node = plane.sessions[0].node
        assert node is not None
        assert (node.id, node.cluster) == ("local/shop/web-1", "web")
        assert node.metadata == {"capture": "proxy", "v": 1}


async def test_leaf_is_rotated_on_the_stream(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()
        old = await serial(envoy)
        plane.rotate()

        async def changed() -> bool:
            return await serial(envoy) != old

        await envoy.until("rotated", changed)
        assert int(await serial(envoy), 16) == int(sent_serial(plane), 16)
        assert len(plane.principals) == 1


async def test_reconnect_reports_the_leaf(loopback: Loopback, envoys: Envoys, short: Path) -> None:
    """The version that Envoy reports at its next stream is the one that the leaf was sent with."""
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()
        [first] = plane.sessions
        version = first.acked(types.SECRET)[names.IDENTITY_SECRET]
        await next_stream(plane, envoy)
        [second] = plane.sessions
        assert second is not first

        async def kept() -> bool:
            return bool(plane.kept)

        await envoy.until("keeping its leaf", kept)
        assert plane.kept == [version]
        assert plane.leaves.issued == 1
        assert first.acked(types.SECRET)[names.IDENTITY_SECRET] == version


async def next_stream(plane: Plane, envoy: EnvoyProcess) -> None:
    """End every stream and wait for the next one."""
    before = len(plane.principals)
    for session in list(plane.sessions):
        session.end(Denied("UNAVAILABLE", "the test ends this stream"))

    async def again() -> bool:
        return len(plane.principals) > before and bool(plane.sessions)

    await envoy.until("connected again", again)


async def test_renewed_token_is_used_at_the_next_stream(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()
        [first] = plane.principals
        for _ in range(3):  # the layout has two places, so three swaps use each again
            files.renew_token(plane.token("web-1"))
            await until_new_token(plane, envoy)
        assert plane.principals[-1].workload == first.workload
        assert [each for each in plane.refusals.seen if "UNAUTHENTICATED" in each] == []


async def until_new_token(plane: Plane, envoy: EnvoyProcess) -> None:
    """End streams until one comes with a token that was not seen before."""

    async def fresh() -> bool:
        await next_stream(plane, envoy)
        token_ids = [str(each.claims["token_id"]) for each in plane.principals]
        return token_ids[-1] not in token_ids[:-1]

    await envoy.until("using its new token", fresh)


async def refused(plane: Plane, envoys: Envoys, files: SidecarFiles) -> str:
    """Start an Envoy that must not be served; the control plane's reason."""
    envoy = await envoys.start("stranger", files.bootstrap)

    async def seen() -> str | None:
        return plane.refusals.seen[-1] if len(plane.refusals.seen) >= 2 else None

    reason = await envoy.until("refused twice", seen)
    assert (await envoy.get("/ready")).strip() != "LIVE"
    dump = await envoy.dumped("ClustersConfigDump")
    assert "dynamic_active_clusters" not in dump
    assert plane.leaves.issued == 0
    assert plane.sessions == []
    return reason


async def test_refused_without_a_token(loopback: Loopback, envoys: Envoys, short: Path) -> None:
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("stranger"))
        config = plane.sidecar("web-1", files.directory)
        data = bootstrap(config)
        [control_plane] = [
            each for each in data["static_resources"]["clusters"] if each["name"] == "xds"
        ]
        [options] = control_plane["typed_extension_protocol_options"].values()
        del options["http_filters"]
        envoy = await envoys.start("stranger", data)

        async def seen() -> str | None:
            return plane.refusals.seen[-1] if plane.refusals.seen else None

        assert await envoy.until("refused", seen) == (
            "UNAUTHENTICATED: no bearer token was presented"
        )
        assert plane.sessions == []


async def test_refused_with_an_expired_token(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with plane_on(loopback, short) as plane:
        workload = plane.workload("web-1")
        old = tokens.sign(
            plane.identity.token_key,
            workload,
            ID,
            plane.clock.now() - timedelta(hours=2),
            timedelta(hours=1),
        )
        files = plane.files("web-1", envoys.directory("stranger"), old.reveal())
        assert "the token expired at" in await refused(plane, envoys, files)


async def test_refused_with_another_workloads_token(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    """A pod that stole its neighbour's token, under its own name or the neighbour's namespace."""
    async with plane_on(loopback, short) as plane:
        stolen = plane.token("ledger-1", "ledger")
        files = plane.files("web-1", envoys.directory("stranger"), stolen)
        reason = await refused(plane, envoys, files)
        assert reason.startswith("PERMISSION_DENIED: the token is that of local/shop/ledger-1")


async def test_refused_under_another_node_id(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with plane_on(loopback, short) as plane:
        own = plane.token("web-1")
        files = plane.files("ledger-1", envoys.directory("stranger"), own)
        reason = await refused(plane, envoys, files)
        assert "may not call itself 'local/shop/ledger-1'" in reason


async def test_refused_with_another_control_planes_token(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    other = tokens.load_or_create(short / "other" / "tokens")
    async with plane_on(loopback, short) as plane:
        token = tokens.sign(other, plane.workload("web-1"), ID, plane.clock.now())
        files = plane.files("web-1", envoys.directory("stranger"), token.reveal())
        assert "a key of another control plane" in await refused(plane, envoys, files)


async def test_an_impostor_is_not_trusted(loopback: Loopback, envoys: Envoys, short: Path) -> None:
    """A server of another authority gets no token: TLS fails before anything is sent."""
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        stranger = Plane(short / "impostor", loopback.address(2))
        files.renew_roots(stranger.identity.authority.bundle)
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.until_stat("cluster.xds.ssl.fail_verify_error", 1)
        assert plane.principals == []
        assert plane.refusals.seen == []
        # The right roots arrive; Envoy sees them without a restart.
        files.renew_roots(plane.identity.authority.bundle)
        await envoy.ready()


async def test_stream_ends_with_its_token(loopback: Loopback, envoys: Envoys, short: Path) -> None:
    async with plane_on(loopback, short) as plane:
        short_lived = tokens.sign(
            plane.identity.token_key,
            plane.workload("web-1"),
            ID,
            plane.clock.now(),
            timedelta(seconds=4),
        )
        files = plane.files("web-1", envoys.directory("web"), short_lived.reveal())
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()
        files.renew_token(plane.token("web-1"))
        assert len(plane.principals) == 1

        async def again() -> bool:
            return len(plane.principals) == 2

        await envoy.until("connected with the new token", again)
        assert any("the token of this stream has expired" in each for each in plane.refusals.seen)


async def test_starts_again_over_its_old_socket(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()
        assert files.admin.stat().st_mode & 0o777 == 0o600
        await envoy.kill()
        assert files.admin.exists()
        await envoy.start()
        await envoy.ready()
        assert await envoy.stop() == 0


async def test_no_secret_in_dump_or_log(loopback: Loopback, envoys: Envoys, short: Path) -> None:
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        envoy = await envoys.start("web", files.bootstrap, log_level="debug")
        await envoy.ready()
        wish = plane.sessions[0].wishes(types.SECRET)[names.IDENTITY_SECRET]
        start = wish.entry.index(b"-----BEGIN PRIVATE KEY-----")
        key_lines = wish.entry[start:].decode(errors="replace").splitlines()[1:4]
        token = files.token.read_text()
        shown = await envoy.get("/config_dump?include_eds") + envoy.log.read_text()
        assert str(REVIEWS) in shown
        for secret in (token, *token.split("."), *key_lines):
            assert secret not in shown
            assert secret not in files.bootstrap.read_text()


async def test_only_listed_statistics_are_kept(
    loopback: Loopback, envoys: Envoys, short: Path
) -> None:
    async with plane_on(loopback, short) as plane:
        files = plane.files("web-1", envoys.directory("web"))
        envoy = await envoys.start("web", files.bootstrap)
        await envoy.ready()
        mine = sorted(await envoy.stats("^cluster\\.h"))
        prefix = f"cluster.{REVIEWS}."
        assert [name.removeprefix(prefix) for name in mine] == [
            "membership_healthy",
            "membership_total",
            "ssl.connection_error",
            "ssl.fail_verify_error",
            "ssl.fail_verify_no_cert",
            "ssl.fail_verify_san",
            "ssl.handshake",
            "upstream_cx_active",
            "upstream_cx_connect_fail",
            "upstream_cx_total",
            "upstream_rq_active",
            "upstream_rq_total",
        ]
        kept = await envoy.stats("server.memory_allocated")
        assert kept["server.memory_allocated"] > 0
        assert (await envoy.memory())["allocated"] > 0
