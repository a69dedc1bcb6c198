"""When cyclic garbage is collected: never in the middle of a burst, but in the end always."""

import gc
from collections.abc import Iterator

import pytest

from controlplane.app.collector import MANY, STAYED, WINDOW, Collector


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
    many: list[object] = [[] for _ in range(2 * MANY - 100)]
    before = sum(each["collections"] for each in gc.get_stats())
    collector.tick()
    assert sum(each["collections"] for each in gc.get_stats()) == before + 1
    assert gc.get_count()[0] < STAYED
    del many
