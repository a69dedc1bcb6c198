"""The README's "Your own HTTP service": its commands, as they stand there, on real Envoys.

Only addresses are other ones, so that tests may run side by side, and the last command's request is
made here, because not every machine has curl.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.envoy.loopback import Loopback

README = Path(__file__).parents[2] / "README.md"
CURL = re.compile(r"^curl .*--retry-connrefused -x (http://\S+) (http://\S+)$", re.M)
DEADLINE = 60.0


def block(name: str) -> str:
    found = re.search(
        rf"<!-- tried: {name} -->\n```sh\n(.*?)^```$", README.read_text(), re.M | re.S
    )
    assert found is not None
    return found[1]


class Shell:
    """Runs scripts that leave processes behind, and ends them all."""

    def __init__(self, directory: Path, loopback: Loopback) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PLAIT_STATE": str(directory / "state"),
            "PLAIT_LISTEN": f"{loopback.address(9)}:15012",
            "PLAIT_METRICS_ADDRESS": f"{loopback.address(9)}:15014",
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, script: str) -> subprocess.Popen[bytes]:
        with (self.directory / "log").open("ab") as log:
            shell = subprocess.Popen(
                ["bash", "-e", "-c", script],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._started.append(shell)
        return shell

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def close(self) -> None:
        for shell in reversed(self._started):
            try:
                os.killpg(shell.pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
            shell.wait(30)


@pytest.fixture
def shell(short: Path, loopback: Loopback) -> Iterator[Shell]:
    made = Shell(short, loopback)
    yield made
    made.close()


def answer(proxy: str, url: str) -> str:
    """The body of the first 200 within the deadline, asking again as curl --retry does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
    until = time.monotonic() + DEADLINE
    while True:
        try:
            with opener.open(url, timeout=10) as response:
                return str(response.read().decode())
        except (urllib.error.URLError, ConnectionError) as error:
            if time.monotonic() > until:
                raise AssertionError(f"no answer from {url} by {proxy}") from error
            time.sleep(0.2)


@pytest.mark.envoy
@pytest.mark.slow
def test_five_commands(shell: Shell, loopback: Loopback) -> None:
    control_plane = re.sub(r"^(make|export) .*\n", "", block("control plane"), flags=re.M)
    serving = shell.start(control_plane.replace("plait serve", "exec plait serve"))
    until = time.monotonic() + DEADLINE
    ready = f"http://{shell.environment['PLAIT_METRICS_ADDRESS']}/readyz"
    while True:
        assert serving.poll() is None, shell.log()
        assert time.monotonic() < until, shell.log()
        try:
            urllib.request.urlopen(ready, timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    commands = block("five commands")
    for number, address in enumerate(("127.0.60.1", "127.0.60.2", "127.0.0.1"), 1):
        assert address in commands
        commands = commands.replace(address, loopback.address(number))
    request = CURL.search(commands)
    assert request is not None
    started = shell.start(CURL.sub("", commands))
    assert started.wait(DEADLINE) == 0, shell.log()
    assert "Directory listing" in answer(request[1], request[2]), shell.log()
    caller = '"peer":"spiffe://cluster.local/ns/demo/sa/client"'
    until = time.monotonic() + DEADLINE  # Envoy writes its log when it likes
    while caller not in (shell.directory / "hello.log").read_text():
        assert time.monotonic() < until, shell.log()
        time.sleep(0.1)
