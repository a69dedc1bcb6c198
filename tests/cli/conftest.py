"""A real admin API on a real Unix socket over a fake Inspector, and meshctl called beside it."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.app.admin import AdminServer
from controlplane.app.release import release
from controlplane.meshctl.cli import main
from tests.fakes.inspector import FakeInspector

GOLDEN = Path(__file__).parent / "golden"
Serve = Callable[..., "subprocess.Popen[str]"]


@dataclass
class Mesh:
    """A served fake. `use` runs a function on the server's loop and returns its result."""

    state: Path
    fake: FakeInspector
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    """Set on the loop: the server ends."""

    def use(self, action: Callable[[], object]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            action()
            done.set_result(None)

        self.loop.call_soon_threadsafe(run)
        done.result(10)


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str


@pytest.fixture
def state() -> Iterator[Path]:
    """A state directory with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="plait-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def mesh(state: Path) -> Iterator[Mesh]:
    started: Future[Mesh] = Future()

    async def serve() -> None:
        fake = FakeInspector(str(state))
        server = AdminServer(state, fake)
        await server.start()
        stop = asyncio.Event()
        started.set_result(Mesh(state, fake, asyncio.get_running_loop(), stop))
        running = asyncio.create_task(server.run())
        await stop.wait()
        running.cancel()
        await asyncio.wait({running})

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    served = started.result(10)
    yield served
    if thread.is_alive():
        served.loop.call_soon_threadsafe(served.stop.set)
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def meshctl(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Called]:
    """Call a command in this process: ``meshctl("proxy", "list")``."""
    monkeypatch.setenv("PLAIT_STATE", str(state))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("PLAIT_NAMESPACE", raising=False)

    def call(*arguments: str) -> Called:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        code = ended.value.code
        out, err = (
            text.replace(str(state), "STATE").replace(release(), "RELEASE") for text in captured
        )
        return Called(code if isinstance(code, int) else 0, out, err)

    return call


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare with ``golden/NAME``; UPDATE_GOLDEN=1 writes it."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()

    return compare


SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec:
  ports: [{port: 9080, name: http}]
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    path.mkdir()
    (path / "services.yaml").write_text(SERVICE)
    return path


@pytest.fixture
def serve(manifests: Path, state: Path) -> Iterator[Serve]:
    started: list[subprocess.Popen[str]] = []

    def start(*extra: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from controlplane.app.cli import main; main()",
                *("serve", "--source", "files", str(manifests), "--state", str(state)),
                *(extra or ("--listen", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0")),
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def until_ready(
    meshctl: Callable[..., Called], process: "subprocess.Popen[str]"
) -> dict[str, object]:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        called = meshctl("status", "-o", "json")
        if called.code == 0:
            status = json.loads(called.out)["status"]
            assert isinstance(status, dict)
            return status
        time.sleep(0.05)
