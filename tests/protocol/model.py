"""A client that applies delta responses to a session in memory, and says when it is broken.

Contents tell what a resource refers to: a cluster ``version@assignment``, a listener or route
``version>cluster,cluster``. The model warms clusters as Envoy does: a new or changed EDS cluster
wants its assignment again. Each type is answered in order.
"""

from collections import deque
from dataclasses import dataclass, field

from tests.fakes.delta_wire import Response, decode_response
from xds.serve.lanes import Flight
from xds.serve.session import Session
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from xds.wire.request import DeltaRequest, Node
from xds.wire.response import with_nonce

NODE = Node(id="c1/default/web")
WILDCARD = (CLUSTER, LISTENER)


def referred(content: str) -> set[str]:
    """Clusters that a listener or route of this content refers to."""
    _, _, names = content.partition(">")
    return {name for name in names.split(",") if name}


def assignment(content: str) -> str:
    """The assignment of an EDS cluster of this content, else nothing."""
    return content.partition("@")[2]


@dataclass
class Client:
    """``held``: type URL to name to version. ``waiting``: responses to answer, with the verdict."""

    session: Session
    held: dict[str, dict[str, str]] = field(default_factory=dict)
    names: dict[str, set[str]] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    waiting: dict[str, deque[tuple[Response, str]]] = field(default_factory=dict)
    warming: set[str] = field(default_factory=set)
    """EDS clusters whose assignment has not come since their last change."""
    rejected: set[tuple[str, str]] = field(default_factory=set)
    """What this client rejected in some version: using it is no fault of the order."""

    def open(self, type_url: str) -> None:
        """The first request of a type on this stream: names and versions held."""
        node = None if self.opened else NODE
        self.opened.add(type_url)
        names = tuple(sorted(self.names.get(type_url, ())))
        held = self.held.get(type_url, {})
        versions = {n: v for n, v in held.items() if type_url in WILDCARD or n in names}
        self.session.receive(DeltaRequest(node, type_url, names, initial_versions=versions))

    def subscribe(self, type_url: str, *names: str) -> None:
        self.names.setdefault(type_url, set()).update(names)
        if type_url in self.opened:
            self.session.receive(DeltaRequest(type_url=type_url, subscribe=names))

    def unsubscribe(self, type_url: str, *names: str) -> None:
        for name in names:
            self.names.get(type_url, set()).discard(name)
            self.held.get(type_url, {}).pop(name, None)
        if type_url in self.opened:
            self.session.receive(DeltaRequest(type_url=type_url, unsubscribe=names))

    def take(self, verdict: str = "") -> Response | None:
        """Receive the next response and apply it, or with a ``verdict`` reject all of it. The
        answer to the server comes later, in `answer`."""
        outgoing = self.session.pull()
        if outgoing is None:
            return None
        response = read(outgoing)
        if not response.names:
            verdict = ""  # no client rejects a removal
        self.waiting.setdefault(response.type_url, deque()).append((response, verdict))
        if verdict:
            self.rejected.update((response.type_url, name) for name in response.names)
        else:
            self._apply(response)
        return response

    def answer(self, type_url: str) -> None:
        """ACK or NACK the oldest response of a type."""
        response, verdict = self.waiting[type_url].popleft()
        self.session.receive(
            DeltaRequest(
                type_url=type_url,
                nonce=response.nonce,
                error_code=13 if verdict else 0,
                error_message=verdict,
            )
        )

    def follow(self) -> None:
        """Subscribe to the assignments of the clusters held, and to no others, as Envoy does."""
        needed = {assignment(version) for version in self.held.get(CLUSTER, {}).values()} - {""}
        names = self.names.get(ENDPOINT, set())
        given = self.held.get(ENDPOINT, {})
        for name in given.keys() - needed - names:
            del given[name]
        if gone := names - needed:
            self.unsubscribe(ENDPOINT, *sorted(gone))
        if new := needed - names:
            self.subscribe(ENDPOINT, *sorted(new))

    def judged(self, kind: str, name: str) -> bool:
        """Whether the server can know that this listener or route is here."""
        return True

    def _apply(self, response: Response) -> None:
        kind = response.type_url
        held = self.held.setdefault(kind, {})
        used = {assignment(version) for version in self.held.get(CLUSTER, {}).values()}
        for resource in response.resources:
            name, version = resource.name, resource.version
            if kind == CLUSTER and held.get(name) != version:
                self.warming.discard(name)
                if assignment(version):
                    self.warming.add(name)
            if kind in WILDCARD or name in self.names.get(kind, ()) or name in used:
                held[name] = version
            if kind == ENDPOINT:
                clusters = self.held.get(CLUSTER, {})
                self.warming -= {c for c in self.warming if assignment(clusters[c]) == name}
        for name in response.removed:
            held.pop(name, None)
            self.warming.discard(name)
        self._check(response)

    def _check(self, response: Response) -> None:
        """Make-before-break: what arrives uses only clusters that are here and warm; no cluster
        that is in use leaves."""
        clusters = self.held.get(CLUSTER, {})
        for kind in (LISTENER, ROUTE):
            for name, version in self.held.get(kind, {}).items():
                if not self.judged(kind, name):
                    continue
                for cluster in referred(version):
                    if (CLUSTER, cluster) in self.rejected:
                        continue
                    assert cluster in clusters, f"{name} uses {cluster}, which is not here"
                    arrived = response.type_url == kind and name in response.names
                    needed = assignment(clusters[cluster])
                    # An assignment may end before the change that ends its use is sent.
                    wished = needed in self.session.wishes(ENDPOINT)
                    if arrived and wished and ENDPOINT in self.opened:
                        given = needed in self.held.get(ENDPOINT, {})
                        assert given or (ENDPOINT, needed) in self.rejected, f"{cluster} is cold"


def read(outgoing: Flight) -> Response:
    return decode_response(with_nonce(outgoing.batch.body, outgoing.nonce))
