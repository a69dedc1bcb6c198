"""meshctl against a real control plane and a real Envoy: what it says a sidecar holds is what the
sidecar's own configuration dump says, and no key shows anywhere."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Called, Serve, until_ready
from tests.envoy.loopback import Loopback

pytestmark = pytest.mark.envoy

Meshctl = Callable[..., Called]
Run = Callable[[str], "subprocess.Popen[str]"]

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
  labels: {{app: {name}}}
  annotations: {{mesh.plait.dev/app-address: {app}}}
spec:
  serviceAccountName: {name}
  containers: [{{name: app, ports: [{{containerPort: 8080}}]}}]
status:
  phase: Running
  podIP: {pod}
  conditions: [{{type: Ready, status: "True"}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, name: http, targetPort: 8080}}]
---
"""


@pytest.fixture
def addresses() -> Iterator[Loopback]:
    with Loopback() as claimed:
        yield claimed


@pytest.fixture
def mesh_of_two(manifests: Path, addresses: Loopback) -> Path:
    """The manifests of web and reviews, and reviews-v2 without a pod."""
    text = "".join(
        POD.format(name=name, pod=addresses.address(n), app=addresses.address(n + 100))
        for n, name in ((10, "web"), (20, "reviews"))
    )
    text += "apiVersion: v1\nkind: Service\nmetadata: {name: reviews-v2, namespace: shop}\n"
    text += "spec: {ports: [{port: 80, name: http}], selector: {app: none}}\n"
    (manifests / "services.yaml").write_text(text)
    return manifests


@pytest.fixture
def run_proxy(state: Path) -> Iterator[Run]:
    started: list[subprocess.Popen[str]] = []

    def start(pod: str) -> "subprocess.Popen[str]":
        log = (state / f"{pod}.log").open("w")
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from controlplane.meshctl.cli import main; main()",
                *("proxy", "run", f"{pod}.shop", "--dir", str(state / pod)),
            ],
            env=os.environ | {"PLAIT_STATE": str(state)},
            stdout=log,
            stderr=log,
            text=True,
        )
        log.close()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)


def eventually(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def config_dump(admin: Path) -> dict[str, dict[str, str]]:
    """Names and versions of dynamic resources by xDS type, as Envoy itself tells."""
    connection = http.client.HTTPConnection("envoy", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(admin))
    with closing(connection):
        connection.request("GET", "/config_dump")
        configs = json.load(connection.getresponse())["configs"]
    found: dict[str, dict[str, str]] = {"cds": {}, "lds": {}, "rds": {}, "sds": {}}
    for config in configs:
        for entry in config.get("dynamic_active_clusters", []):
            found["cds"][entry["cluster"]["name"]] = entry["version_info"]
        for entry in config.get("dynamic_listeners", []):
            found["lds"][entry["name"]] = entry["active_state"]["version_info"]
        for entry in config.get("dynamic_route_configs", []):
            found["rds"][entry["route_config"]["name"]] = entry["version_info"]
        for entry in config.get("dynamic_active_secrets", []):
            if "version_info" in entry:  # those read from files have none
                found["sds"][entry["name"]] = entry["version_info"]
    return found


def acked(meshctl: Meshctl, pod: str) -> dict[str, dict[str, str]]:
    called = meshctl("proxy", "config", f"{pod}.shop", "-o", "json")
    found: dict[str, dict[str, str]] = {"cds": {}, "lds": {}, "rds": {}, "sds": {}}
    resources: list[dict[str, Any]] = json.loads(called.out)["resources"]
    for resource in resources:
        if resource["acked"] and resource["type"] in found:
            found[resource["type"]][resource["name"]] = resource["acked"]
    return found


def current(meshctl: Meshctl, pod: str) -> bool:
    proxies = json.loads(meshctl("proxy", "list", "-o", "json").out)["proxies"]
    (proxy,) = [each for each in proxies if each["pod"] == f"{pod}.shop"]
    return bool(proxy["connected"] and proxy["resources"] and not proxy["waiting"])


def get(address: str, authority: str) -> bytes:
    """One request through a sidecar; whatever comes back."""
    with socket.create_connection((address, 15080), timeout=30) as connection:
        request = f"GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while more := connection.recv(65536):
            answer += more
    return answer


def test_config_says_what_envoy_says(
    serve: Serve,
    mesh_of_two: Path,
    meshctl: Meshctl,
    run_proxy: Run,
    state: Path,
    addresses: Loopback,
) -> None:
    until_ready(meshctl, serve())
    run_proxy("web")
    admin = state / "web" / "admin.sock"
    eventually(lambda: current(meshctl, "web"), "web is never current")
    assert get(addresses.address(10), "reviews").startswith(b"HTTP/1.1 503")  # nobody is there
    eventually(lambda: current(meshctl, "web"), "web is not current after a first contact")
    eventually(lambda: config_dump(admin) == acked(meshctl, "web"), "the dump differs")
    held = acked(meshctl, "web")
    assert any(name.startswith("h|shop|reviews|80") for name in held["cds"])
    assert held["sds"]["identity"].startswith("leaf|")

    shift = meshctl(
        *("traffic-shift", "set", "reviews", "reviews=1", "reviews-v2=1", "-n", "shop", "--wait")
    )
    assert shift.code == 0, shift
    assert "acknowledged by 1 of 1 sidecars" in shift.out
    assert "from the command to the last acknowledgement" in shift.out
    eventually(lambda: config_dump(admin) == acked(meshctl, "web"), "the dump differs")
    assert acked(meshctl, "web")["rds"]["px"] != held["rds"]["px"]

    rotated = meshctl("certs", "rotate", "web.shop", "-o", "json")
    assert rotated.code == 0
    (change,) = json.loads(rotated.out)["rotated"]
    assert change["old"] != change["new"]
    eventually(lambda: config_dump(admin) == acked(meshctl, "web"), "the dump differs")
    assert change["new"].lower() in acked(meshctl, "web")["sds"]["identity"].lower()

    shown = meshctl("proxy", "config", "web.shop", "--body").out
    assert "# lds proxy " in shown
    assert "# sds" not in shown  # of secrets, the version alone
    assert "PRIVATE KEY" not in shown
    for short, name in (
        ("listener", "proxy"),
        ("route", "px"),
        ("cluster", "h|shop|reviews|80"),
        ("endpoints", "e|shop|reviews|80"),
    ):
        why = meshctl("why", short, name, "--pod", "web.shop")
        assert (why.code, "PRIVATE KEY" in why.out) == (0, False), (short, why)
    simulated = meshctl("simulate", "web.shop", "reviews")
    assert "reviews-v2" in simulated.out
