"""Any wishes, in any order, with late ACKs, NACKs and reconnects: the client is never broken, and
ends up with exactly the final wishes."""

from random import Random
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fakes.handler import FakeHandler, Wish, resource
from tests.protocol.model import WILDCARD, Client
from tests.protocol.state_model import StateClient
from xds.serve.delta import ResponseCache
from xds.serve.lanes import WINDOW, Lane
from xds.serve.session import Session
from xds.serve.sotw import StateBodies, StateSession
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

CLUSTERS = [f"c{number}" for number in range(5)]
ROUTES = ["px", "r0"]
LISTENERS = ["l0", "l1"]
USERS = [(ROUTE, name) for name in ROUTES] + [(LISTENER, name) for name in LISTENERS]
TYPES = [CLUSTER, ENDPOINT, LISTENER, ROUTE]


class Mesh(RuleBasedStateMachine):
    """One client, one handler, a session that is replaced at each reconnect."""

    reconnects = True

    def __init__(self) -> None:
        super().__init__()
        self.handler = FakeHandler()
        self.cache = ResponseCache()
        self.client = self.make()
        self.client.names = {ENDPOINT: set(), ROUTE: set(ROUTES)}

    def make(self, **state: Any) -> Client:
        """A client on a new stream; ``state``: what it has from the one before."""
        return Client(Session(self.handler, self.cache), **state)

    def wished(self) -> None:
        """The wishes have changed."""

    @initialize(order=st.permutations(TYPES))
    def connect(self, order: list[str]) -> None:
        for type_url in order:
            self.client.open(type_url)

    @rule(seed=st.integers(0, 1 << 20))
    def wish(self, seed: int) -> None:
        """A consistent set of wishes replaces the one before, resource by resource, in any order;
        it is what one settled revision of the world gives a stream."""
        dice = Random(seed)
        wishes: dict[tuple[str, str], Wish] = {}
        clusters = dice.sample(CLUSTERS, dice.randint(0, len(CLUSTERS)))
        for name in clusters:
            version, eds = dice.randint(0, 2), dice.random() < 0.5
            content = f"{version}@e{name}" if eds else str(version)
            endpoints = f"e{name}" if eds else ""
            wishes[CLUSTER, name] = Wish(resource(CLUSTER, name, content), endpoints=endpoints)
            if eds:
                wishes[ENDPOINT, endpoints] = Wish(resource(ENDPOINT, endpoints, str(version)))
        for type_url, name in USERS:
            if dice.random() < 0.8:
                used = tuple(sorted(dice.sample(clusters, dice.randint(0, len(clusters)))))
                content = f"{dice.randint(0, 2)}>{','.join(used)}"
                needs = used if dice.random() < 0.5 else None
                wishes[type_url, name] = Wish(resource(type_url, name, content), needs=needs)
        for wish in wishes.values():
            wish.lane = dice.choice(list(Lane))
        before = self.handler.wishes
        self.handler.wishes = wishes
        changes = sorted(before.keys() | wishes.keys())
        dice.shuffle(changes)
        for session in self.handler.sessions:
            for key in changes:
                if (made := wishes.get(key)) is None:
                    session.want(*key, None)
                else:
                    session.want(
                        *key, made.resource, made.lane, endpoints=made.endpoints, needs=made.needs
                    )
        self.wished()

    @rule(count=st.integers(1, 4), reject=st.booleans())
    def take(self, count: int, reject: bool) -> None:
        for position in range(count):
            self.client.take("no" if reject and position == count - 1 else "")

    @rule(type_url=st.sampled_from(TYPES))
    def answer(self, type_url: str) -> None:
        if self.client.waiting.get(type_url):
            self.client.answer(type_url)

    @rule()
    def follow(self) -> None:
        self.client.follow()

    @rule(name=st.sampled_from(ROUTES))
    def toggle(self, name: str) -> None:
        if name in self.client.names[ROUTE]:
            self.client.unsubscribe(ROUTE, name)
        else:
            self.client.subscribe(ROUTE, name)

    @precondition(lambda self: self.client.opened and self.reconnects)
    @rule(order=st.permutations(TYPES), pull=st.booleans())
    def reconnect(self, order: list[str], pull: bool) -> None:
        """The types come in any order, and responses may be cut between them."""
        old = self.client
        old.session.close()
        self.client = self.make(
            held=old.held,
            names=old.names,
            warming=old.warming,
            rejected=old.rejected,
        )
        self.client.follow()
        for type_url in order:
            self.client.open(type_url)
            if pull:
                self.client.take()

    @invariant()
    def bounded(self) -> None:
        for waiting in self.client.waiting.values():
            assert len(waiting) <= 2 * WINDOW

    def teardown(self) -> None:
        """Wishes in new versions, everything accepted: the client holds exactly these."""
        if not self.handler.sessions:
            return
        client = self.client
        for (type_url, name), wish in list(self.handler.wishes.items()):
            head, mark, tail = wish.resource.version.partition("@" if type_url == CLUSTER else ">")
            self.handler.want(
                type_url,
                name,
                f"{head}'{mark}{tail}",
                wish.lane,
                endpoints=wish.endpoints,
                needs=wish.needs,
            )
        for _ in range(200):
            client.follow()
            while client.take() is not None:
                pass
            answered = False
            for type_url in TYPES:
                while client.waiting.get(type_url):
                    client.answer(type_url)
                    answered = True
            if not answered:
                break
        else:
            raise AssertionError("the stream never comes to rest")
        for type_url in TYPES:
            names = client.names.get(type_url, set())
            wished = {
                name: wish.resource.version
                for (kind, name), wish in self.handler.wishes.items()
                if kind == type_url and (kind in WILDCARD or name in names)
            }
            held = client.held.get(type_url, {})
            assert held == wished
        assert not client.warming
        assert client.session.settled
        for state in client.session.report():
            if state.asked:
                assert state.sent == state.acked == state.wish, state


class StateMesh(Mesh):
    """The same over state-of-the-world streams: it ends with the same state. A reconnecting client
    does not say what it holds there, so no order can be promised until all was sent anew."""

    reconnects = False

    def __init__(self) -> None:
        self.bodies = StateBodies()
        super().__init__()

    def make(self, **state: Any) -> Client:
        client = StateClient(StateSession(self.handler, self.bodies), **state)
        client.reconnected()
        return client


@pytest.mark.parametrize("machine", [Mesh, StateMesh])
def test_never_broken(machine: type[Mesh]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=150,
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
