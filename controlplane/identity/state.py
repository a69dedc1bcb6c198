"""Open what identity keeps in the state directory: ``ca/`` and ``tokens/``.

The authority is made first, so a state directory with a token key and without an authority has lost
the latter: making a new root there would silently cut off the workloads that trust the old one.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from controlplane.durable import OS_FS, Fs
from controlplane.identity import ca, tokens
from controlplane.identity.keyfile import entries, refuse

CA: Final = "ca"
TOKENS: Final = "tokens"


@dataclass(frozen=True, slots=True)
class IdentityState:
    """The two keys of a control plane."""

    authority: ca.Authority = field(repr=False)
    token_key: tokens.TokenKey = field(repr=False)


def open_state(state: Path, now: datetime, *, fs: Fs = OS_FS) -> IdentityState:
    """Load both keys, or make both at the very first start.

    Raises `StateError`, which names the file and the remedy, whenever something is there that is
    not complete; the control plane must not start then.
    """
    if not entries(state / CA) and entries(state / TOKENS):
        raise refuse(
            state / CA,
            f"the authority is gone, while {state / TOKENS} shows that there was one",
            f"Restore {CA} from a backup; to start a new mesh, remove {TOKENS} too",
        )
    authority = ca.load_or_create(state / CA, now, fs=fs)
    return IdentityState(authority, tokens.load_or_create(state / TOKENS, fs=fs))
