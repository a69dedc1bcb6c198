"""Fixtures of the tests with real Envoys.

loopback   a /24 of 127/8 for this test alone
short      a directory whose path is short enough for Unix sockets
envoys     starts Envoys; stops them, and shows their logs when the test failed
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.envoy.loopback import Loopback
from tests.envoy.process import EnvoyProcess

_failed = pytest.StashKey[bool]()
_logs = pytest.StashKey[list[EnvoyProcess]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the end of each Envoy's log to the report of a failed test."""
    report = yield
    if report.failed:
        item.stash[_failed] = True
        for envoy in item.stash.get(_logs, []):
            report.sections.append((f"log {envoy.log} (kept)", envoy.tail()))
    return report


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with Loopback() as claimed:
        yield claimed


@pytest.fixture
def short(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Removed afterwards, unless the test failed."""
    directory = Path(tempfile.mkdtemp(prefix="plait-"))
    yield directory
    if not request.node.stash.get(_failed, False):
        shutil.rmtree(directory)


class Envoys:
    """Starts Envoys, each in a directory of its own under one base."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.started: list[EnvoyProcess] = []

    def directory(self, name: str) -> Path:
        """The directory of the Envoy called ``name``: for `SidecarFiles` and its logs."""
        directory = self.base / name
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory

    async def start(
        self, name: str, bootstrap: Mapping[str, Any] | Path, **options: Any
    ) -> EnvoyProcess:
        """Start one; the caller waits for what it needs (`EnvoyProcess.ready`)."""
        envoy = EnvoyProcess(self.directory(name), bootstrap, **options)
        self.started.append(envoy)
        await envoy.start()
        return envoy


@pytest_asyncio.fixture
async def envoys(short: Path, request: pytest.FixtureRequest) -> AsyncIterator[Envoys]:
    factory = Envoys(short)
    request.node.stash[_logs] = factory.started
    yield factory
    for envoy in factory.started:
        await envoy.stop()
