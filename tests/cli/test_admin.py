"""The admin API itself: who may speak, what it answers, one server per state directory."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from controlplane.app.admin import AdminServer, peer_uid
from controlplane.app.http import HttpServer
from controlplane.app.settings import Address
from controlplane.app.statedir import CannotStart, Claim
from controlplane.app.views import Readiness
from controlplane.durable import StateError
from tests.cli.conftest import Mesh
from tests.fakes.inspector import FakeInspector

CLAIM = """
import sys
from pathlib import Path
from controlplane.app.statedir import Claim
claim = Claim(Path(sys.argv[1]))
print("claimed", flush=True)
sys.stdin.read()
"""


async def ask(state: Path, method: str, path: str, **kwargs: object) -> tuple[int, object]:
    connector = aiohttp.UnixConnector(str(state / "admin.sock"))
    async with (
        aiohttp.ClientSession("http://plait", connector=connector) as session,
        session.request(method, path, **kwargs) as response,  # type: ignore[arg-type]
    ):
        return response.status, await response.json()


def test_the_socket_is_the_owners(mesh: Mesh) -> None:
    mode = (mesh.state / "admin.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_the_kernel_says_who_the_peer_is() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_uid(one) == os.geteuid()


@pytest.mark.root
def test_another_user_is_refused(mesh: Mesh) -> None:
    # As root: open the socket's mode, so that only the peer's credentials stand in the way.
    mesh.state.chmod(0o755)
    (mesh.state / "admin.sock").chmod(0o666)
    request = b"GET /v1/status HTTP/1.1\r\nHost: plait\r\nConnection: close\r\n\r\n"
    script = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "with socket.socket(socket.AF_UNIX) as s:\n"
        "    s.connect(sys.argv[1])\n"
        f"    s.sendall({request!r})\n"
        "    data = b''\n"
        "    while more := s.recv(65536): data += more\n"
        "print(data.decode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(mesh.state / "admin.sock")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "HTTP/1.1 403" in done.stdout
    assert "user id 65534 may not use this control plane" in done.stdout
    assert "4711" not in done.stdout


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/nonsense", 404, "the control plane has no GET /v1/nonsense"),
        ("GET", "/v1/why?type=zds&name=x", 422, "unknown resource type 'zds'"),
        ("GET", "/v1/why?type=cds", 422, "parameter name is missing"),
        ("GET", "/v1/certs?pod=web", 422, "parameter namespace is missing"),
        ("GET", "/v1/wait/Service/shop/none", 404, "Service shop/none not found"),
        ("POST", "/v1/simulate", 422, "the body is no JSON object"),
        ("POST", "/v1/apply", 422, "the body is no JSON object"),
        ("DELETE", "/v1/objects/Service/shop/reviews", 409, "stands in services.yaml:1"),
    ],
)
async def test_errors_are_json_with_a_remedy(
    mesh: Mesh, method: str, path: str, status: int, message: str
) -> None:
    got, body = await ask(mesh.state, method, path)
    assert got == status
    assert isinstance(body, dict)
    assert message in body["error"]["message"]
    assert body["error"]["remedy"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/apply", {"documents": [1]}, "no list of documents"),
        ("/v1/simulate", {"namespace": "shop", "pod": 1}, "pod is missing or no text"),
        (
            "/v1/simulate",
            {
                "namespace": "a",
                "pod": "b",
                "authority": "c",
                "method": "GET",
                "path": "/",
                "headers": [["x"]],
            },
            "headers is no list of pairs",
        ),
    ],
)
async def test_bodies_are_checked(
    mesh: Mesh, path: str, body: dict[str, object], message: str
) -> None:
    got, answer = await ask(mesh.state, "POST", path, json=body)
    assert got == 422
    assert isinstance(answer, dict)
    assert message in answer["error"]["message"]


async def test_a_request_that_is_too_long(mesh: Mesh) -> None:
    size = 17 << 20
    reader, writer = await asyncio.open_unix_connection(str(mesh.state / "admin.sock"))
    writer.write(f"POST /v1/apply HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
    writer.write(bytes(size))
    answer = await reader.readuntil(b"}}")
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"Apply fewer files at once" in answer


async def test_wait_streams_each_step_once(mesh: Mesh) -> None:
    mesh.fake.waiting = {"web.shop", "reviews-v1.shop"}
    connector = aiohttp.UnixConnector(str(mesh.state / "admin.sock"))
    async with (
        aiohttp.ClientSession("http://plait", connector=connector) as session,
        session.get("/v1/wait/Service/shop/reviews") as response,
    ):
        steps = []
        async for line in response.content:
            step = json.loads(line)
            steps.append((step["acked"], step["waiting"]))
            mesh.use(mesh.fake.touch)  # nothing changed: no line
            if step["waiting"]:
                mesh.use(lambda pod=step["waiting"][0]: mesh.fake.acknowledge(pod))  # type: ignore[misc]
    assert steps == [(1, ["reviews-v1.shop", "web.shop"]), (2, ["web.shop"]), (3, [])]


async def test_a_dead_servers_socket_is_replaced_and_ours_removed(state: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(state / "admin.sock"))
    server = AdminServer(state, FakeInspector())
    await server.start()
    running = asyncio.create_task(server.run())
    assert (await ask(state, "GET", "/v1/ready")) == (200, {"ready": True, "reasons": []})
    running.cancel()
    await asyncio.wait({running})
    assert not (state / "admin.sock").exists()


async def test_a_path_too_long_for_a_socket(state: Path) -> None:
    deep = state / ("d" * 120)
    deep.mkdir()
    with pytest.raises(CannotStart, match="cannot make the admin socket") as refused:
        await AdminServer(deep, FakeInspector()).start()
    assert "107 bytes" in refused.value.remedy


def test_a_second_server_is_refused_by_name_and_a_killed_ones_claim_is_free(state: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "claimed\n"
        with pytest.raises(CannotStart) as refused:
            Claim(state)
        assert f"in use by plait serve with process id {first.pid}" in str(refused.value)
        assert f"kill {first.pid}" in refused.value.remedy
        first.kill()
    with Claim(state):
        assert (state / "lock").read_text() == f"{os.getpid()}\n"


def test_the_state_directory_is_made_closed(state: Path) -> None:
    with Claim(state / "new" / "plait"):
        assert stat.S_IMODE((state / "new" / "plait").stat().st_mode) == 0o700
    empty = state / "empty"
    empty.mkdir(mode=0o755)
    with Claim(empty):
        assert stat.S_IMODE(empty.stat().st_mode) == 0o700


def test_an_open_state_directory_is_refused(state: Path) -> None:
    (state / "ca").mkdir()
    state.chmod(0o755)
    with pytest.raises(CannotStart, match=r"open to other users \(mode 0755\)") as refused:
        Claim(state)
    assert refused.value.remedy == f"Close it: chmod 700 {state}"


def test_a_file_in_the_place_of_the_state_directory(state: Path) -> None:
    (state / "file").write_text("")
    with pytest.raises(StateError):
        Claim(state / "file")


async def test_health_and_metrics() -> None:
    readiness = Readiness(False, ("source files is not synced",))
    server = HttpServer(
        Address("127.0.0.1", 0), lambda: readiness, lambda: (b"x 1\n", "text/plain")
    )
    await server.start()
    running = asyncio.create_task(server.run())
    async with aiohttp.ClientSession(f"http://{server.address}") as session:
        async with session.get("/healthz") as response:
            assert (response.status, await response.text()) == (200, "ok\n")
        async with session.get("/readyz") as response:
            assert response.status == 503
            assert await response.json() == {
                "ready": False,
                "reasons": ["source files is not synced"],
            }
        async with session.get("/metrics") as response:
            assert await response.text() == "x 1\n"
        readiness = Readiness(True)
        async with session.get("/readyz") as response:
            assert response.status == 200
        with pytest.raises(CannotStart, match=r"cannot listen on 127\.0\.0\.1") as refused:
            await HttpServer(server.address, lambda: readiness, lambda: (b"", "")).start()
        assert "--metrics-address" in refused.value.remedy
    running.cancel()
    await asyncio.wait({running})
