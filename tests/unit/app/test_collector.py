"""When cyclic garbage is collected: never in the middle of a burst, but in the end always."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from controlplane.app.collector import BACKSTOP, MANY, STAYED, WINDOW, Collector


class Watched:
    """Something that a weak reference can name."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    before = gc.get_threshold()
    made = Collector()
    made.settle()
    yield made
    gc.unfreeze()
    gc.set_threshold(*before)


def ticks(collector: Collector, count: int) -> None:
    for _ in range(count):
        collector.tick()


def test_what_a_burst_made_and_freed_is_not_walked(collector: Collector) -> None:
    ticks(collector, WINDOW - 1)
    burst: list[object] = [[] for _ in range(MANY // 2)]
    before = gc.get_stats()[0]["collections"]
    collector.tick()
    assert gc.get_stats()[0]["collections"] == before
    del burst


def test_garbage_that_stays_is_collected(collector: Collector) -> None:
    ring: list[object] = []
    for _ in range(3 * STAYED):
        ring = [ring]
    ring_id = id(ring)
    ring.append(ring)
    del ring
    ticks(collector, 2 * WINDOW)
    assert not any(id(each) == ring_id for each in gc.get_objects())


def test_many_objects_do_not_wait(collector: Collector) -> None:
    many: list[object] = [[] for _ in range(MANY + 100)]
    before = sum(each["collections"] for each in gc.get_stats())
    collector.tick()
    assert sum(each["collections"] for each in gc.get_stats()) == before + 1
    assert gc.get_count()[0] < STAYED
    del many


def test_what_was_found_to_live_is_not_walked_again(collector: Collector) -> None:
    """A fleet that starts: 400,000 objects that stay. Each collection walks what is new alone."""
    stays: list[object] = []
    for _ in range(10):
        stays += [[] for _ in range(2 * MANY)]
        collector.tick()
        assert sum(map(len, (gc.get_objects(each) for each in range(3)))) < 2 * BACKSTOP
    older = [each["collections"] for each in gc.get_stats()[1:]]
    ticks(collector, 3 * WINDOW)
    assert [each["collections"] for each in gc.get_stats()[1:]] == older


def test_rings_among_what_once_lived_are_collected_when_it_has_doubled() -> None:
    before = gc.get_threshold()
    collector = Collector(floor=1000)
    try:
        collector.settle()
        size = gc.get_freeze_count()
        ring: list[object] = [[] for _ in range(2 * size)]
        ring.append(ring)
        watched = Watched()
        ring.append(watched)
        gone = weakref.ref(watched)
        del watched
        collector.tick()
        del ring
        assert gone() is not None
        ticks(collector, 3 * WINDOW)
        assert gone() is None
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
