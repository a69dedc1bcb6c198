"""What the kernel does with a plan: who is redirected, where to, and who is left alone.

In the sidecar's place listen servers that say which port took a connection, and for where it was.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.redirect.plan import Ipv6, RedirectPlan, nft
from tests.envoy import place
from tests.envoy.netns.network import (
    APP_UID,
    HUB,
    NAMESPACES,
    OUTSIDE,
    PROXY_UID,
    ROOT_UID,
    Namespace,
    Network,
    refusal,
    sweep,
)

pytestmark = pytest.mark.root

VIP = "10.96.0.9"
APP_PORT = 8080
SO_ORIGINAL_DST = 80
"""linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST is the same number."""
ROOT = Path(__file__).parents[3]


async def _said(sock: socket.socket) -> str:
    loop = asyncio.get_running_loop()
    said = b""
    while data := await loop.sock_recv(sock, 200):
        said += data
    return said.decode()


async def ask(
    namespace: Namespace,
    address: str,
    port: int,
    uid: int = APP_UID,
    *,
    source: str = "",
) -> str:
    """What the server says that took this connection."""
    with namespace.inside(uid):
        sock = place.new_socket(address)
    with sock:
        if source:
            sock.bind((source, 0))
        async with asyncio.timeout(10):
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
            return await _said(sock)


def original(sock: socket.socket) -> str:
    """Where a redirected connection was for."""
    if sock.family == socket.AF_INET:
        raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        port, packed = struct.unpack("!2xH4s", raw[:8])
        return f"{ipaddress.ip_address(packed)}:{port}"
    raw = sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
    port, packed = struct.unpack("!2xH4x16s", raw[:24])
    return f"[{ipaddress.ip_address(packed)}]:{port}"


@contextlib.asynccontextmanager
async def servers(namespace: Namespace) -> AsyncIterator[None]:
    """15001 and 15006 of a sidecar, and an application on 8080, on every address of the pod."""

    async def sidecar(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        writer.write(f"{sock.getsockname()[1]} for {original(sock)}".encode())
        writer.close()

    async def app(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"app, from {writer.get_extra_info('peername')[0]}".encode())
        writer.close()

    addresses = ["0.0.0.0", *(["::"] if namespace.address6 else [])]
    started = []
    for uid, port, serve in (
        (PROXY_UID, 15001, sidecar),
        (PROXY_UID, 15006, sidecar),
        (APP_UID, APP_PORT, app),
        (APP_UID, 9100, app),
    ):
        with namespace.inside(uid):
            for address in addresses:
                sock = place.new_socket(address)
                if sock.family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address, port))
                started.append(await asyncio.start_server(serve, sock=sock))
    try:
        yield
    finally:
        for server in started:
            server.close()


def redirect(pod: Namespace, *arguments: str) -> str:
    """``python -m sidecar.redirect`` inside a pod."""
    return pod.run(
        "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "sidecar.redirect", *arguments
    )


def redirected(pod: Namespace, *options: str) -> None:
    redirect(pod, "apply", *options)
    redirect(pod, "check", *options)


async def test_an_application_is_redirected_and_its_sidecar_is_not(network: Network) -> None:
    web, other = network.add(2, "web"), network.add(3, "other")
    redirected(web)
    async with servers(web), servers(other):
        for address in (VIP, OUTSIDE, other.address, HUB):
            assert await ask(web, address, 443) == f"15001 for {address}:443"
            assert await ask(web, address, 443, ROOT_UID) == f"15001 for {address}:443"
        assert await ask(other, web.address, APP_PORT) == f"15006 for {web.address}:{APP_PORT}"
        assert await ask(other, web.address, 15021) == f"15006 for {web.address}:15021"
        assert await ask(other, web.address, 15001) == f"15006 for {web.address}:15001"
        assert await ask(web, other.address, APP_PORT, PROXY_UID) == f"app, from {web.address}"
        assert await refusal(web, VIP, 443, PROXY_UID) == "OSError"


async def test_a_pod_that_talks_to_itself(network: Network) -> None:
    web = network.add(2, "web")
    redirected(web)
    async with servers(web):
        # the application, by loopback and by its own address: as without a mesh
        assert await ask(web, "127.0.0.1", APP_PORT) == "app, from 127.0.0.1"
        assert await ask(web, web.address, APP_PORT) == f"app, from {web.address}"
        # the sidecar as a client of the pod's own Service
        assert await ask(web, web.address, APP_PORT, PROXY_UID) == f"15006 for {web.address}:8080"
        # the sidecar as the server that hands over what came in
        handed = await ask(web, web.address, APP_PORT, PROXY_UID, source="127.0.0.6")
        assert handed == "app, from 127.0.0.6"
        assert await ask(web, "127.0.0.1", APP_PORT, PROXY_UID) == "app, from 127.0.0.1"


async def test_exclusions(network: Network) -> None:
    web, other = network.add(2, "web"), network.add(3, "other")
    redirected(
        web,
        *("--exclude-inbound-ports", "9100"),
        *("--exclude-outbound-ports", "8080"),
        *("--exclude-outbound-ranges", f"{OUTSIDE},192.0.2.0/24"),
        *("--exclude-uids", "1001"),
    )
    async with servers(web), servers(other):
        assert await ask(other, web.address, 9100) == f"app, from {other.address}"
        assert await ask(other, web.address, 8080) == f"15006 for {web.address}:8080"
        assert await ask(web, other.address, 8080) == f"app, from {web.address}"
        assert await ask(web, other.address, 9100) == f"15001 for {other.address}:9100"
        assert await ask(web, other.address, 9100, 1001) == f"app, from {web.address}"
        assert await refusal(web, OUTSIDE, 443) == "ConnectionRefusedError"


async def test_ipv6_is_redirected_in_pairs(network: Network) -> None:
    web, other = network.add(2, "web", ipv6=True), network.add(3, "other", ipv6=True)
    redirected(web)
    mine = web.address6
    async with servers(web), servers(other):
        assert await ask(web, other.address6, 443) == f"15001 for [{other.address6}]:443"
        assert await ask(web, other.address, 443) == f"15001 for {other.address}:443"
        assert await ask(other, mine, APP_PORT) == f"15006 for [{mine}]:{APP_PORT}"
        assert await ask(web, other.address6, APP_PORT, PROXY_UID) == f"app, from {mine}"
        assert await ask(web, "::1", APP_PORT) == "app, from ::1"
        assert await ask(web, mine, APP_PORT, PROXY_UID) == f"15006 for [{mine}]:{APP_PORT}"
        handed = await ask(web, mine, APP_PORT, PROXY_UID, source="::1")
        assert handed == "app, from ::1"


async def test_ipv6_never_passes_by_a_sidecar_that_does_not_serve_it(network: Network) -> None:
    """The pod says that it has no IPv6 address; whatever the kernel gave it leads nowhere."""
    web, other = network.add(2, "web", ipv6=True), network.add(3, "other", ipv6=True)
    async with servers(web), servers(other):
        assert await ask(web, other.address6, APP_PORT) == f"app, from {web.address6}"
        redirected(web, "--address", web.address)
        assert await refusal(web, other.address6, APP_PORT) == "ConnectionRefusedError"
        assert await refusal(other, web.address6, APP_PORT) == "ConnectionRefusedError"
        assert await ask(web, "::1", APP_PORT) == "app, from ::1"
        assert await ask(web, web.address6, APP_PORT) == f"app, from {web.address6}"
        assert await ask(web, other.address, 443) == f"15001 for {other.address}:443"


async def test_exclusions_hold_where_ipv6_is_rejected(network: Network) -> None:
    web, other = network.add(2, "web", ipv6=True), network.add(3, "other", ipv6=True)
    redirected(
        web,
        *("--address", web.address),
        *("--exclude-outbound-ranges", "fd00:77::3"),
        *("--exclude-inbound-ports", "9100"),
    )
    async with servers(web), servers(other):
        assert await ask(web, other.address6, APP_PORT) == f"app, from {web.address6}"
        assert await ask(other, web.address6, 9100) == f"app, from {other.address6}"
        assert await refusal(other, web.address6, APP_PORT) == "ConnectionRefusedError"


async def test_an_application_that_binds_the_sidecars_source_is_redirected(
    network: Network,
) -> None:
    web = network.add(2, "web")
    redirected(web)
    async with servers(web):
        with pytest.raises(OSError, match="Invalid argument"):
            await ask(web, OUTSIDE, 443, source="127.0.0.6")


async def test_applying_again_and_anew_leaves_no_moment_without_rules(network: Network) -> None:
    web = network.add(2, "web")
    plans = [RedirectPlan(), RedirectPlan(exclude_uids=(1001,)), RedirectPlan(Ipv6.CAPTURE)]
    redirected(web)
    async with servers(web):
        seen = set()
        applying = asyncio.create_task(asyncio.to_thread(apply_all, web, plans * 20))
        while not applying.done():
            seen.add(await ask(web, OUTSIDE, 443))
        await applying
    assert seen == {f"15001 for {OUTSIDE}:443"}
    ruleset = web.run("nft", "list", "ruleset")
    assert ruleset.count("table ") == 2


def apply_all(pod: Namespace, plans: list[RedirectPlan]) -> None:
    for plan in plans:
        pod.run("nft", nft(plan))


async def test_removal_and_check(network: Network) -> None:
    web = network.add(2, "web")
    redirect(web, "remove")
    redirected(web)
    with pytest.raises(OSError, match="holds another plan"):
        redirect(web, "check", "--exclude-uids", "7")
    web.run("nft", "flush", "chain", "ip", "plait", "outbound")
    with pytest.raises(OSError, match=r"table ip plait: chain outbound holds \[\]"):
        redirect(web, "check")
    redirected(web)
    async with servers(web):
        redirect(web, "remove")
        assert await refusal(web, OUTSIDE, 443) == "ConnectionRefusedError"
    with pytest.raises(OSError, match="there is no table ip plait"):
        redirect(web, "check")
    assert web.run("nft", "list", "ruleset") == ""


def test_without_net_admin_it_says_so(network: Network) -> None:
    web = network.add(2, "web")
    words = ("--bounding-set=-net_admin", "--inh-caps=-net_admin", "env", f"PYTHONPATH={ROOT}")
    with pytest.raises(OSError, match="with the capability NET_ADMIN"):
        web.run("setpriv", *words, sys.executable, "-m", "sidecar.redirect", "apply")
    assert web.run("nft", "list", "ruleset") == ""


def test_other_tables_are_left_alone(network: Network) -> None:
    web = network.add(2, "web")
    web.run("nft", "add table inet firewall")
    redirected(web)
    redirect(web, "remove")
    assert web.run("nft", "list", "ruleset").split() == ["table", "inet", "firewall", "{", "}"]


def test_everything_made_is_removed(network: Network) -> None:
    pods = [network.add(2, "web"), network.add(3, "other")]
    names = [network.hub.name, *(pod.name for pod in pods)]
    assert all((NAMESPACES / name).exists() for name in names)
    network.close()
    assert not any((NAMESPACES / name).exists() for name in names)


def test_what_a_killed_run_left_is_swept(network: Network) -> None:
    ended = _ended_process()
    network.hub.run("ip", "netns", "add", f"plait-{ended}-1-web")
    sweep()
    assert not (NAMESPACES / f"plait-{ended}-1-web").exists()
    assert (NAMESPACES / network.hub.name).exists()


def _ended_process() -> int:
    """The id of a process that has ended."""
    pid = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(pid, 0)
    return pid
