"""Learnt sets: kept across a kill, aged out after a week, never in the way of traffic."""

import asyncio
from pathlib import Path

import pytest

from controlplane.durable import StateError
from controlplane.rollout.learnt import KEEP_SECONDS, Learnt
from controlplane.rollout.learnt_lines import Owner, Reference
from tests.fakes.full_disk import STEPS, FullDisk

WEB = Owner("shop", "web")
REVIEWS = Reference("shop", "reviews", 80)
LEDGER = Reference("shop", "ledger", 9000)


class Time:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(directory: Path, clock: Time) -> tuple[Learnt, list[StateError]]:
    errors: list[StateError] = []
    learnt = Learnt(directory, clock, errors.append)
    learnt.load()
    return learnt, errors


def test_an_entry_stands_on_disk_as_soon_as_it_is_learnt(tmp_path: Path) -> None:
    clock = Time()
    learnt, errors = opened(tmp_path, clock)
    learnt.learn(WEB, REVIEWS)
    again, _ = opened(tmp_path, clock)
    assert again.of(WEB) == (REVIEWS,)
    assert errors == []


def test_a_torn_line_loses_nothing_else(tmp_path: Path) -> None:
    clock = Time()
    learnt, _ = opened(tmp_path, clock)
    learnt.learn(WEB, REVIEWS)
    with (tmp_path / "shop" / "web.jsonl").open("ab") as file:
        file.write(b'{"service":"shop/led')
    learnt.learn(WEB, LEDGER)
    again, _ = opened(tmp_path, clock)
    assert again.of(WEB) == (LEDGER, REVIEWS)


async def test_what_stands_there_already_is_not_written_again(tmp_path: Path) -> None:
    """A fleet starts: its sets are read, and the disk is left alone."""
    clock = Time()
    learnt, _ = opened(tmp_path, clock)
    learnt.learn(WEB, REVIEWS)
    path = tmp_path / "shop" / "web.jsonl"
    appended = path.read_bytes()
    again, _ = opened(tmp_path, clock)
    await again.compact()
    assert path.read_bytes() != appended, "appends are gathered once"
    written = path.stat().st_ino
    third, _ = opened(tmp_path, clock)
    await third.compact()
    assert path.stat().st_ino == written
    assert third.of(WEB) == (REVIEWS,)


async def test_what_no_stream_held_for_a_week_is_dropped(tmp_path: Path) -> None:
    clock = Time()
    learnt, _ = opened(tmp_path, clock)
    learnt.learn(WEB, REVIEWS)
    learnt.learn(WEB, LEDGER)
    clock.now += KEEP_SECONDS - 1
    learnt.held(WEB, [REVIEWS])
    clock.now += 2
    await learnt.compact()
    again, _ = opened(tmp_path, clock)
    assert again.of(WEB) == (REVIEWS,)


async def test_a_refusing_disk_is_reported_and_the_entry_kept_in_memory(tmp_path: Path) -> None:
    clock = Time()
    (tmp_path / "shop").write_text("a file where the directory belongs")
    learnt, errors = opened(tmp_path, clock)
    learnt.learn(WEB, REVIEWS)
    assert len(errors) == 1
    assert learnt.of(WEB) == (REVIEWS,)
    (tmp_path / "shop").unlink()
    await learnt.compact()
    again, _ = opened(tmp_path, clock)
    assert again.of(WEB) == (REVIEWS,)


def test_a_name_that_is_no_dns_name_never_becomes_a_path(tmp_path: Path) -> None:
    learnt, _ = opened(tmp_path, Time())
    learnt.learn(Owner("shop", "../../escape"), REVIEWS)
    assert list(tmp_path.rglob("*")) == []


async def test_names_that_are_done_with_are_remembered_per_pod_in_the_two_newest_buckets(
    tmp_path: Path,
) -> None:
    clock = Time()
    learnt, _ = opened(tmp_path, clock)
    learnt.finish(WEB, "web-1", ["a|reviews|1", "a|reviews|2"])
    learnt.finish(WEB, "web-1", ["a|ratings|3"])
    learnt.finish(WEB, "web-2", ["a|reviews|1"])
    for _ in range(2):
        again, _errors = opened(tmp_path, clock)
        assert again.done(WEB, "web-1") == {"a|reviews|2", "a|ratings|3"}
        assert again.done(WEB, "web-2") == {"a|reviews|1"}
        await again.compact()


async def test_what_is_learnt_while_the_file_is_replaced_is_in_the_new_one(tmp_path: Path) -> None:
    clock = Time()
    learnt, _ = opened(tmp_path, clock)
    learnt.learn(WEB, REVIEWS)
    again, _errors = opened(tmp_path, clock)
    writing = asyncio.ensure_future(again.compact())
    await asyncio.sleep(0)
    again.learn(WEB, LEDGER)
    await writing
    last, _errors = opened(tmp_path, clock)
    assert last.of(WEB) == (LEDGER, REVIEWS)


@pytest.mark.parametrize("step", STEPS)
async def test_a_full_disk_at_any_step_loses_nothing_that_was_known(
    tmp_path: Path, step: str
) -> None:
    clock = Time()
    before, _ = opened(tmp_path, clock)
    before.learn(WEB, REVIEWS)
    errors: list[StateError] = []
    disk = FullDisk(step)
    learnt = Learnt(tmp_path, clock, errors.append, disk)
    learnt.load()
    learnt.learn(WEB, LEDGER)
    await learnt.compact()
    assert errors
    assert learnt.of(WEB) == (LEDGER, REVIEWS), "traffic goes on with what is in memory"
    kept, _ = opened(tmp_path, clock)
    assert REVIEWS in kept.of(WEB)
    disk.step = ""
    await learnt.compact()
    again, _ = opened(tmp_path, clock)
    assert again.of(WEB) == (LEDGER, REVIEWS)
