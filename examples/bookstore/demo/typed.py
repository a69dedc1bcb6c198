"""Types the real commands: `meshctl` as its own process, exactly as a user would run it."""

import asyncio
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


class CommandFailed(Exception):
    """A command that must succeed did not; the text has the command and what it printed."""


def command(name: str, module: str) -> list[str]:
    """How to run one of the project's commands: beside this Python, or by its module."""
    script = Path(sys.executable).with_name(name)
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", f"from {module} import main; main()"]


PLAIT = command("plait", "controlplane.app.cli")
MESHCTL = command("meshctl", "controlplane.meshctl.cli")


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    out: str
    error: str
    started: float
    """CLOCK_MONOTONIC, as ``ended``."""
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class Shell:
    environment: Mapping[str, str]
    """With PLAIT_STATE."""
    directory: Path
    say: Callable[[str], None]

    async def run(self, *words: str) -> Result:
        """Run and show ``meshctl WORDS``. Never raises for its exit status."""
        self.say(f"$ meshctl {shlex.join(words)}")
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *MESHCTL,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(self.environment),
            cwd=self.directory,
        )
        try:
            out, error = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        return Result(
            process.returncode,
            out.decode(errors="replace"),
            error.decode(errors="replace"),
            started,
            time.monotonic(),
        )

    async def do(self, *words: str) -> Result:
        """As `run`. Raises CommandFailed for any other status than 0."""
        result = await self.run(*words)
        if result.status != 0:
            raise CommandFailed(
                f"meshctl {shlex.join(words)}: exit status {result.status}:"
                f" {(result.error or result.out).strip()}"
            )
        return result
