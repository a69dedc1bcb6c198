"""`meshctl proxy run` as root, with Envoy as the user that redirection leaves alone."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from examples.bookstore.demo.processes import descendants
from tests.envoy.mesh.plait import until
from tests.envoy.netns.mesh import NetMesh, service, settings, vip
from tests.envoy.netns.network import PROXY_UID

pytestmark = [pytest.mark.envoy, pytest.mark.root]


@pytest_asyncio.fixture
async def mesh() -> AsyncIterator[NetMesh]:
    async with NetMesh() as mesh:
        mesh.write(
            "mesh",
            settings(),
            mesh.add(2, "web"),
            mesh.add(3, "backend", ports={"http": 8080}),
            service("backend", 10, (80, "http", "http")),
        )
        await mesh.serve()
        await mesh.bring_up("backend")
        await mesh.serve_http("backend", 8080)
        yield mesh


@contextlib.asynccontextmanager
async def running(mesh: NetMesh, *words: str) -> AsyncIterator[int]:
    """The process id of the Envoy of ``meshctl proxy run`` in web's pod."""
    command = mesh.network.pods["web"].command(*mesh.plait.meshctl_command(*words))
    with (mesh.base / "run.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    try:

        async def envoy() -> int:
            assert process.returncode is None, (mesh.base / "run.log").read_text()
            for pid in descendants(process.pid):
                with contextlib.suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                    if Path(words[0]).name == "envoy" and "-c" in words:
                        return pid  # not the one that was asked for its version
            return 0

        yield await until("running Envoy", envoy)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 30)


def user(pid: int) -> set[str]:
    with open(f"/proc/{pid}/status") as status:
        [ids] = [line.split()[1:] for line in status if line.startswith("Uid:")]
    return set(ids)


async def test_envoy_runs_as_that_user_and_serves(mesh: NetMesh) -> None:
    directory = mesh.base / "web"
    words = ("proxy", "run", "web", "-n", "shop", "--uid", str(PROXY_UID), "--dir", str(directory))
    async with running(mesh, *words) as envoy:
        assert user(envoy) == {str(PROXY_UID)}
        secret = directory / "token" / "token"
        assert (secret.stat().st_uid, secret.stat().st_mode & 0o777) == (PROXY_UID, 0o600)

        async def served() -> bool:
            try:
                return (await mesh.http1("web", vip(10), "/run")).app == "backend"
            except (OSError, EOFError):
                return False

        await until("served through the redirected sidecar", served)
