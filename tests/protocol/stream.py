"""A session, its handler and a client that speaks only when a test tells it to."""

from tests.fakes.delta_wire import Response
from tests.fakes.handler import FakeHandler
from tests.protocol.model import NODE, read
from xds.serve.delta import ResponseCache
from xds.serve.limits import Limits
from xds.serve.session import Session
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SHORT
from xds.wire.request import DeltaRequest


class Stream:
    """A session, its handler and a client that only speaks when told."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.handler = FakeHandler()
        self.session = Session(self.handler, ResponseCache(), limits=limits or Limits())
        self.node: bool = False

    def ask(
        self,
        type_url: str,
        *subscribe: str,
        versions: dict[str, str] | None = None,
        drop: tuple[str, ...] = (),
    ) -> None:
        node, self.node = (None if self.node else NODE), True
        self.session.receive(
            DeltaRequest(node, type_url, subscribe, drop, initial_versions=versions or {})
        )

    def next(self) -> Response | None:
        outgoing = self.session.pull()
        return read(outgoing) if outgoing else None

    def must(self) -> Response:
        response = self.next()
        assert response is not None, "nothing to send"
        return response

    def ack(self, response: Response) -> None:
        self.session.receive(DeltaRequest(type_url=response.type_url, nonce=response.nonce))

    def nack(self, response: Response, message: str = "no") -> None:
        self.session.receive(
            DeltaRequest(
                type_url=response.type_url,
                nonce=response.nonce,
                error_code=13,
                error_message=message,
            )
        )

    def drain(self) -> list[str]:
        """Everything that leaves now, ACKed as it comes: ``cds:name``, ``-cds:name``."""
        seen = []
        while (response := self.next()) is not None:
            kind = SHORT.get(response.type_url, "?")
            seen += [f"{kind}:{name}" for name in response.names]
            seen += [f"-{kind}:{name}" for name in response.removed]
            if not response.names and not response.removed:
                seen.append(f"{kind}:")
            self.ack(response)
        return seen

    def boot(self) -> list[str]:
        """All types opened, everything ACKed."""
        self.ask(CLUSTER)
        self.ask(ENDPOINT, "local")
        self.ask(LISTENER)
        self.ask(ROUTE, "px")
        return self.drain()
