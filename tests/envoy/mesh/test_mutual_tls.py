"""Who may talk to whom: plaintext, certificates of strangers, pods without a sidecar."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.mesh import manifests
from tests.envoy.mesh.clients import http1, refused
from tests.envoy.mesh.load import Load
from tests.envoy.mesh.manifests import spiffe
from tests.envoy.mesh.mesh import PROXY, Mesh
from tests.envoy.mesh.strangers import tls_client

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
]

HTTP = [(80, "http", "http")]
PORT = {"http": 8080}
W1 = "plait-w1"
"""ALPN under which a sidecar speaks HTTP/1.1, which is all that a stranger here speaks."""
PODS = {"strict": 2, "open": 3, "plain": 4, "mixed-a": 5, "mixed-b": 6}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with Mesh() as mesh:
        mixed = {"app": "mixed"}
        mesh.write(
            "mesh",
            manifests.mesh_config(),
            mesh.pod(1, "web"),
            mesh.pod(2, "strict", ports=PORT),
            mesh.pod(3, "open", ports=PORT),
            mesh.pod(4, "plain", ports=PORT, meshed=False),
            mesh.pod(5, "mixed-a", ports=PORT, labels=mixed),
            *(manifests.service(name, HTTP) for name in ("strict", "open", "plain", "mixed")),
            manifests.mutual_tls("strict", "Strict", {"app": "strict"}),
        )
        mesh.write("mixed-b", mesh.pod(6, "mixed-b", ports=PORT, labels=mixed, meshed=False))
        await mesh.serve()
        for name, number in PODS.items():
            await mesh.app(number, name, 8080, meshed=name not in ("plain", "mixed-b"))
        await mesh.start_sidecars(web=1, strict=2, open=3, mixed_a=5)
        yield mesh


async def test_a_plaintext_stranger_is_accepted_where_the_mode_is_permissive(mesh: Mesh) -> None:
    reply = await http1(mesh.address(3), 8080, "open.shop", "/stranger")
    assert reply.app == "open"
    assert "x-forwarded-client-cert" not in reply.seen["headers"]
    [line] = await mesh.sidecars["open"].logged(path="/stranger")
    assert "peer" not in line


async def test_a_stranger_cannot_claim_to_be_someone(mesh: Mesh) -> None:
    claim = {"x-forwarded-client-cert": f"URI={spiffe('web')}"}
    reply = await http1(mesh.address(3), 8080, "open.shop", "/claim", headers=claim)
    assert "x-forwarded-client-cert" not in reply.seen["headers"]


async def test_a_plaintext_stranger_is_refused_where_the_mode_is_strict(mesh: Mesh) -> None:
    assert await refused(mesh.address(2), 8080)
    [line] = await mesh.sidecars["strict"].logged(event="refused", response_flags="NR")
    assert line["listener"] == "in|8080"
    reply = await mesh.sidecars["web"].get_http1("strict.shop", "/member")
    assert reply.app == "strict"


@pytest.mark.parametrize("pod", ["strict", "open"])
async def test_a_certificate_of_another_authority_is_refused(mesh: Mesh, pod: str) -> None:
    tls = tls_client(mesh.base / "other-state", mesh.base, spiffe("web"), W1)
    before = len(mesh.sidecars[pod].access(event="refused"))
    assert await refused(mesh.address(PODS[pod]), 8080, tls)
    lines = await mesh.sidecars[pod].logged(before + 1, event="refused")
    assert "CERTIFICATE_VERIFY_FAILED" in lines[-1]["downstream_failure"]


async def test_certificates_of_the_authority_decide_by_trust_domain(mesh: Mesh) -> None:
    """The positive control of the refusals: the same client with the right certificate passes."""
    address = mesh.address(2)
    right = tls_client(mesh.plait.state, mesh.base, spiffe("web"), W1)
    reply = await http1(address, 8080, "strict.shop", "/right", tls=right)
    assert reply.app == "strict"
    assert f"URI={spiffe('web')}" in reply.seen["headers"]["x-forwarded-client-cert"]
    foreign = "spiffe://elsewhere.example/ns/shop/sa/web"
    wrong = tls_client(mesh.plait.state, mesh.base, foreign, W1)
    assert await refused(address, 8080, wrong)


async def test_a_server_with_another_identity_gets_nothing(mesh: Mesh) -> None:
    """A pod whose address answers as someone else: the client's sidecar breaks off."""
    impostor = mesh.pod(3, "impostor", ports=PORT, account="somebody")
    mesh.write("impostor", impostor, manifests.service("impostor", HTTP))
    web = mesh.sidecars["web"]
    await mesh.until_reply(web, "impostor.shop", lambda reply: reply.status == 503, "/who")
    [line, *_] = await web.logged(path="/who", listener="proxy", response_flags="UF")
    assert spiffe("open") in line["upstream_failure"]
    assert not any(each.get("path") == "/who" for each in mesh.sidecars["open"].access())
    mesh.write("impostor")


async def test_a_pod_without_a_sidecar_is_reached_in_plain_text(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    for path in ("/plain1", "/plain2"):
        reply = await web.get_http1("plain.shop", path)
        assert reply.app == "plain"
        assert reply.seen["protocol"] == "HTTP/1.1"
    [line] = await web.logged(path="/plain2", listener="proxy")
    assert line["upstream_cluster"] == "m|shop|plain|80"
    assert "upstream_peer" not in line


async def test_a_mixed_service_serves_both_and_becomes_meshed_under_load(mesh: Mesh) -> None:
    web = mesh.sidecars["web"]
    async with Load(mesh.address(1), PROXY, "mixed.shop", "/mixed", kept=3) as load:
        await load.more(100)
        assert set(load.apps) == {"mixed-a", "mixed-b"}
        lines = await web.logged(50, path="/mixed", upstream_cluster="m|shop|mixed|80")
        peers = {line["upstream_host"]: line.get("upstream_peer") for line in lines}
        assert peers == {
            f"{mesh.address(5)}:8080": spiffe("mixed-a"),
            f"{mesh.address(6)}:8080": None,
        }

        # The pod without a sidecar is replaced, as a rolling update does it.
        mixed = {"app": "mixed"}
        await mesh.app(7, "mixed-c", 8080)
        mesh.write("mixed-c", mesh.pod(7, "mixed-c", ports=PORT, labels=mixed, ready=False))
        await mesh.until_pod("mixed-c")
        await mesh.sidecar(7, "mixed-c")
        mesh.write("mixed-c", mesh.pod(7, "mixed-c", ports=PORT, labels=mixed))
        mesh.write(
            "mixed-b",
            mesh.pod(6, "mixed-b", ports=PORT, labels=mixed, meshed=False, deleting=True),
        )
        await load.until_apps({"mixed-a", "mixed-c"})
        mesh.write("mixed-b")
        await web.logged(50, path="/mixed", upstream_cluster="h|shop|mixed|80")
        await load.more(100)
        assert load.failures == []
    names = {each["name"] for each in (await mesh.plait.config("web"))["resources"]}
    assert "h|shop|mixed|80" in names
    await mesh.plait.settled(len(mesh.sidecars))
    async with asyncio.timeout(30):  # it is kept while connections that use it drain
        while "m|shop|mixed|80" in await web.clusters():
            await asyncio.sleep(0.2)
