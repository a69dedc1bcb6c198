"""Key files of the state directory: read with suspicion, refused with a reason.

A key that cannot be used must stop the start, naming the file and the remedy: a new key in its
place would cut every workload off from the others, and nobody would know why.
"""

import stat
from pathlib import Path

from controlplane.durable import StateError, read_state, state_error
from controlplane.identity.keys import PrivateKey, key_from_pem


def refuse(path: Path, reason: str, remedy: str) -> StateError:
    """The error that stops a start because of what `path` holds."""
    return StateError(path, "load", reason, remedy)


def entries(directory: Path) -> frozenset[str]:
    """Names in a directory; empty when it does not exist. Raises `StateError`."""
    try:
        return frozenset(entry.name for entry in directory.iterdir())
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise state_error(directory, "read", error) from error


def load(path: Path, missing: str) -> bytes:
    """A file that must be there; `missing` is the remedy when it is not. Raises `StateError`."""
    data = read_state(path)
    if data is None:
        raise refuse(path, "the file is missing", missing)
    return data


def load_key(path: Path, missing: str) -> PrivateKey:
    """Read a P-256 key that its owner alone can read. Raises `StateError`."""
    pem = load(path, missing)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise state_error(path, "read", error) from error
    if mode & 0o077:
        raise refuse(
            path,
            f"others than its owner may read the key (mode {mode:04o})",
            f"Run chmod 600 {path}; if others could log in here, replace the key",
        )
    try:
        return key_from_pem(pem)
    except ValueError as error:
        raise refuse(path, str(error), "Restore the file from a backup") from None
