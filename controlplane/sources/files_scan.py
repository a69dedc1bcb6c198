"""What stands in a directory of manifests, and reading one file of it. Blocking IO, no state.

Names that begin with a dot are skipped, as are the copies behind a ConfigMap volume's ``..data``;
symbolic links are followed. A file may vanish, change or turn into something else at any moment.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.api.problem import ObjectRef, Problem, Reason, Source

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 4 * 1024 * 1024


class Stamp(NamedTuple):
    """Changes whenever a file is written or replaced."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


def stamp(status: os.stat_result) -> Stamp:
    return Stamp(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def is_manifest(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.startswith(".")


def scan(root: str) -> dict[str, Stamp]:
    """Manifests below ``root``: path relative to it, with '/' between. Raises OSError for the root
    itself; a directory below it that cannot be read counts as empty."""
    found: dict[str, Stamp] = {}
    status = os.stat(root)
    with os.scandir(root):
        pass  # an unreadable root is an error, not an empty tree
    _scan(root, "", frozenset({(status.st_dev, status.st_ino)}), found)
    return found


def _scan(
    directory: str, prefix: str, above: frozenset[tuple[int, int]], found: dict[str, Stamp]
) -> None:
    for entry, status in _entries(directory):
        if stat.S_ISDIR(status.st_mode):
            identity = (status.st_dev, status.st_ino)
            if identity not in above:  # a link to a directory above it has no end
                _scan(entry.path, f"{prefix}{entry.name}/", above | {identity}, found)
        elif is_manifest(entry.name) and stat.S_ISREG(status.st_mode):
            found[prefix + entry.name] = stamp(status)


def _entries(directory: str) -> Iterator[tuple["os.DirEntry[str]", os.stat_result]]:
    try:
        listing = list(os.scandir(directory))
    except OSError:
        return
    for entry in listing:
        if entry.name.startswith("."):
            continue
        try:
            yield entry, os.stat(entry.path)
        except OSError:
            continue  # it vanished, or a link leads nowhere


@dataclass(frozen=True, slots=True)
class Content:
    """What was read: the text, or why there is none. Neither: the file is gone."""

    text: str | None = None
    problem: Problem | None = None
    stamp: Stamp | None = None

    @property
    def gone(self) -> bool:
        return self.text is None and self.problem is None


def read(path: str, shown: str) -> Content:
    """Read a manifest; ``shown`` is its name in problems."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return Content()
    except OSError as error:
        return _unreadable(shown, error)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return Content()
        with open(fd, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1) if status.st_size <= MAX_BYTES else b""
    except OSError as error:
        return _unreadable(shown, error)
    finally:
        os.close(fd)
    seen = stamp(status)
    if status.st_size > MAX_BYTES or len(data) > MAX_BYTES:
        size = max(status.st_size, len(data))
        return _refuse(
            shown,
            Reason.TOO_LARGE,
            f"has {size} bytes, more than {MAX_BYTES}, and is not read",
            "Split it into several files",
            seen,
        )
    try:
        return Content(data.decode("utf-8-sig"), None, seen)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message, remedy = "is not UTF-8", "Save it as UTF-8"
        return _refuse(shown, Reason.UNPARSABLE, message, remedy, seen, line)


def _unreadable(shown: str, error: OSError) -> Content:
    message = f"cannot be read: {(error.strerror or str(error)).lower()}"
    remedy = "Let the user who runs Plait read it"
    return _refuse(shown, Reason.UNPARSABLE, message, remedy, None)


def _refuse(
    shown: str, reason: Reason, message: str, remedy: str, seen: Stamp | None, line: int = 1
) -> Content:
    ref = ObjectRef("File", "", shown)
    problem = Problem(ref, reason, message, remedy, source=Source(shown, line))
    return Content(None, problem, seen)
