"""A file system whose n-th step of one kind fails, as a full or failing disk's does."""

import errno
import os
from pathlib import Path
from typing import Final

from controlplane.durable import OsFs

STEPS: Final = ("create", "write", "fsync", "rename", "sync_directory")


class FullDisk(OsFs):
    """Fails with `code` at the step `step` after `grace` successes of it; records all steps."""

    def __init__(self, step: str = "", grace: int = 0, code: int = errno.ENOSPC) -> None:
        self.step, self.grace, self.code = step, grace, code
        self.steps: list[str] = []

    def _take(self, step: str) -> None:
        self.steps.append(step)
        if step == self.step:
            if self.grace == 0:
                raise OSError(self.code, os.strerror(self.code))
            self.grace -= 1

    def create(self, path: Path, mode: int) -> int:
        self._take("create")
        return super().create(path, mode)

    def write(self, fd: int, data: bytes) -> int:
        self._take("write")
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        self._take("fsync")
        super().fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        self._take("rename")
        super().rename(source, target)

    def sync_directory(self, path: Path) -> None:
        self._take("sync_directory")
        super().sync_directory(path)
