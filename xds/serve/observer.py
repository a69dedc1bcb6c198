"""What the serving edge tells telemetry. It imports none; whoever counts implements `Observer`."""

from typing import Protocol

from xds.serve.delta import Batch
from xds.serve.lanes import Lane


class Observer(Protocol):
    """Called on the event loop, on hot paths: implementations count and return."""

    def opened(self) -> None:
        """A stream was authenticated and is served."""

    def closed(self, code: str, detail: str) -> None:
        """A served stream ended; ``code`` is a gRPC status name, ``OK`` when the client left."""

    def denied(self, code: str, detail: str) -> None:
        """A stream was refused before it was served."""

    def received(self, size: int) -> None:
        """A request of ``size`` bytes arrived."""

    def pushed(self, batch: Batch, lane: Lane, size: int) -> None:
        """A response of ``size`` bytes was handed to the transport. ``batch`` says what it sets and
        removes, and how many of the bytes are resources."""

    def acked(self, type_url: str, lane: Lane, resources: int, seconds: float) -> None:
        """A response was accepted ``seconds`` after it was cut."""

    def nacked(self, type_url: str, resources: int, message: str) -> None:
        """A response was rejected with ``message``."""

    def turned_away(self, type_url: str, names: int) -> None:
        """``names`` beyond the ceiling were answered as absent and not remembered."""


class Unobserved:
    """An `Observer` that counts nothing."""

    def opened(self) -> None: ...
    def closed(self, code: str, detail: str) -> None: ...
    def denied(self, code: str, detail: str) -> None: ...
    def received(self, size: int) -> None: ...
    def pushed(self, batch: Batch, lane: Lane, size: int) -> None: ...
    def acked(self, type_url: str, lane: Lane, resources: int, seconds: float) -> None: ...
    def nacked(self, type_url: str, resources: int, message: str) -> None: ...
    def turned_away(self, type_url: str, names: int) -> None: ...
