"""The files beside a sidecar's bootstrap, laid out so that a running Envoy sees their renewal.

    DIR/                   0700
      bootstrap.json       what Envoy starts with
      sds/token.yaml       where the token is
      sds/roots.yaml       where the roots are
      token/token          the bearer token of the control-plane stream
      roots/roots.pem      what the control plane's certificate is verified against
      admin.sock           made by Envoy

``token/`` and ``roots/`` are as Kubernetes lays out its volumes: the name is a link through
``..data``, which a rename replaces, because that rename is the event that Envoy watches for. All
files are 0600. Where root gives them to another user, the directories stay root's: that user reads
them and makes the socket, but can put nothing in the place of what root writes to later.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar import bootstrap as layout
from sidecar.bootstrap import Sidecar, bootstrap, roots_sds, token_sds

DIR_MODE: Final = 0o700
SHARED_MODE: Final = 0o1770
"""Of DIR when its reader is another user: it makes the socket there, and removes nothing else."""
READ_MODE: Final = 0o750
"""Of the directories in it then."""
FILE_MODE: Final = 0o600
DATA: Final = "..data"
VERSIONS: Final = ("..1", "..2")
"""The content that ``..data`` points to, and the next."""


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """What every client of the control plane has. OSError passes through: it names the file and
    the reason."""

    directory: Path
    owner: int | None = None
    """User and group id that the client runs as, and the files have; None: whoever writes them.
    Giving files away takes root, and the directories above must let that user pass."""

    @property
    def bootstrap(self) -> Path:
        return self.directory / layout.BOOTSTRAP_FILE

    @property
    def token(self) -> Path:
        return self.directory / layout.CREDENTIAL_DIRECTORY / layout.CREDENTIAL_FILE

    @property
    def roots(self) -> Path:
        return self.directory / layout.ROOTS_DIRECTORY / layout.ROOTS_FILE

    def renew_token(self, token: str) -> None:
        """Replace the token; a running client presents it at its next stream."""
        # encode(), because the text of a token that prints as [redacted] is meant here
        self._swap(self.token.parent, {self.token.name: token.encode()})

    def renew_roots(self, roots: bytes) -> None:
        """Replace the roots that the control plane is verified against."""
        self._swap(self.roots.parent, {self.roots.name: roots})

    def _make(self, directory: Path) -> None:
        directory.mkdir(mode=DIR_MODE, parents=True, exist_ok=True)
        # Never through a link: it could be anybody's directory that is given away.
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if self.owner is None:
                os.fchmod(opened, DIR_MODE)
            else:
                os.fchown(opened, os.geteuid(), self.owner)
                os.fchmod(opened, SHARED_MODE if directory == self.directory else READ_MODE)
        finally:
            os.close(opened)

    def _create(self, path: Path, data: bytes) -> None:
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, FILE_MODE), "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            if self.owner is not None:
                os.fchown(file.fileno(), self.owner, self.owner)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _replace(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.new")
        self._create(temporary, data)
        temporary.replace(path)

    def _swap(self, directory: Path, files: Mapping[str, bytes]) -> None:
        """Put all of `files` (content by name) into `directory` by replacing the link ``..data``
        in one rename."""
        self._make(directory)
        old = os.readlink(directory / DATA) if (directory / DATA).is_symlink() else ""
        version = VERSIONS[1] if old == VERSIONS[0] else VERSIONS[0]
        target = directory / version
        shutil.rmtree(target, ignore_errors=True)  # left by a crash before the rename
        self._make(target)
        for name, data in files.items():
            self._create(target / name, data)
        link = directory / "..data_new"
        link.unlink(missing_ok=True)
        link.symlink_to(version)
        link.replace(directory / DATA)
        for name in files:
            if not (directory / name).is_symlink():
                link.symlink_to(f"{DATA}/{name}")
                link.replace(directory / name)
        if old in VERSIONS and old != version:
            shutil.rmtree(directory / old, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class SidecarFiles(CredentialFiles):
    """The files of one sidecar."""

    @property
    def admin(self) -> Path:
        return self.directory / layout.ADMIN_SOCKET

    def write(self, sidecar: Sidecar, token: str, roots: bytes) -> Path:
        """Write everything for `sidecar`; the path for ``envoy -c``. `token` is the bare JWT and
        `roots` PEM text. Raises `BootstrapError` when `sidecar` cannot be described."""
        configuration = bootstrap(sidecar)
        self._make(self.directory)
        self.renew_token(token)
        self.renew_roots(roots)
        self._make(self.directory / layout.SDS_DIRECTORY)
        for name, secret in (
            (layout.CREDENTIAL_SDS_FILE, token_sds(sidecar.directory)),
            (layout.ROOTS_SDS_FILE, roots_sds(sidecar.directory)),
        ):
            self._replace(self.directory / name, in_json(secret))
        self._replace(self.bootstrap, in_json(configuration))
        return self.bootstrap


def in_json(value: Mapping[str, Any]) -> bytes:
    """The text of a file."""
    # JSON is YAML too, so a .yaml file needs no other writer.
    return json.dumps(value, indent=1).encode() + b"\n"
