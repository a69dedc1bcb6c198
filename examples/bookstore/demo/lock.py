"""One demo at a time on a machine: its addresses are fixed, so two would meet.

The lock is the kernel's (flock), so a demo that was killed leaves none behind; the file holds the
process id of the holder, to name it.
"""

import contextlib
import fcntl
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from examples.bookstore.http1 import Address

PATH = Path(tempfile.gettempdir()) / "plait-bookstore-demo.lock"


class Taken(Exception):
    """The demo's addresses are in use; the text says by whom, and how to end it."""


def _open(path: Path) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
    except PermissionError:  # another user's file: it can be locked, not written
        return os.open(path, os.O_RDONLY | flags)


@contextlib.contextmanager
def hold(path: Path = PATH) -> Iterator[None]:
    """Hold the lock inside the context. Raises Taken, or OSError when the file is unusable."""
    fd = _open(path)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise Taken(
                f"another bookstore demo is running, process {holder}, and its addresses are"
                f" taken. Stop it first: press Ctrl-C there, or kill -INT {holder}"
            ) from None
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def check_free(addresses: Iterable[Address]) -> None:
    """Raises Taken for the first address where a process listens."""
    for address in addresses:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(address)
            except OSError as error:
                raise Taken(
                    f"{address} cannot be used ({os.strerror(error.errno or 0).lower()})."
                    f" See which process listens there: ss -ltnp src {address.host}"
                ) from None
