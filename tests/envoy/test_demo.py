"""The bookstore's demo, cut short after its first claims, in a network namespace of its own, so
that neither its fixed addresses nor another demo of this machine are in the way: with KEEP=1 the
commands that it prints work in another shell, and Ctrl-C leaves nothing behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.bookstore.demo.processes import descendants

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0
SHORT = """
import sys
from examples.bookstore.demo import run
from examples.bookstore.demo.loopback import Loopback
from examples.bookstore.demo.stages import start, strangers

async def first_claims(demo):
    await start.mesh(demo)
    await start.load(demo)
    await strangers.run(demo)

run._sequence = first_claims
sys.exit(run.run(Loopback()))
"""
"""Instead of all stages, which take more than a minute."""
COMMANDS = re.compile(r"^  ((?:export|/|curl|sed) ?.*)$", re.M)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Short: the demo keeps Unix sockets below it."""
    path = Path(tempfile.mkdtemp(prefix="pd-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def demo(scratch: Path) -> Iterator[subprocess.Popen[str]]:
    """Its output goes to ``scratch/out``; its temporary files, the lock too, below ``scratch``."""
    surroundings = {**os.environ, "CI": "true", "KEEP": "1", "TMPDIR": str(scratch)}
    inside = 'ip link set lo up && exec "$@"'
    with (scratch / "out").open("w") as out:
        process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", inside, "sh", sys.executable, "-c", SHORT],
            cwd=ROOT,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            text=True,
            start_new_session=True,
        )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # its processes end with it
        process.wait(30)


def until_it_stays(process: subprocess.Popen[str], out: Path) -> list[str]:
    """The commands that it prints."""
    end = time.monotonic() + DEADLINE
    # The last command is the one that edits a manifest.
    while not re.search(r"^  sed -i .*\n", said := out.read_text(), re.M):
        assert process.poll() is None, said
        assert time.monotonic() < end, said
        time.sleep(0.1)
    return COMMANDS.findall(said.partition("Paste into another shell")[2])


def typed(process: subprocess.Popen[str], commands: list[str]) -> subprocess.CompletedProcess[str]:
    """In a shell of the namespace that knows nothing of this environment, until one fails."""
    return subprocess.run(
        ["nsenter", f"--net=/proc/{process.pid}/ns/net", "sh", "-ex", "-c", "\n".join(commands)],
        cwd="/",
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


@pytest.mark.envoy
@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_stays_up_with_commands_that_work_until_ctrl_c(
    demo: subprocess.Popen[str], scratch: Path
) -> None:
    commands = until_it_stays(demo, scratch / "out")
    assert [len(commands), sum("meshctl" in each for each in commands)] == [11, 8], commands
    usable = [each for each in commands if not each.startswith("curl") or shutil.which("curl")]
    done = typed(demo, usable)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout
    assert "acknowledged by" in done.stdout

    started = descendants(demo.pid)
    assert len(started) > 15  # five programs, five sidecars and their supervisors, clients, Plait
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(30) == 0, (scratch / "out").read_text()
    assert [pid for pid in started if alive(pid)] == []
    left = sorted(path.name for path in scratch.iterdir())
    assert left == ["out", "plait-bookstore-demo.lock"]


def alive(pid: int) -> bool:
    """Whether it runs; one that its new parent has not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
