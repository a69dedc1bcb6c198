"""The rules of one stream, each by an example: order, answers, versions, lanes."""

import pytest

from tests.fakes.handler import resource
from tests.protocol.stream import Stream
from xds.serve.lanes import WINDOW, Lane
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, SHORT
from xds.wire.request import DeltaRequest, Malformed
from xds.wire.resource import Resource


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_push_order_and_unasked_endpoints(stream: Stream) -> None:
    """Also when the wishes come in the opposite order and no cluster is ACKed."""
    stream.boot()
    want = stream.handler.want
    want(ROUTE, "px", "2>c")
    want(LISTENER, "l", "1>c")
    want(ENDPOINT, "e", lane=Lane.DEMAND)
    want(CLUSTER, "a|shop|1", lane=Lane.DEMAND)
    want(CLUSTER, "c", endpoints="e")
    order = []
    while (response := stream.next()) is not None:
        order.append(f"{SHORT[response.type_url]}:{','.join(response.names)}")
    assert order == ["cds:c", "eds:e", "lds:l", "rds:px", "cds:a|shop|1"]


def test_removals_wait_for_the_acks_of_what_replaced_their_users(stream: Stream) -> None:
    want, drop = stream.handler.want, stream.handler.drop
    want(CLUSTER, "old")
    want(ROUTE, "px", "1>old")
    stream.boot()
    want(CLUSTER, "new")
    want(ROUTE, "px", "2>new")
    drop(CLUSTER, "old")
    clusters, routes = stream.must(), stream.must()
    assert (clusters.names, routes.names) == (["new"], ["px"])
    stream.ack(clusters)
    assert stream.next() is None
    stream.ack(routes)
    assert stream.must().removed == ("old",)


def test_listeners_leave_before_routes_before_clusters_before_endpoints(stream: Stream) -> None:
    want, drop = stream.handler.want, stream.handler.drop
    want(CLUSTER, "c", endpoints="e")
    want(ENDPOINT, "e")
    want(LISTENER, "l")
    want(ROUTE, "r")
    stream.boot()
    stream.ask(ENDPOINT, "e")
    stream.ask(ROUTE, "r")
    stream.drain()
    for type_url, name in ((ENDPOINT, "e"), (CLUSTER, "c"), (ROUTE, "r"), (LISTENER, "l")):
        drop(type_url, name)
    assert stream.drain() == ["-lds:l", "-rds:r", "-cds:c", "-eds:e"]


def test_a_changed_eds_cluster_gets_its_endpoints_again(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "c", endpoints="e")
    want(ENDPOINT, "e")
    stream.boot()
    stream.ask(ENDPOINT, "e")
    stream.drain()
    want(CLUSTER, "c", "2", endpoints="e")
    assert stream.drain() == ["cds:c", "eds:e"]


def test_an_assignment_waits_for_a_change_of_its_cluster(stream: Stream) -> None:
    stream.boot()
    want = stream.session.want
    want(CLUSTER, "one", resource(CLUSTER, "one", "1"), endpoints="e|one")
    want(ENDPOINT, "e|one", resource(ENDPOINT, "e|one", "1"), Lane.DEMAND)
    stream.drain()
    want(CLUSTER, "other", resource(CLUSTER, "other", "1"))
    outstanding = stream.must()
    # An endpoint with a new identity, and the cluster that will accept it.
    want(ENDPOINT, "e|one", resource(ENDPOINT, "e|one", "2"), Lane.DEMAND)
    want(CLUSTER, "one", resource(CLUSTER, "one", "2"), endpoints="e|one")
    assert stream.next() is None
    stream.ack(outstanding)
    assert stream.drain() == ["cds:one", "eds:e|one"]


def test_a_withheld_cluster_ack_holds_up_no_addition(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "slow")
    stream.ask(CLUSTER)
    stream.ask(ROUTE, "px")
    stream.must()
    want(CLUSTER, "new")
    want(ROUTE, "px", "1>new")
    assert [stream.must().names, stream.must().names] == [["new"], ["px"]]


def test_a_change_waits_for_the_ack_and_the_newest_wins(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "c", "1")
    stream.ask(CLUSTER)
    first = stream.must()
    for version in ("2", "3", "4"):
        want(CLUSTER, "c", version)
        assert stream.next() is None
    stream.ack(first)
    second = stream.must()
    assert [each.version for each in second.resources] == ["4"]
    want(CLUSTER, "c", "1")
    want(CLUSTER, "c", "4")
    stream.ack(second)
    assert stream.next() is None
    assert stream.session.settled


def test_the_demand_lane_has_a_window(stream: Stream) -> None:
    stream.boot()
    stream.ask(ENDPOINT, "e")
    stream.drain()
    flying = []
    for version in range(WINDOW + 5):
        stream.handler.want(ENDPOINT, "e", str(version), Lane.DEMAND)
        if (response := stream.next()) is not None:
            flying.append(response)
    assert len(flying) == WINDOW
    stream.ack(flying[0])
    assert stream.must().resources[0].version == str(WINDOW + 4), "newest wins"


def test_demand_passes_configuration_that_waits(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "c", "1")
    stream.ask(CLUSTER)
    stream.must()
    want(CLUSTER, "c", "2")
    want(CLUSTER, "d", lane=Lane.DEMAND)
    assert stream.must().names == ["d"]
    want(CLUSTER, "d", "2", Lane.DEMAND)
    assert stream.must().names == ["d"]
    assert stream.next() is None


@pytest.mark.parametrize("type_url", [CLUSTER, LISTENER])
def test_a_wildcard_with_nothing_is_answered(stream: Stream, type_url: str) -> None:
    stream.ask(type_url)
    response = stream.must()
    assert (response.type_url, response.names, response.removed) == (type_url, [], ())
    stream.ack(response)
    assert stream.next() is None


@pytest.mark.parametrize("type_url", [ENDPOINT, ROUTE, SECRET, "type.googleapis.com/x.Y"])
def test_names_that_do_not_exist_are_answered_each_time(stream: Stream, type_url: str) -> None:
    stream.ask(type_url, "nothing")
    assert stream.must().removed == ("nothing",)
    stream.ask(type_url, "nothing")
    assert stream.must().removed == ("nothing",)
    assert ("subscribed", type_url, ("nothing",)) in stream.handler.events


def test_what_appears_later_is_pushed_to_those_who_asked(stream: Stream) -> None:
    stream.ask(ENDPOINT, "e")
    stream.drain()
    stream.handler.want(ENDPOINT, "other")
    stream.handler.want(ENDPOINT, "e")
    assert stream.drain() == ["eds:e"]


def test_subscribed_again_is_answered_again(stream: Stream) -> None:
    stream.handler.want(ROUTE, "r")
    stream.ask(ROUTE, "r")
    assert stream.drain() == ["rds:r"]
    stream.ask(ROUTE, drop=("r",))
    stream.handler.want(ROUTE, "r", "2")
    assert stream.drain() == [], "nobody is subscribed"
    assert stream.session.acked(ROUTE) == {}
    stream.ask(ROUTE, "r")
    assert stream.drain() == ["rds:r"]
    stream.ask(ROUTE, "r")
    assert stream.drain() == ["rds:r"], "the client may have forgotten it"


def test_wildcard_forms(stream: Stream) -> None:
    stream.handler.want(CLUSTER, "c")
    stream.ask(CLUSTER)
    assert stream.drain() == ["cds:c"]
    stream.ask(CLUSTER, "*", "a|x|1")
    assert stream.drain() == ["-cds:a|x|1"]
    assert stream.session.subscribed(CLUSTER) == {"*", "a|x|1"}
    stream.ask(CLUSTER, drop=("*",))
    stream.handler.want(CLUSTER, "c", "2")
    assert stream.drain() == []
    stream.ask(CLUSTER, "*")
    assert stream.drain() == ["cds:c"]


def test_by_name_alone_is_no_wildcard(stream: Stream) -> None:
    stream.handler.want(CLUSTER, "c")
    stream.handler.want(CLUSTER, "d")
    stream.ask(CLUSTER, "c")
    assert stream.drain() == ["cds:c"]


def test_reconnect_sends_differences_only(stream: Stream) -> None:
    want = stream.handler.want
    want(CLUSTER, "same")
    want(CLUSTER, "changed", "2")
    want(ENDPOINT, "e")
    want(ROUTE, "px", "1")
    stream.ask(ENDPOINT, "e", versions={"e": "1"})
    stream.ask(ROUTE, "px", versions={"px": "1"})
    assert stream.drain() == []
    stream.ask(CLUSTER, versions={"same": "1", "changed": "1", "vanished": "1", "a|x|1": "1"})
    assert stream.drain() == ["cds:changed", "-cds:vanished"]
    assert stream.session.acked(CLUSTER) == {"same": "1", "changed": "2", "a|x|1": "1"}
    assert stream.session.settled


def test_reconnect_with_nothing_new_sends_nothing(stream: Stream) -> None:
    stream.handler.want(CLUSTER, "c")
    stream.ask(LISTENER, versions={})
    stream.ask(CLUSTER, versions={"c": "1"})
    assert stream.drain() == ["lds:"]
    assert stream.session.settled


def test_routes_wait_for_the_cluster_subscription_of_a_reconnect(stream: Stream) -> None:
    stream.handler.want(CLUSTER, "new")
    stream.handler.want(ROUTE, "px", "2>new")
    stream.ask(ROUTE, "px", versions={"px": "1>old"})
    greeting = stream.must()
    assert (greeting.names, greeting.removed, stream.next()) == ([], (), None)
    stream.ask(CLUSTER, versions={"old": "1"})
    assert stream.must().names == ["new"]
    assert stream.next() is None, "it may hold more"
    stream.ack(greeting)
    assert stream.drain() == ["rds:px"]


def test_removals_wait_until_a_reconnected_client_has_said_what_it_holds(stream: Stream) -> None:
    stream.ask(CLUSTER, versions={"old": "1"})
    stream.must()
    assert stream.next() is None
    stream.ask(LISTENER, versions={"l": "1>old"})
    stream.ask(ENDPOINT, "local", versions={"local": "1"})
    assert stream.next() is None
    stream.ask(ROUTE, "px", versions={"px": "1>old"})
    assert stream.must().removed == ("l",)


def test_a_route_waits_for_endpoints_that_wait_for_their_window(stream: Stream) -> None:
    want = stream.handler.want
    want(ENDPOINT, "e")
    stream.boot()
    stream.ask(ENDPOINT, "e")
    stream.drain()
    flying = []
    for version in range(WINDOW):
        want(ENDPOINT, "e", f"v{version}", Lane.DEMAND)
        flying.append(stream.must())
    want(CLUSTER, "c", endpoints="e")
    want(ROUTE, "px", "1>c")
    assert stream.must().names == ["c"]
    assert stream.next() is None
    stream.ack(flying[0])
    assert [stream.must().names, stream.must().names] == [["e"], ["px"]]


def test_asked_names_are_the_handlers_to_answer(stream: Stream) -> None:
    seen: list[tuple[tuple[str, ...], bool]] = []
    stream.handler.answer = lambda session, names, first: seen.append((names, first))
    stream.ask(CLUSTER, "*", "a|x|1", "f|1.2.3.4:80|2", versions={"a|x|1": "1"})
    assert stream.drain() == []
    stream.ask(CLUSTER, "a|y|1")
    assert stream.drain() == []
    assert seen == [(("a|x|1", "f|1.2.3.4:80|2"), True), (("a|y|1",), False)]
    stream.session.want(CLUSTER, "a|y|1", None)
    assert stream.drain() == ["-cds:a|y|1"]
    stream.session.want(CLUSTER, "f|1.2.3.4:80|2", resource(CLUSTER, "f|1.2.3.4:80|2"))
    assert stream.drain() == ["cds:f|1.2.3.4:80|2"]


def test_hold_and_release(stream: Stream) -> None:
    stream.handler.on_opened = lambda session: session.hold()
    stream.handler.want(CLUSTER, "c")
    stream.ask(CLUSTER, versions={"vanished": "1"})
    stream.ask(ROUTE, "r")
    assert stream.drain() == []
    stream.handler.want(ROUTE, "r")
    stream.session.release()
    assert stream.drain() == ["cds:c", "rds:r", "-cds:vanished"]


def test_deferred_names(stream: Stream) -> None:
    stream.handler.on_subscribed = lambda session, type_url, names: session.defer(type_url, names)
    stream.ask(SECRET, "identity", versions={"identity": "leaf|k|1|2|3"})
    assert stream.drain() == []
    stream.session.want(SECRET, "identity", Resource(SECRET, "identity", "leaf|k|1|2|3", b""))
    assert stream.drain() == []
    assert stream.session.settled
    stream.ask(SECRET, "identity")
    assert stream.handler.events[-1] == ("subscribed", SECRET, ("identity",))
    assert stream.drain() == [], "still deferred"
    stream.session.want(SECRET, "identity", resource(SECRET, "identity", "2"))
    assert stream.drain() == ["sds:identity"]


def test_a_nonce_counts_per_stream(stream: Stream) -> None:
    stream.handler.want(CLUSTER, "c")
    stream.ask(CLUSTER)
    stream.ask(LISTENER)
    assert [stream.must().nonce, stream.must().nonce] == ["1", "2"]


def test_the_first_request_needs_a_node(stream: Stream) -> None:
    with pytest.raises(Malformed, match="node"):
        stream.session.receive(DeltaRequest(None, CLUSTER))
    stream.session.close()
    assert stream.handler.events == []
