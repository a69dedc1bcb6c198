"""How much is done in one turn of the event loop."""

import asyncio

import pytest

from xds.serve.turns import Turns

EACH = 4


async def turns_of(work: list[int], turns: Turns, callers: int) -> None:
    """``callers`` come at once; each notes in which turn of the loop it works."""
    number = 0

    def count() -> None:
        nonlocal number
        number += 1
        ticking[0] = loop.call_soon(count)

    async def caller() -> None:
        await turns.mine()
        work.append(number)

    loop = asyncio.get_running_loop()
    ticking = [loop.call_soon(count)]
    await asyncio.gather(*(caller() for _ in range(callers)))
    ticking[0].cancel()


@pytest.mark.parametrize("callers", [1, EACH, EACH + 1, 50])
async def test_no_more_than_some_work_in_a_turn(callers: int) -> None:
    work: list[int] = []
    await turns_of(work, Turns(EACH), callers)
    assert len(work) == callers
    assert max(work.count(turn) for turn in set(work)) <= EACH
    assert work == sorted(work)


async def test_few_do_not_wait_and_a_new_turn_begins_anew() -> None:
    turns = Turns(EACH)
    for _ in range(3):
        work: list[int] = []
        await turns_of(work, turns, EACH)
        assert len(set(work)) == 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_who_waits_is_served_in_order_and_who_is_cancelled_is_left_out() -> None:
    turns = Turns(1)
    order: list[str] = []

    async def caller(name: str) -> None:
        await turns.mine()
        order.append(name)

    tasks = [asyncio.create_task(caller(name)) for name in "abcd"]
    turns.add(lambda: order.append("added"))
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert [name for name in order if name != "added"] == ["a", "b", "d"]
