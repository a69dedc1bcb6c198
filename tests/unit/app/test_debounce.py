"""Two lanes: endpoints leave early, routing after quiet or at the ceiling."""

from controlplane.app.debounce import Debouncer, DebounceSettings
from controlplane.world.rows import EndpointSlice, Key, Namespace, Pod
from controlplane.world.schema import ENDPOINT_SLICES, NAMESPACES, PODS
from controlplane.world.transaction import Edit, Put

SETTINGS = DebounceSettings(endpoint_quiet=0.01, routing_quiet=0.1, ceiling=1.0)


def pod(name: str) -> Edit:
    key = Key("c", "shop", name)
    return Put(PODS, key, Pod(key))


def endpoints(name: str) -> Edit:
    key = Key("c", "shop", name)
    return Put(ENDPOINT_SLICES, key, EndpointSlice(key, name, "IPv4", (), ()))


def namespace(name: str) -> Edit:
    key = Key("c", "", name)
    return Put(NAMESPACES, key, Namespace(key))


def test_endpoints_leave_after_their_short_quiet_time() -> None:
    debouncer = Debouncer(SETTINGS)
    debouncer.add([endpoints("a"), pod("a")], 0.0)
    assert debouncer.due() == 0.01
    assert debouncer.take(0.009) == []
    assert debouncer.take(0.01) == [endpoints("a"), pod("a")]
    assert debouncer.due() is None


def test_routing_waits_for_quiet_and_no_longer_than_the_ceiling() -> None:
    debouncer = Debouncer(SETTINGS)
    for step in range(20):
        debouncer.add([namespace(str(step))], step * 0.09)
    assert debouncer.due() == 1.0
    assert len(debouncer.take(1.0)) == 20


def test_a_transaction_with_routing_in_it_is_not_torn() -> None:
    debouncer = Debouncer(SETTINGS)
    debouncer.add([endpoints("a"), namespace("shop")], 0.0)
    assert debouncer.take(0.05) == []
    assert len(debouncer.take(0.1)) == 2


def test_a_running_pass_takes_endpoints_alone() -> None:
    debouncer = Debouncer(SETTINGS)
    debouncer.add([namespace("shop")], 0.0)
    debouncer.add([endpoints("a")], 0.0)
    assert debouncer.take_endpoints(0.005) == []
    assert debouncer.take_endpoints(0.5) == [endpoints("a")]
    assert debouncer.flush() == [namespace("shop")]
