"""`plait serve` is killed while a manifest is broken: what was in effect still is afterwards."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import Called, Serve, until_ready

Meshctl = Callable[..., Called]


def troubled(meshctl: Meshctl) -> dict[str, Any]:
    """What a ready server says once it has a problem (then `meshctl status` fails)."""
    deadline = time.monotonic() + 60
    while True:
        called = meshctl("status", "-o", "json")
        said: dict[str, Any] = json.loads(called.out) if called.out else {}
        if said and said["status"]["errors"] and said["status"]["readiness"]["ready"]:
            return said
        assert time.monotonic() < deadline, called
        time.sleep(0.05)


def test_killed_while_a_manifest_is_broken(
    serve: Serve, meshctl: Meshctl, manifests: Path, state: Path
) -> None:
    first = serve()
    before: dict[str, Any] = until_ready(meshctl, first)
    assert before["objects"] == [{"name": "Service", "count": 1}]
    (manifests / "services.yaml").write_text("kind: [\n")
    records = state / "rollout" / "last-good"
    deadline = time.monotonic() + 30
    while not (records.is_dir() and list(records.glob("[!.]*.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    broken = troubled(meshctl)
    assert "last good objects stay in effect" in str(broken["problems"])
    first.kill()
    first.wait(30)
    serve()
    after = troubled(meshctl)
    assert after["status"]["objects"] == before["objects"]
    assert after["problems"] == broken["problems"]
