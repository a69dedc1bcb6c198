"""The rules of a state-of-the-world stream, by example: full responses, names, versions, NACKs."""

import pytest

from tests.fakes.handler import FakeHandler, resource
from tests.fakes.state_wire import StateResponse, encode_state
from tests.protocol.model import NODE
from tests.protocol.state_model import read_state
from xds.serve.lanes import Lane
from xds.serve.session import Session
from xds.serve.sotw import StateBodies, StateSession
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from xds.wire.request import DeltaRequest, Malformed, StateRequest


class Stream:
    """A session and a client that only speaks when told."""

    def __init__(self, bodies: StateBodies | None = None) -> None:
        self.handler = FakeHandler()
        self.session = StateSession(self.handler, bodies or StateBodies())
        self.names: dict[str, tuple[str, ...]] = {}

    def ask(self, type_url: str, *names: str, nonce: str = "") -> None:
        node = None if self.names else NODE
        self.names[type_url] = names
        self.session.receive(StateRequest(node, type_url, names, nonce=nonce))

    def next(self) -> StateResponse | None:
        outgoing = self.session.pull()
        return read_state(outgoing) if outgoing else None

    def must(self) -> StateResponse:
        response = self.next()
        assert response is not None, "nothing to send"
        return response

    def ack(self, response: StateResponse, error: str = "") -> None:
        kind = response.type_url
        data = encode_state(kind, self.names[kind], nonce=response.nonce, error=error)
        self.session.receive(data)

    def take(self) -> list[str]:
        response = self.must()
        self.ack(response)
        return response.names

    def shop(self) -> None:
        """What gRPC's client asks for one target, in its order."""
        want = self.handler.want
        want(LISTENER, "shop", "1")
        want(ROUTE, "shop", "1>a", needs=("a",))
        want(CLUSTER, "a", "1@ea", endpoints="ea")
        want(ENDPOINT, "ea", "1")
        for kind, name in ((LISTENER, "shop"), (ROUTE, "shop"), (CLUSTER, "a"), (ENDPOINT, "ea")):
            self.ask(kind, name)
            assert self.take() == [name]
        assert self.next() is None
        assert self.session.settled


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_a_client_that_asks_by_name_gets_what_it_asks(stream: Stream) -> None:
    """Listeners and routes do not wait for clusters that it has not asked for."""
    stream.handler.want(CLUSTER, "unasked")
    stream.shop()


def test_a_complete_response_repeats_what_has_not_changed(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "a")
    want(CLUSTER, "b")
    stream.ask(CLUSTER)
    assert stream.take() == ["a", "b"]
    want(CLUSTER, "b", "2")
    assert stream.take() == ["a", "b"]
    stream.handler.drop(CLUSTER, "a")
    assert stream.take() == ["b"]


def test_other_responses_carry_what_changed(stream: Stream) -> None:
    want = stream.handler.want
    want(ENDPOINT, "a")
    want(ENDPOINT, "b")
    stream.ask(ENDPOINT, "a", "b")
    assert stream.take() == ["a", "b"]
    want(ENDPOINT, "b", "2")
    assert stream.take() == ["b"]


def test_one_response_of_a_type_is_under_way(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "a", "1")
    stream.ask(CLUSTER)
    first = stream.must()
    for version in ("2", "3"):
        want(CLUSTER, "a", version)
        assert stream.next() is None
    stream.ack(first)
    assert [each.version for each in stream.must().resources] == ["3"]


def test_the_first_response_is_complete(stream: Stream) -> None:
    """A client that reconnects holds it all already."""
    want = stream.handler.want
    want(CLUSTER, "a", lane=Lane.DEMAND)
    want(CLUSTER, "b")
    want(LISTENER, "free", needs=())
    want(LISTENER, "bound", needs=("a",))
    stream.ask(LISTENER)
    assert stream.next() is None
    stream.ask(CLUSTER)
    assert stream.take() == ["a", "b"]
    assert stream.take() == ["bound", "free"]


def test_a_new_name_is_answered_with_all_names(stream: Stream) -> None:
    stream.shop()
    stream.handler.want(LISTENER, "other")
    stream.ask(LISTENER, "shop", "other")
    assert stream.take() == ["other", "shop"]


def test_a_name_that_nobody_wishes_is_left_out(stream: Stream) -> None:
    stream.shop()
    stream.ask(LISTENER, "shop", "missing")
    assert ("subscribed", LISTENER, ("missing",)) in stream.handler.events
    assert stream.take() == ["shop"]
    stream.ask(ROUTE, "shop", "missing")
    assert stream.next() is None
    stream.handler.want(ROUTE, "missing")
    assert stream.take() == ["missing"]


def test_versions_depend_on_the_content_alone() -> None:
    bodies = StateBodies()
    versions = []
    for _ in range(2):
        stream = Stream(bodies)
        stream.handler.want(CLUSTER, "a", "1")
        stream.ask(CLUSTER)
        response = stream.must()
        stream.ack(response)
        stream.handler.want(CLUSTER, "a", "2")
        versions.append((response.version, stream.must().version))
    assert versions[0] == versions[1]
    assert versions[0][0] != versions[0][1]


def test_a_rejected_version_is_replaced_by_the_accepted_one(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "a", "1")
    want(CLUSTER, "b", "1")
    stream.ask(CLUSTER)
    stream.take()
    want(CLUSTER, "a", "bad")
    stream.ack(stream.must(), error="no")
    assert ("nacked", CLUSTER, ("a",), (), "no", False) in stream.handler.events
    assert stream.next() is None
    want(CLUSTER, "b", "2")
    response = stream.must()
    assert {each.name: each.version for each in response.resources} == {"a": "1", "b": "2"}


def test_a_trial_keeps_the_accepted_rest(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "a", "1")
    stream.ask(CLUSTER)
    stream.take()
    want(CLUSTER, "b", "1")
    want(CLUSTER, "c", "bad")
    stream.ack(stream.must(), error="no")
    stream.session.trial(CLUSTER, [resource(CLUSTER, "b", "1")])
    assert stream.take() == ["a", "b"]
    assert stream.handler.events[-1] == ("acked", CLUSTER, (("b", "1"),), True)
    assert dict(stream.session.acked(CLUSTER)) == {"a": "1", "b": "1"}


def test_a_client_by_name_lets_go_of_clusters_itself(stream: Stream) -> None:
    """Calls under way may still use a cluster that no route names."""
    stream.shop()
    want = stream.handler.want
    want(ROUTE, "shop", "2>b", needs=("b",))
    want(CLUSTER, "b", "1")
    stream.handler.drop(CLUSTER, "a")
    assert stream.take() == ["shop"]
    stream.ask(CLUSTER, "a", "b")
    assert stream.take() == ["a", "b"]
    stream.ask(CLUSTER, "b")
    assert stream.next() is None
    want(CLUSTER, "b", "2")
    assert stream.take() == ["b"]
    assert stream.session.settled


def test_a_client_that_reconnects_loses_no_cluster(stream: Stream) -> None:
    """Which clusters a client by name needs follows from its listeners, and these may come last."""

    def follow(session: Session, type_url: str, names: tuple[str, ...]) -> None:
        if type_url == LISTENER:
            stream.handler.want(LISTENER, "shop")
            stream.handler.want(CLUSTER, "a")

    stream.handler.on_subscribed = follow
    stream.ask(CLUSTER, "a")
    assert stream.next() is None
    stream.ask(LISTENER, "shop")
    assert [stream.take(), stream.take()] == [["a"], ["shop"]]


def test_an_answer_to_an_older_response_changes_names_alone(stream: Stream) -> None:
    want = stream.handler.want
    want(ENDPOINT, "a", "1")
    stream.ask(ENDPOINT, "a")
    first = stream.must()
    stream.ack(first)
    want(ENDPOINT, "a", "2")
    second = stream.must()
    want(ENDPOINT, "b")
    stream.ask(ENDPOINT, "a", "b", nonce=first.nonce)
    assert dict(stream.session.acked(ENDPOINT)) == {"a": "1"}
    assert stream.next() is None
    stream.ack(second)
    assert stream.take() == ["b"]


def test_no_names_mean_everything_only_at_first(stream: Stream) -> None:
    stream.handler.want(LISTENER, "a")
    stream.handler.want(LISTENER, "b")
    stream.ask(LISTENER, "a")
    assert stream.take() == ["a"]
    stream.ask(LISTENER)
    assert stream.session.subscribed(LISTENER) == frozenset()
    stream.handler.want(LISTENER, "b", "2")
    assert stream.next() is None


def test_an_empty_mesh_is_answered(stream: Stream) -> None:
    stream.ask(CLUSTER)
    assert stream.take() == []
    assert stream.next() is None


def test_refuses_what_is_no_request(stream: Stream) -> None:
    with pytest.raises(Malformed, match="no node id"):
        stream.session.receive(encode_state(CLUSTER))
    with pytest.raises(Malformed, match="delta request"):
        stream.session.receive(DeltaRequest(NODE, CLUSTER))
