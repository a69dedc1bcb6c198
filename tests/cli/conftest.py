"""A real admin API on a real Unix socket over a fake Inspector, and meshctl called beside it."""

import asyncio
import os
import shutil
import tempfile
import threading
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
