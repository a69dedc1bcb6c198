"""The demo's processes: each in a process group of its own, all ended however the demo ends.

Ended by process group and never by name. Should the demo itself be killed, the kernel sends each
child SIGTERM (PR_SET_PDEATHSIG, prctl(2)), and `meshctl proxy run` then ends its Envoy.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Died(Exception):
    """A process that should have stayed ended; the text has its last lines."""


def _with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(slots=True)
class Child:
    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    """Standard error, and standard output unless that is read."""

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def tail(self, lines: int = 8) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def signal_group(self, number: int) -> bool:
        """Signal every process of the group; False when there is none left."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        return True


class Processes:
    """Starts processes and ends them all in `close`, newest first."""

    def __init__(self, logs: Path, environment: Mapping[str, str], directory: Path) -> None:
        self.logs = logs
        self._environment = dict(environment)
        self._directory = directory
        self._children: list[Child] = []
        self._below: dict[int, str] = {}

    def start(self, name: str, command: Sequence[str], *, read: bool = False) -> Child:
        """Start a process in its own group. ``read``: its standard output is a pipe for the
        caller (`lines`), else it goes to the log with standard error."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if read else out,
                stderr=out,
                cwd=self._directory,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_with_parent,  # noqa: PLW1509 - calls one function of libc
            )
        child = Child(name, process, log)
        self._children.append(child)
        return child

    def check(self) -> None:
        """Raises Died when a process has ended that nobody has ended."""
        for child in self._children:
            if not child.alive:
                raise Died(
                    f"{child.name} ended with status {child.process.returncode};"
                    f" its last lines:\n{child.tail()}"
                )

    def forget(self, child: Child) -> None:
        """Its end is meant: `check` no longer looks at it, and what is left of its group is
        killed."""
        self._children.remove(child)
        child.signal_group(signal.SIGKILL)
        child.process.wait()

    def remember(self) -> None:
        """Note what the children have started in sessions of their own, so that `close` ends it
        even when the child between is gone by then."""
        for child in self._children:
            for pid in descendants(child.pid):
                self._below[pid] = born(pid)

    def close(self, grace: float = GRACE) -> None:
        """End every group: SIGTERM, then SIGKILL for what has not gone after ``grace``.

        Blocks, so that no second Ctrl-C can interrupt it half way through a coroutine.
        """
        self.remember()
        left = [child for child in reversed(self._children) if child.signal_group(signal.SIGTERM)]
        end = time.monotonic() + grace
        while left and time.monotonic() < end:
            for child in left:
                child.process.poll()  # reap, or its group never looks empty
            left = [child for child in left if child.signal_group(0)]
            time.sleep(0.02)
        for child in left:
            child.signal_group(signal.SIGKILL)
        for pid, when in self._below.items():
            if when and born(pid) == when:  # still the process that was noted
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for child in self._children:
            child.process.wait()
            if child.process.stdout is not None:
                child.process.stdout.close()
        self._children.clear()


async def lines(child: Child) -> asyncio.StreamReader:
    """A reader of the standard output of a process started with ``read``."""
    reader = asyncio.StreamReader(limit=1 << 22)
    assert child.process.stdout is not None
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), child.process.stdout
    )
    return reader


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def born(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty when it is gone."""
    fields = _stat(pid)
    return fields[19] if fields else ""


def descendants(pid: int) -> list[int]:
    """Process ids below ``pid``, from /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


class Memory(NamedTuple):
    """Bytes, from /proc/PID/status; zeros for a process that is gone."""

    resident: int
    """VmRSS: all of it, its program's pages included, which processes share."""
    own: int
    """RssAnon: heap and stacks, shared with nobody."""


def memory(pid: int) -> Memory:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        lines = []
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    kib = [int(found.get(key, "0").split()[0]) for key in ("VmRSS", "RssAnon")]
    return Memory(kib[0] * 1024, kib[1] * 1024)


def program(pid: int) -> str:
    """The name of a process's program (/proc/PID/cmdline); empty when it is gone."""
    try:
        return Path(Path(f"/proc/{pid}/cmdline").read_text().partition("\0")[0]).name
    except OSError:
        return ""
