"""The state directory: made for its owner alone, and claimed by one server at a time.

The claim is a lock on the file ``lock``, which the kernel drops when the holder dies, however it
dies. So whoever holds the claim may replace a socket that a dead server left behind, and a second
server is refused by the first one's process id.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from controlplane.durable import DIR_MODE, FILE_MODE, state_error

LOCK = "lock"
ADMIN_SOCKET = "admin.sock"
"""Name of the admin API's Unix socket in the state directory."""


def default_state(environment: Mapping[str, str] = os.environ) -> Path:
    """``$XDG_STATE_HOME/plait``, else ``~/.local/state/plait``."""
    home = environment.get("XDG_STATE_HOME", "")
    base = Path(home) if home.startswith("/") else Path("~/.local/state").expanduser()
    return base / "plait"


class CannotStart(Exception):
    """`plait serve` refuses to start. The text says why, ``remedy`` what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class Claim:
    """The exclusive use of a state directory, until `release` or the end of the process.

    Raises CannotStart when another server holds it, StateError when the directory is unusable.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        _make(state)
        path = state / LOCK
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise state_error(path, "create", error) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._fd)
            raise CannotStart(
                f"the state directory {state} is in use by plait serve with process id {holder}",
                f"Stop it (kill {holder}), or give this server another --state",
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _make(state: Path) -> None:
    try:
        state.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
        found = state.stat()
        if found.st_uid == os.geteuid() and found.st_mode & 0o077 and not any(state.iterdir()):
            state.chmod(DIR_MODE)  # an empty one, just made for us
            found = state.stat()
    except OSError as error:
        raise state_error(state, "make directory", error) from None
    if found.st_uid != os.geteuid():
        raise CannotStart(
            f"the state directory {state} belongs to user id {found.st_uid}, not to you"
            f" ({os.geteuid()})",
            "Run plait serve as its owner, or give another --state",
        )
    if found.st_mode & 0o077:
        raise CannotStart(
            f"the state directory {state} is open to other users"
            f" (mode {found.st_mode & 0o777:04o}); it holds keys",
            f"Close it: chmod 700 {state}",
        )
