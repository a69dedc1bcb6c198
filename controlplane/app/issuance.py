"""The alarm on unusual issuance of certificates.

Whoever has a stolen token, or has broken into the control plane, makes identities. Sidecars ask for
one when they start and at half of its life, so the count of a minute has a bound that their number
explains (`controlplane.identity.rate.usual`): above it a warning is logged, once a minute.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from controlplane.identity.leaves import Leaves
from controlplane.identity.rate import WINDOW, usual
from controlplane.telemetry import metrics as declared
from controlplane.telemetry.metrics import Metrics

INTERVAL: Final = 5.0
"""Seconds between looks."""

_log = logging.getLogger(__name__)


class IssuanceAlarm:
    """A part of the supervisor; exposes the certificates issued, ever and in the last minute."""

    name = "issuance alarm"

    def __init__(
        self,
        metrics: Metrics,
        leaves: Leaves,
        connected: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        """``connected``: how many sidecars are."""
        self._leaves = leaves
        self._connected = connected
        self._monotonic = monotonic
        self._warned: float | None = None
        metrics.count(declared.ISSUED, lambda: leaves.issued)
        metrics.gauge(declared.ISSUANCE, self._rate)

    def _rate(self) -> int:
        return self._leaves.rate.per_minute(self._monotonic())

    def look(self) -> None:
        """Warn when the last minute saw more than is usual."""
        now, issued, connected = self._monotonic(), self._rate(), self._connected()
        bound = usual(connected, self._leaves.lifetime)
        recent = self._warned is not None and now - self._warned < WINDOW
        if issued <= bound or recent:
            return
        self._warned = now
        _log.warning(
            "more certificates than the connected sidecars explain; look for a stolen token"
            " (meshctl certs shows who holds one)",
            extra={"issued": issued, "bound": bound, "sidecars": connected},
        )

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            self.look()
