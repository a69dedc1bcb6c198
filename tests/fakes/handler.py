"""A `Handler` that wishes the same for every stream, and records what it is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xds.serve.auth import Principal
from xds.serve.lanes import Lane
from xds.serve.limits import Denied
from xds.serve.session import Session
from xds.types import CLUSTER
from xds.wire.request import Node
from xds.wire.resource import Resource, make


def resource(type_url: str, name: str, content: str = "1", size: int = 0) -> Resource:
    """A resource whose body has its name (field 1 of every type) and an unknown field (1000)."""
    head = b"\x0a" + _length(len(name.encode())) + name.encode()
    body = head + b"\xc2\x3e" + _length(len(content) + size) + content.encode() + b"x" * size
    return make(type_url, name, body, version=f"{content}-{size}" if size else content)


def _length(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


@dataclass
class Wish:
    resource: Resource
    lane: Lane = Lane.CONFIG
    endpoints: str = ""
    needs: tuple[str, ...] | None = None


@dataclass
class FakeHandler:
    """``wishes``: (type URL, name) to what every stream shall hold."""

    wishes: dict[tuple[str, str], Wish] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    events: list[tuple[object, ...]] = field(default_factory=list)
    answer: Callable[[Session, tuple[str, ...], bool], None] | None = None
    """What to do about asked-for names; refused by default."""
    on_subscribed: Callable[[Session, str, tuple[str, ...]], None] | None = None
    on_opened: Callable[[Session], None] | None = None

    def want(
        self,
        type_url: str,
        name: str,
        content: str = "1",
        lane: Lane = Lane.CONFIG,
        *,
        endpoints: str = "",
        needs: tuple[str, ...] | None = None,
        size: int = 0,
    ) -> None:
        """Change a wish of every stream, present and future."""
        wish = Wish(resource(type_url, name, content, size), lane, endpoints, needs)
        self.wishes[type_url, name] = wish
        for session in self.sessions:
            _apply(session, type_url, name, wish)

    def drop(self, type_url: str, name: str) -> None:
        self.wishes.pop((type_url, name), None)
        for session in self.sessions:
            session.want(type_url, name, None)

    def opened(self, session: Session) -> None:
        self.sessions.append(session)
        self.events.append(("opened", session.node.id if session.node else ""))
        if self.on_opened is not None:
            self.on_opened(session)
        for (type_url, name), wish in self.wishes.items():
            _apply(session, type_url, name, wish)

    def asked(self, session: Session, names: tuple[str, ...], first: bool) -> None:
        self.events.append(("asked", names, first))
        if self.answer is not None:
            self.answer(session, names, first)
            return
        for name in names:
            if name not in session.wishes(CLUSTER):
                session.want(CLUSTER, name, None)

    def started(self, session: Session, type_url: str, held: Mapping[str, str]) -> None: ...

    def subscribed(self, session: Session, type_url: str, names: tuple[str, ...]) -> None:
        self.events.append(("subscribed", type_url, names))
        if self.on_subscribed is not None:
            self.on_subscribed(session, type_url, names)

    def acked(
        self, session: Session, type_url: str, resources: tuple[tuple[str, str], ...], trial: bool
    ) -> None:
        self.events.append(("acked", type_url, resources, trial))

    def nacked(
        self,
        session: Session,
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
        message: str,
        trial: bool,
    ) -> None:
        names = tuple(each.name for each in resources)
        self.events.append(("nacked", type_url, names, removed, message, trial))

    def closed(self, session: Session) -> None:
        self.sessions.remove(session)
        self.events.append(("closed", session.node.id if session.node else ""))


def _apply(session: Session, type_url: str, name: str, wish: Wish) -> None:
    session.want(
        type_url, name, wish.resource, wish.lane, endpoints=wish.endpoints, needs=wish.needs
    )


@dataclass
class FakeAuthenticator:
    """Tokens are ``good`` or ``good:<seconds of life>``; node ids end in the pod ``web``… any but
    ``stolen``."""

    clock: Callable[[], float] = lambda: 0.0
    seen: list[str] = field(default_factory=list)

    async def authenticate(self, metadata: Mapping[str, str], peer: str) -> Principal:
        header = metadata.get("authorization", "")
        scheme, _, token = header.partition(" ")
        kind, _, seconds = token.partition(":")
        if scheme != "Bearer" or kind != "good":
            raise Denied("UNAUTHENTICATED", "no token that this control plane signed")
        self.seen.append(peer)
        life = float(seconds) if seconds else float("inf")
        return Principal("default", "web", "web", self.clock() + life)

    def admit(self, principal: Principal, node: Node) -> None:
        if node.id.endswith("/stolen"):
            raise Denied("PERMISSION_DENIED", f"the token is not {node.id}'s")
