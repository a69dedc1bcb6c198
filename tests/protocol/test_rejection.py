"""What a client may refuse or exaggerate: NACKs and trials, stale nonces, bounds, shared bytes."""

from functools import partial

import pytest

from tests.fakes.handler import FakeHandler, resource
from tests.protocol.model import NODE
from tests.protocol.stream import Stream
from xds.serve.delta import ResponseCache
from xds.serve.lanes import TRIALS, Lane
from xds.serve.limits import Denied, Limits
from xds.serve.session import Session
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from xds.wire.request import DeltaRequest
from xds.wire.resource import Resource, make


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_a_rejected_route_keeps_the_cluster_of_the_one_before(stream: Stream) -> None:
    want, drop = stream.handler.want, stream.handler.drop
    want(CLUSTER, "old")
    want(ROUTE, "px", "1>old")
    stream.boot()
    want(ROUTE, "px", "2")
    drop(CLUSTER, "old")
    stream.nack(stream.must())
    assert stream.next() is None, "the client still routes to it"
    want(ROUTE, "px", "3")
    assert stream.drain() == ["rds:px", "-cds:old"]


def test_a_nacked_batch_counts_as_not_held(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "good", "1")
    stream.boot()
    want(CLUSTER, "good", "2")
    want(CLUSTER, "bad")
    stream.nack(stream.must(), "bad is bad")
    assert stream.session.sent(CLUSTER) == {"good": "1"}
    assert stream.next() is None
    assert stream.handler.events[-1] == (
        "nacked",
        CLUSTER,
        ("good", "bad"),
        (),
        "bad is bad",
        False,
    )
    stream.session.trial(CLUSTER, [resource(CLUSTER, "good", "2")])
    assert stream.drain() == ["cds:good"]
    assert stream.handler.events[-1] == ("acked", CLUSTER, (("good", "2"),), True)
    stream.session.trial(CLUSTER, [resource(CLUSTER, "bad")])
    stream.nack(stream.must())
    want(CLUSTER, "bad", "1")
    assert stream.next() is None, "the same version is not sent again"
    assert stream.session.settled
    states = {state.name: state for state in stream.session.report()}
    assert (states["good"].acked, states["good"].nacked) == ("2", "")
    assert (states["bad"].sent, states["bad"].nacked) == ("", "no")
    want(CLUSTER, "bad", "2")
    assert stream.drain() == ["cds:bad"]


def test_a_route_waits_while_a_cluster_it_needs_is_rejected(stream: Stream) -> None:
    want = stream.handler.want
    stream.boot()
    want(CLUSTER, "bad")
    stream.nack(stream.must())
    want(ROUTE, "px", "2>bad", needs=("bad",))
    want(LISTENER, "l", "1", needs=())
    assert stream.drain() == ["lds:l"]
    stream.handler.drop(CLUSTER, "bad")
    want(ROUTE, "px", "3", needs=())
    assert stream.drain() == ["rds:px", "-cds:bad"]


def test_a_route_of_unknown_needs_waits_while_any_cluster_is_rejected(stream: Stream) -> None:
    stream.boot()
    stream.handler.want(CLUSTER, "bad")
    stream.nack(stream.must())
    stream.handler.want(ROUTE, "px", "2")
    assert stream.drain() == []
    stream.handler.drop(CLUSTER, "bad")
    assert stream.drain() == ["rds:px", "-cds:bad"]


def test_trial_of_another_version_leaves_the_wish_rejected(stream: Stream) -> None:
    stream.handler.want(ROUTE, "px", "1")
    stream.boot()
    stream.handler.want(ROUTE, "px", "2")
    stream.nack(stream.must())
    stream.session.trial(ROUTE, [resource(ROUTE, "px", "half")])
    stream.ack(stream.must())
    stream.handler.want(ROUTE, "px", "2")
    assert stream.next() is None
    assert stream.session.acked(ROUTE) == {"px": "half"}


def test_what_was_wished_while_a_trial_was_under_way_follows_it(stream: Stream) -> None:
    stream.handler.want(CLUSTER, "a", "1")
    stream.boot()
    stream.handler.want(CLUSTER, "a", "3")
    newer = stream.must()
    stream.session.trial(CLUSTER, [resource(CLUSTER, "a", "2"), resource(CLUSTER, "b", "2")])
    trial = stream.must()
    stream.ack(newer)
    stream.ack(trial)
    assert stream.drain() == ["cds:a", "-cds:b"]
    assert stream.session.acked(CLUSTER) == {"a": "3"}
    stream.handler.want(CLUSTER, "a", "4")
    stream.session.trial(CLUSTER, [resource(CLUSTER, "a", "3")])
    assert stream.drain() == ["cds:a", "cds:a"]
    assert stream.session.acked(CLUSTER) == {"a": "4"}


def test_a_few_trials_are_in_flight_and_the_next_are_made_when_cut(stream: Stream) -> None:
    stream.boot()
    wanted = dict.fromkeys(range(TRIALS + 2), True)

    def trial(number: int) -> list[Resource]:
        return [resource(CLUSTER, f"c{number}")] if wanted[number] else []

    for number in wanted:
        stream.session.trial(CLUSTER, partial(trial, number))
    first, *_ = [stream.must() for _ in range(TRIALS)]
    assert stream.next() is None
    wanted[TRIALS] = False
    stream.nack(first)
    assert stream.must().names == [f"c{TRIALS + 1}"]
    assert stream.next() is None


def test_a_rejected_listener_is_tried_again_when_one_has_gone(stream: Stream) -> None:
    """Two listeners on one address: the second is accepted once the first is removed."""
    stream.handler.want(LISTENER, "first")
    stream.boot()
    stream.handler.want(LISTENER, "second")
    stream.handler.drop(LISTENER, "first")
    stream.nack(stream.must(), "duplicate address")
    assert stream.drain() == ["-lds:first", "lds:second"]


def test_stale_and_foreign_nonces_only_change_subscriptions(stream: Stream) -> None:
    stream.handler.want(ROUTE, "r")
    stream.ask(ROUTE, "r")
    response = stream.must()
    for nonce in ("77", response.nonce, response.nonce):
        stream.session.receive(DeltaRequest(type_url=ROUTE, nonce=nonce))
    assert [event[0] for event in stream.handler.events].count("acked") == 1
    stream.session.receive(DeltaRequest(type_url=ROUTE, nonce="77", subscribe=("s",)))
    assert stream.drain() == ["-rds:s"]


def test_bytes_are_shared_between_streams() -> None:
    cache = ResponseCache()
    handler = FakeHandler()
    handler.want(CLUSTER, "c")
    handler.want(SECRET, "s")
    bodies = []
    for _ in range(2):
        session = Session(handler, cache)
        session.receive(DeltaRequest(NODE, CLUSTER))
        session.receive(DeltaRequest(None, SECRET, ("s",)))
        for _ in range(2):
            outgoing = session.pull()
            assert outgoing
            bodies.append(outgoing.batch.body)
    assert bodies[0] is bodies[2]
    assert bodies[1] is not bodies[3], "a secret is never kept"


def test_the_cache_is_bounded() -> None:
    cache = ResponseCache(batches=10, size=1000)
    for number in range(50):
        cache.batch(CLUSTER, (resource(CLUSTER, f"c{number}"),))
    assert len(cache) <= 10
    assert cache.size <= 1000
    cache.batch(CLUSTER, (resource(CLUSTER, "big", size=2000),))
    assert cache.size <= 1000


def test_large_sets_are_cut_into_several_responses() -> None:
    stream = Stream(Limits(response=1000))
    for number in range(30):
        stream.handler.want(CLUSTER, f"c{number}", size=100)
    stream.ask(CLUSTER)
    count, names = 0, []
    while (response := stream.next()) is not None:
        count += 1
        names += response.names
    assert count > 3
    assert names == [f"c{number}" for number in range(30)]


def test_names_beyond_the_ceiling_are_answered_and_forgotten() -> None:
    stream = Stream(Limits(names=10))
    stream.ask(CLUSTER, *(f"a|{number}|1" for number in range(15)))
    assert stream.handler.events[-1] == ("asked", tuple(f"a|{n}|1" for n in range(10)), True)
    assert len(stream.drain()) == 15
    assert len(stream.session.subscribed(CLUSTER)) == 10


def test_a_flood_of_names_without_reading_ends_the_stream() -> None:
    stream = Stream(Limits(names=10))
    with pytest.raises(Denied, match="ceiling of 10"):
        stream.ask(ENDPOINT, *(str(number) for number in range(40)))


def test_many_types_end_the_stream() -> None:
    stream = Stream(Limits(types=2))
    stream.ask(CLUSTER)
    stream.ask("type/1", "x")
    with pytest.raises(Denied, match="more than 2 resource types"):
        stream.ask("type/2", "x")


def test_a_clients_types_never_stand_in_the_way_of_wishes() -> None:
    stream = Stream(Limits(types=2))
    stream.ask("type/1", "x")
    stream.ask("type/2", "x")
    stream.session.want(CLUSTER, "one", make(CLUSTER, "one", b"1"))
    assert stream.session.ending is None


def test_an_asked_for_name_that_is_unsubscribed_leaves_nothing_behind() -> None:
    stream = Stream()
    stream.ask(CLUSTER, "*")
    for number in range(3):
        name = f"a|{number}|1"
        stream.ask(CLUSTER, name)
        stream.session.want(CLUSTER, name, make(CLUSTER, name, b"1"), Lane.DEMAND)
        stream.drain()
        stream.ask(CLUSTER, drop=(name,))
        assert stream.drain() == [f"-cds:{name}"]
    assert not stream.session.wishes(CLUSTER)
    stream.ask(CLUSTER, "a|0|1")
    stream.session.want(CLUSTER, "a|0|1", make(CLUSTER, "a|0|1", b"1"), Lane.DEMAND)
    assert "cds:a|0|1" in stream.drain()
