"""Who decides what a stream's client shall hold: the protocol between a `Session` and its owner.

All calls are synchronous, on the event loop, and may call the session back (``want``, ``trial``).
An exception ends that stream alone; `xds.serve.limits.Denied` says how.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from xds.wire.resource import Resource

if TYPE_CHECKING:
    from xds.serve.session import Session


class Handler(Protocol):
    """Implemented by the owner of the wishes."""

    def opened(self, session: "Session") -> None:
        """The first request has come: ``session.node`` and ``session.principal`` are set. Wish
        what the client always holds, or ``session.hold()`` until that is known."""

    def started(self, session: "Session", type_url: str, held: Mapping[str, str]) -> None:
        """The first request of a type has come; ``held`` are the versions it reports as held."""

    def asked(self, session: "Session", names: tuple[str, ...], first: bool) -> None:
        """The client asked for clusters on demand (``a|…``, ``f|…``). Each must be wished now or
        later, or refused with ``want(CLUSTER, name, None)``; nothing answers it otherwise.
        ``first``: they stood in the stream's first cluster request; those it also reported as held
        are in ``session.acked(CLUSTER)`` and need nothing."""

    def subscribed(self, session: "Session", type_url: str, names: tuple[str, ...]) -> None:
        """The client subscribed to names that nobody wishes. Wish them now, or ``defer`` them; the
        rest is answered as absent when this returns."""

    def acked(
        self, session: "Session", type_url: str, resources: tuple[tuple[str, str], ...], trial: bool
    ) -> None:
        """The client accepted a response; ``resources`` are its (name, version) pairs."""

    def nacked(
        self,
        session: "Session",
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
        message: str,
        trial: bool,
    ) -> None:
        """The client rejected a response of ``resources``. They are not sent again until their
        wish changes or a trial includes them."""

    def closed(self, session: "Session") -> None:
        """The stream has ended. Called once for every ``opened``."""
