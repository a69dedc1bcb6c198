"""`tests.protocol.model.Client` over a state-of-the-world stream.

What a complete response leaves out is gone; routes and assignments cannot be taken back, so the
model drops those that nobody wishes any more. After a reconnect the server knows nothing of what
the client holds: what was held then is not judged until it is sent again.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.state_wire import StateResponse, decode_state
from tests.protocol.model import NODE, WILDCARD, Client
from xds.serve.lanes import Flight
from xds.serve.sotw import StateSession
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from xds.wire.request import StateRequest
from xds.wire.response import with_nonce


@dataclass
class StateClient(Client):
    waiting: dict[str, deque[tuple[Any, str]]] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)
    """Of the response answered last, by type."""
    stale: set[tuple[str, str]] = field(default_factory=set)

    def open(self, type_url: str) -> None:
        node = None if self.opened else NODE
        self.opened.add(type_url)
        self._request(type_url, node=node)

    def _request(self, type_url: str, **options: Any) -> None:
        names = tuple(sorted(self.names.get(type_url, ())))
        assert isinstance(self.session, StateSession)
        self.session.receive(StateRequest(type_url=type_url, names=names, **options))

    def subscribe(self, type_url: str, *names: str) -> None:
        self.names.setdefault(type_url, set()).update(names)
        if type_url in self.opened:
            self._request(type_url, nonce=self.nonces.get(type_url, ""))

    def unsubscribe(self, type_url: str, *names: str) -> None:
        for name in names:
            self.names.get(type_url, set()).discard(name)
            self.held.get(type_url, {}).pop(name, None)
        if type_url in self.opened:
            self._request(type_url, nonce=self.nonces.get(type_url, ""))

    def take(self, verdict: str = "") -> Any:
        outgoing = self.session.pull()
        self.forget_unwished()
        if outgoing is None:
            return None
        response = read_state(outgoing)
        kind = response.type_url
        assert not self.waiting.get(kind), "two responses of a type under way"
        if not response.names:
            verdict = ""  # no client rejects a removal
        if kind in WILDCARD:
            gone = self.held.get(kind, {}).keys() - set(response.names)
            response = StateResponse(
                kind, response.version, response.resources, response.nonce, tuple(sorted(gone))
            )
        self.waiting.setdefault(kind, deque()).append((response, verdict))
        if not verdict:
            self.stale.difference_update((kind, name) for name in response.names)
        if verdict:
            self.rejected.update((kind, name) for name in response.names)
        else:
            self._apply(response)  # type: ignore[arg-type]  # it has the same fields
        return response

    def answer(self, type_url: str) -> None:
        response, verdict = self.waiting[type_url].popleft()
        self.nonces[type_url] = response.nonce
        code = 13 if verdict else 0
        self._request(
            type_url,
            nonce=response.nonce,
            version="" if verdict else response.version,
            error_code=code,
            error_message=verdict,
        )

    def forget_unwished(self) -> None:
        """Drop what the server can no longer speak of."""
        for kind in (ROUTE, ENDPOINT):
            wished = self.session.wishes(kind)
            held = self.held.get(kind, {})
            for name in [name for name in held if name not in wished]:
                del held[name]

    def judged(self, kind: str, name: str) -> bool:
        return (kind, name) not in self.stale

    def reconnected(self) -> None:
        """Everything held is from the stream before."""
        for kind in (LISTENER, ROUTE, CLUSTER):
            self.stale.update((kind, name) for name in self.held.get(kind, {}))


def read_state(outgoing: Flight) -> StateResponse:
    return decode_state(with_nonce(outgoing.batch.body, outgoing.nonce))
