"""Files of the state directory: whole or absent after any crash, readable by their owner alone.

A write goes to a temporary file beside the target, is synced, renamed over it, and the directory is
synced. The file system is a parameter (`Fs`), so that a test can fail each of these steps. Failures
are a `StateError` that names the file, the step and what to do; nothing here retries or logs.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

FILE_MODE = 0o600
DIR_MODE = 0o700
PREFIX = ".plait-"
SUFFIX = ".tmp"
"""Temporary files are ``.plait-<target>.tmp``: one writer a directory, so one name is enough, and a
leftover of a crash is overwritten by the next write of the same file."""


class Fs(Protocol):
    """The system calls of a durable write, in the order in which they are made."""

    def create(self, path: Path, mode: int) -> int:
        """Open ``path`` for writing, made or emptied, with exactly ``mode``; the descriptor."""

    def extend(self, path: Path, mode: int) -> int:
        """Open ``path`` for appending, made with ``mode`` when absent; the descriptor."""

    def write(self, fd: int, data: bytes) -> int:
        """Write some of ``data``; the number of bytes written."""

    def fsync(self, fd: int) -> None:
        """Return when the file's data is on the device."""

    def close(self, fd: int) -> None:
        """Close the descriptor."""

    def rename(self, source: Path, target: Path) -> None:
        """Replace ``target`` by ``source`` atomically."""

    def sync_directory(self, path: Path) -> None:
        """Return when the names in the directory are on the device."""

    def unlink(self, path: Path) -> None:
        """Remove a file."""


class OsFs:
    """`Fs` on the operating system."""

    def create(self, path: Path, mode: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, mode)
        try:
            os.fchmod(fd, mode)  # a leftover's mode, or a umask, must not decide
        except OSError:
            os.close(fd)
            raise
        return fd

    def extend(self, path: Path, mode: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, mode)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def unlink(self, path: Path) -> None:
        os.unlink(path)


OS_FS = OsFs()


@dataclass(eq=False)
class StateError(Exception):
    """A file of the state directory could not be read or written; the old content is intact."""

    path: Path
    operation: str
    """The step that failed: create, write, fsync, rename, sync directory, read, make directory."""
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.operation} failed: {self.reason}. {self.remedy}"


_REMEDIES = {
    errno.ENOSPC: "Free space on the file system of the state directory",
    errno.EDQUOT: "Free space, or raise the quota, on the file system of the state directory",
    errno.EROFS: "Put the state directory on a file system that can be written (--state)",
    errno.EACCES: "Make the state directory and its files belong to the user who runs Plait",
    errno.EPERM: "Make the state directory and its files belong to the user who runs Plait",
    errno.EISDIR: "Move the directory that stands where this file belongs out of the way",
    errno.ENOTDIR: "Move the file that stands where this directory belongs out of the way",
    errno.EEXIST: "Move the file that stands where this directory belongs out of the way",
    errno.ENOENT: "Restore the file, or the directory above it, from a backup",
    errno.ELOOP: "Remove the symbolic link that stands in the file's place",
    errno.EIO: "Check the disk that holds the state directory",
}


def state_error(path: Path, operation: str, error: OSError) -> StateError:
    """The `StateError` of a failed system call."""
    remedy = _REMEDIES.get(error.errno or 0, "Check the file system of the state directory")
    return StateError(path, operation, (error.strerror or str(error)).lower(), remedy)


def write_durably(path: Path, data: bytes, *, fs: Fs = OS_FS, mode: int = FILE_MODE) -> None:
    """Replace ``path`` by ``data``; afterwards a crash or power cut leaves the new content.

    Raises `StateError`; until the rename the old content stands, and the temporary file is removed.
    When syncing the directory fails, the new content is in place but a power cut may undo it.
    """
    temporary = path.with_name(f"{PREFIX}{path.name}{SUFFIX}")
    step = "create"
    try:
        fd = fs.create(temporary, mode)
        try:
            step = "write"
            rest = memoryview(data)
            while rest:
                rest = rest[fs.write(fd, bytes(rest)) :]
            step = "fsync"
            fs.fsync(fd)
        finally:
            fs.close(fd)
        step = "rename"
        fs.rename(temporary, path)
    except OSError as error:
        _discard(temporary, fs)
        raise state_error(path, step, error) from error
    try:
        fs.sync_directory(path.parent)
    except OSError as error:
        raise state_error(path, "sync directory", error) from error


def append(path: Path, data: bytes, *, fs: Fs = OS_FS, mode: int = FILE_MODE) -> None:
    """Add ``data`` at the end of ``path``: it outlives this process, not yet a power cut.

    Raises `StateError`; part of ``data`` may then stand at the end, so readers skip a torn line.
    """
    step = "create"
    try:
        fd = fs.extend(path, mode)
        try:
            step = "append"
            rest = memoryview(data)
            while rest:
                rest = rest[fs.write(fd, bytes(rest)) :]
        finally:
            fs.close(fd)
    except OSError as error:
        raise state_error(path, step, error) from error


def _discard(path: Path, fs: Fs) -> None:
    try:
        fs.unlink(path)
    except OSError:
        return  # it was never made, or the next write of this file empties it


def read_state(path: Path) -> bytes | None:
    """The content, or ``None`` when there is no such file. Raises `StateError`."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise state_error(path, "read", error) from error


def remove_durably(path: Path, *, fs: Fs = OS_FS) -> bool:
    """Remove a file; False when there was none. Raises `StateError`."""
    try:
        fs.unlink(path)
        fs.sync_directory(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise state_error(path, "remove", error) from error
    return True


def make_directory(path: Path) -> None:
    """Make a directory of the state (0700), and what is missing above it. Raises `StateError`."""
    try:
        path.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise state_error(path, "make directory", error) from error
