"""The version of the contract between a sidecar's bootstrap and the control plane.

A sidecar says its version in its node metadata (``v``). A control plane of version N serves N and
N-1, so that control plane and sidecars are upgraded one after the other, in that order.
"""

from typing import Final

BOOTSTRAP: Final = 1
"""What `sidecar.bootstrap` renders now: the first."""


def is_supported(version: object, current: int = BOOTSTRAP) -> bool:
    """Whether a control plane of version `current` serves a sidecar that says `version` (from the
    wire, where numbers are doubles)."""
    if isinstance(version, bool) or not isinstance(version, int | float):
        return False
    return version in (current, current - 1) and version >= 1
