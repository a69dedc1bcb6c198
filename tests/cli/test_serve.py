"""`plait serve` as a process: starts, is refused by name, stops, comes back after SIGKILL."""

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Called, Serve, until_ready
from tests.envoy.loopback import Loopback

Meshctl = Callable[..., Called]


def test_serves_until_a_signal(serve: Serve, meshctl: Meshctl, state: Path) -> None:
    process = serve()
    status = until_ready(meshctl, process)
    assert status["pid"] == process.pid
    assert status["objects"] == [{"name": "Service", "count": 1}]
    with urllib.request.urlopen(f"http://{status['metrics']}/readyz", timeout=10) as response:
        assert json.load(response) == {"ready": True, "reasons": []}
    with urllib.request.urlopen(f"http://{status['metrics']}/metrics", timeout=10) as response:
        assert b"plait_world_revision 1.0" in response.read()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0, log
    assert all(json.loads(line)["level"] == "info" for line in log.splitlines())
    assert not (state / "admin.sock").exists()


def asked(url: str, process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    """Status and body, as soon as somebody answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_not_ready_before_everything_is_read_and_applied(
    serve: Serve, meshctl: Meshctl, manifests: Path
) -> None:
    many = 10_000  # enough for a second of reading
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: s%d}\nspec: {ports: [{port: 80}]}\n"
    for part in range(0, many, 500):
        text = "---\n".join(service % number for number in range(part, part + 500))
        (manifests / f"{part}.yaml").write_text(text)
    with Loopback() as mine:
        metrics = f"{mine.address(1)}:15014"
        process = serve("--listen", f"{mine.address(1)}:15012", "--metrics-address", metrics)
        status, body = asked(f"http://{metrics}/readyz", process)
        assert (status, body["ready"]) == (503, False)
        assert "source files is not synced" in body["reasons"]
        deadline = time.monotonic() + 60
        while asked(f"http://{metrics}/readyz", process)[0] != 200:
            assert time.monotonic() < deadline
        told = json.loads(meshctl("status", "-o", "json").out)["status"]
        assert told["objects"] == [{"name": "Service", "count": many + 1}]


def test_a_second_server_is_refused_and_a_killed_one_replaced(
    serve: Serve, meshctl: Meshctl, state: Path
) -> None:
    first = serve()
    until_ready(meshctl, first)
    second = serve()
    _, refusal = second.communicate(timeout=60)
    assert second.returncode == 1
    assert refusal == (
        f"plait: the state directory {state} is in use by plait serve with process id {first.pid}\n"
        f"       Stop it (kill {first.pid}), or give this server another --state.\n"
    )
    first.kill()
    first.wait(30)
    assert (state / "admin.sock").exists()
    assert "nobody answers" in meshctl("status").err
    third = serve()
    assert until_ready(meshctl, third)["pid"] == third.pid


@pytest.mark.parametrize("flag", ["--listen", "--metrics-address"])
def test_a_taken_address_is_named_without_a_traceback(flag: str, serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        other = "--metrics-address" if flag == "--listen" else "--listen"
        process = serve(flag, address, other, "127.0.0.1:0")
        _, log = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in log
    last = [line for line in log.splitlines() if not line.startswith("{")]
    assert last[0].startswith(f"plait: cannot listen on {address}")
    assert flag in last[1]
