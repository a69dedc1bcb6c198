"""A key that the control plane's user may not read: refused, never replaced.

Root reads everything, so the scenario runs in a process of its own, which gives up root first.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCENARIO = """
import os, sys, tempfile
from datetime import UTC, datetime
from pathlib import Path
from controlplane.durable import StateError
from controlplane.identity import state
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
with tempfile.TemporaryDirectory() as base:
    for victim in ("ca/key.pem", "ca/cert.pem", "ca/roots.pem", "ca", "tokens/key.pem", "tokens"):
        directory = Path(base) / victim.replace("/", "-")
        now = datetime.now(UTC)
        before = state.open_state(directory, now)
        (directory / victim).chmod(0)
        try:
            state.open_state(directory, now)
        except StateError as error:
            print(victim, error.path == directory / victim, error.reason, error.remedy, sep="|")
        else:
            print(victim, "opened", sep="|")
        (directory / victim).chmod(0o700)
        if "/" in victim:
            (directory / victim).chmod(0o600)
        after = state.open_state(directory, now)
        assert after.authority.key_id == before.authority.key_id
        assert after.token_key.key_id == before.token_key.key_id
"""


def test_a_user_without_rights_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCENARIO],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [
        "ca/key.pem",
        "ca/cert.pem",
        "ca/roots.pem",
        "ca",
        "tokens/key.pem",
        "tokens",
    ]
    for _, names_it, reason, remedy in lines:
        assert names_it == "True"
        assert reason == "permission denied"
        assert "belong to the user who runs Plait" in remedy
