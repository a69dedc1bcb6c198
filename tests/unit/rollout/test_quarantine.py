"""Quarantine: one stream bisects, the good ones reach everyone, the bad one stays back."""

from hypothesis import given
from hypothesis import strategies as st

from controlplane.rollout.quarantine import Choice, Part, Quarantine


def part(number: int, version: str = "v1") -> Part:
    return Part(f"node{number}", version)


def test_a_batch_of_one_is_rejected_at_once() -> None:
    quarantine = Quarantine()
    step = quarantine.reject("s1", [part(1)], "bad")
    assert [each.part for each in step.rejected] == [part(1)]
    assert quarantine.choose("s1", part(1)) is Choice.LAST_GOOD
    assert quarantine.choose("s2", part(1)) is Choice.LAST_GOOD
    assert quarantine.choose("s2", part(1, "v2")) is Choice.USE


def test_while_one_stream_bisects_the_others_hold() -> None:
    quarantine = Quarantine()
    batch = [part(1), part(2)]
    step = quarantine.reject("s1", batch, "bad")
    assert step.trials == ((part(1),), (part(2),))
    other = quarantine.reject("s2", batch, "bad")
    assert other.trials == ()
    assert other.held == (part(1), part(2))
    assert quarantine.choose("s2", part(1)) is Choice.LAST_GOOD
    assert quarantine.accept([part(1)]) == (part(1),)
    assert quarantine.choose("s2", part(1)) is Choice.USE


def test_a_stream_that_leaves_frees_its_suspects() -> None:
    quarantine = Quarantine()
    quarantine.reject("s1", [part(1), part(2)], "bad")
    assert set(quarantine.leave("s1")) == {part(1), part(2)}
    assert quarantine.choose("s2", part(1)) is Choice.USE


def test_what_others_accepted_is_refused_for_one_stream_alone() -> None:
    quarantine = Quarantine()
    quarantine.accept([part(1)])
    step = quarantine.reject("s1", [part(1)], "port taken")
    assert step.rejected[0].stream == "s1"
    assert quarantine.choose("s1", part(1)) is Choice.LAST_GOOD
    assert quarantine.choose("s2", part(1)) is Choice.USE


def test_verdicts_lapse_with_a_new_version() -> None:
    quarantine = Quarantine()
    quarantine.reject("s1", [part(1)], "bad")
    assert quarantine.forget("node1", keep="v2")
    assert quarantine.rejections() == ()
    assert not quarantine.forget("node1", keep="v2")


def test_a_second_opinion_decides() -> None:
    quarantine = Quarantine()
    quarantine.reject("s1", [part(1)], "bad")
    quarantine.ask(part(1), "s2")
    assert quarantine.choose("s2", part(1)) is Choice.LAST_GOOD, "it is sent a trial"
    assert quarantine.accept([part(1)], "s2") == (part(1),)
    assert [each.stream for each in quarantine.rejections()] == ["s1"]
    assert quarantine.choose("s1", part(1)) is Choice.LAST_GOOD
    assert quarantine.choose("s3", part(1)) is Choice.USE

    quarantine.reject("s1", [part(2)], "bad")
    quarantine.ask(part(2), "s2")
    quarantine.reject("s2", [part(2)], "bad as well")
    assert quarantine.doubt(part(2)) is None
    assert quarantine.choose("s3", part(2)) is Choice.LAST_GOOD
    quarantine.accept([part(2)], "s3")
    alone = {each.stream for each in quarantine.rejections() if each.part == part(2)}
    assert alone == {"s1", "s2"}


def test_what_comes_in_one_batch_with_a_bad_part_is_tried_without_it() -> None:
    quarantine = Quarantine()
    quarantine.reject("s1", [part(1)], "bad")
    quarantine.accept([part(2)])
    step = quarantine.reject("s2", [part(1), part(2), part(3)], "bad")
    assert step.rejected == ()
    assert step.trials == ((part(3),),)
    assert step.again == (part(2),)


@given(st.integers(1, 40), st.data())
def test_bisection_finds_exactly_the_bad_ones(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    parts = [part(number) for number in range(size)]
    quarantine = Quarantine()
    queue = list(quarantine.reject("s1", parts, "no").trials)
    sent = 1
    while queue:
        batch = queue.pop(0)
        sent += 1
        if any(int(str(each.node)[4:]) in bad for each in batch):
            queue = [*quarantine.reject("s1", batch, "no").trials, *queue]
        else:
            quarantine.accept(batch)
    found = {int(str(each.part.node)[4:]) for each in quarantine.rejections()}
    assert found == bad
    assert quarantine.owned("s1") == ()
    assert sent <= 2 * size
