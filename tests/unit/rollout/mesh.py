"""A mesh in memory: real world, graph, translation, edge and sessions; a client that answers.

What Envoy would do is limited to what the tests need: it subscribes to what its resources refer to,
accepts everything but the names and texts that a test tells it to refuse, and keeps what it holds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from controlplane.graph import Graph
from controlplane.rollout.delivery import Delivery
from controlplane.rollout.edge import Edge, EdgeParts
from controlplane.rollout.learnt import Learnt
from controlplane.rollout.member import Member
from controlplane.rollout.signal import Signal
from controlplane.rollout.verdicts import Verdicts
from controlplane.sources.manifests import load
from controlplane.world.transaction import Delete, Put
from tests.fakes.clock import ManualClock
from tests.fakes.delta_wire import Response, decode_response
from xds import types
from xds.serve.delta import ResponseCache
from xds.serve.lanes import Flight
from xds.serve.session import Session
from xds.wire.request import DeltaRequest, Node
from xds.wire.response import with_nonce

BASE = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations: {mesh.plait.dev/app-address: 127.0.1.2}
spec:
  serviceAccountName: web
  containers: [{name: web, ports: [{containerPort: 8080}]}]
status: {podIP: 127.0.1.1, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata:
  name: other
  namespace: shop
  labels: {app: other}
  annotations: {mesh.plait.dev/app-address: 127.0.2.2}
spec:
  serviceAccountName: web
  containers: [{name: other, ports: [{containerPort: 8080}]}]
status: {podIP: 127.0.2.1, conditions: [{type: Ready, status: "True"}]}
"""


def service(name: str, address: str) -> str:
    """A Service with one meshed pod."""
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
  labels: {{app: {name}}}
  annotations: {{mesh.plait.dev/app-address: 127.1.{address}.2}}
spec:
  serviceAccountName: {name}
  containers: [{{name: app, ports: [{{containerPort: 8080}}]}}]
status: {{podIP: 127.1.{address}.1, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  clusterIP: 240.0.0.{address}
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080, appProtocol: http}}]
"""


class NoSecrets:
    """A keeper that answers nothing: these tests are about the rest."""

    def subscribed(self, member: Member, names: tuple[str, ...]) -> None: ...
    def admitted(self, member: Member) -> None: ...
    def tick(self, now: float) -> bool:
        return False

    def forget(self, member: Member) -> None: ...


class Mesh:
    """The control plane's middle, without IO."""

    def __init__(self, state: Path, *manifests: str, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.graph = Graph(clock=self.clock.monotonic)
        self.verdicts = Verdicts(self.graph)
        self.delivery = Delivery(self.graph, self.verdicts)
        self.errors: list[Exception] = []
        self.learnt = Learnt(state, lambda: self.clock.now().timestamp(), self.errors.append)
        self.learnt.load()
        self.edge = Edge(
            EdgeParts(
                self.graph,
                self.learnt,
                NoSecrets(),
                self.verdicts,
                self.delivery,
                Signal(),
                self.clock.monotonic,
            )
        )
        self.cache = ResponseCache()
        self.apply(*manifests)

    def apply(self, *manifests: str) -> None:
        """Put every object of the texts; publish what changed."""
        edits = []
        for text in manifests:
            loaded = load(text)
            assert [str(p) for p in loaded.problems] == []
            edits += [Put(taken.table, taken.key, taken.row) for taken in loaded.rows]
        self.graph.apply(edits)
        self.edge.publish(self.graph.settle())

    def delete(self, *manifests: str) -> None:
        rows = [taken for text in manifests for taken in load(text).rows]
        self.graph.apply([Delete(taken.table, taken.key) for taken in rows])
        self.edge.publish(self.graph.settle())

    def connect(
        self,
        pod: str,
        account: str = "web",
        *,
        held: "Client | None" = None,
        routes: tuple[str, ...] = ("px", "pxfc"),
    ) -> "Client":
        principal = SimpleNamespace(account=account, expires_at=None)
        session = Session(self.edge, self.cache, principal=principal)
        client = Client(session, f"default/shop/{pod}", routes)
        if held is not None:
            client.held = {kind: dict(names) for kind, names in held.held.items()}
            client.asked = set(held.asked)
        client.start()
        return client


@dataclass
class Client:
    """``refuses(type URL, name, body)`` gives the words of a NACK, or nothing."""

    session: Session
    node: str
    routes: tuple[str, ...] = ("px", "pxfc")
    held: dict[str, dict[str, str]] = field(default_factory=dict)
    bodies: dict[tuple[str, str], bytes] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    refuses: Callable[[str, str, bytes], str] = lambda *_: ""
    resources: int = 0
    """Resources received on this stream."""
    nacks: list[str] = field(default_factory=list)
    batches: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def start(self) -> None:
        """Open the types as Envoy does, with what is held, and take all there is."""
        node: Node | None = Node(id=self.node)
        wildcard = ("*", *sorted(self.asked)) if self.asked else ()
        for kind, names in (
            (types.CLUSTER, wildcard),
            (types.ENDPOINT, ("local",)),
            (types.LISTENER, ()),
            (types.ROUTE, self.routes),
        ):
            held = self.held.get(kind, {})
            by_name = held if kind in (types.ENDPOINT, types.ROUTE) else ()
            subscribe = tuple({*names, *by_name})
            self.session.receive(DeltaRequest(node, kind, subscribe, initial_versions=dict(held)))
            node = None
        self.drain()

    def ask(self, target: str, bucket: str = "1", capture: str = "a") -> str:
        """A request for a destination that is not known: the name it is asked under."""
        name = f"{capture}|{target}|{bucket}"
        self.asked.add(name)
        self.session.receive(DeltaRequest(type_url=types.CLUSTER, subscribe=(name,)))
        self.drain()
        return name

    def drain(self) -> None:
        """Take and answer every response; subscribe to the routes of listeners that came."""
        while (outgoing := self.session.pull()) is not None:
            response = self.take(outgoing)
            wished = self.session.wishes(types.ROUTE).keys()
            new = tuple(sorted(wished - self.session.subscribed(types.ROUTE)))
            if response.type_url == types.LISTENER and new:
                self.session.receive(DeltaRequest(type_url=types.ROUTE, subscribe=new))

    def take(self, outgoing: Flight) -> Response:
        """Take and answer one response."""
        response = decode_response(with_nonce(outgoing.batch.body, outgoing.nonce))
        self._take(response)
        return response

    def _take(self, response: Response) -> None:
        kind = response.type_url
        self.resources += len(response.resources)
        self.batches.append((kind, tuple(response.names)))
        words = [
            text
            for resource in response.resources
            if (text := self.refuses(kind, resource.name, resource.body))
        ]
        if words:
            self.nacks.append(words[0])
        else:
            held = self.held.setdefault(kind, {})
            for resource in response.resources:
                held[resource.name] = resource.version
                self.bodies[kind, resource.name] = resource.body
            for name in response.removed:
                held.pop(name, None)
        self.session.receive(
            DeltaRequest(
                type_url=kind,
                nonce=response.nonce,
                error_code=13 if words else 0,
                error_message=words[0] if words else "",
            )
        )
