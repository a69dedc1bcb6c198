"""Promotion: which asked-for names are answered, and when they may go."""

from controlplane.rollout.promotion import MARGIN, Promotions


def names(demand_part: object) -> list[str]:
    return [str(each) for each in demand_part]  # type: ignore[attr-defined]


def test_a_question_promotes_its_authority_and_is_answered_under_the_very_name() -> None:
    promotions = Promotions(60.0)
    demand = promotions.ask(["a|Reviews:80|202611241200"], 0.0)
    assert demand.promote == ("reviews:80",)
    assert names(demand.answer) == ["a|Reviews:80|202611241200"]


def test_a_second_bucket_of_a_known_authority_is_answered_without_a_new_promotion() -> None:
    promotions = Promotions(60.0)
    promotions.ask(["a|reviews|1"], 0.0)
    demand = promotions.ask(["a|reviews|2"], 61.0)
    assert demand.promote == ()
    assert names(demand.answer) == ["a|reviews|2"]


def test_the_bucket_stands_after_the_last_separator() -> None:
    demand = Promotions(60.0).ask(["a|odd|name|7"], 0.0)
    assert demand.promote == ("odd|name",)


def test_other_names_are_no_question() -> None:
    demand = Promotions(60.0).ask(["h|ns|svc|80", "a||1", "f|10.0.0.1:80|1", "xds"], 0.0)
    assert demand.promote == ()
    assert demand.answer == ()


def test_on_reconnect_only_what_may_hang_in_the_two_newest_buckets_is_answered() -> None:
    promotions = Promotions(60.0)
    demand = promotions.reconnected(
        ["a|one|1", "a|two|2", "a|three|3", "a|done|3", "a|held|1"],
        {"a|held|1": "v"},
        {"a|done|3"},
        0.0,
    )
    assert set(demand.promote) == {"one", "two", "three", "done", "held"}
    assert names(demand.answer) == ["a|two|2", "a|three|3"]


def test_a_name_is_taken_back_after_its_bucket_and_only_when_its_host_was_acknowledged() -> None:
    promotions = Promotions(1.0)
    promotions.ask(["a|reviews|1"], 10.0)
    end = promotions.next_end()
    assert end == 10.0 + 1.0 + MARGIN
    assert promotions.finished(end - 0.1, lambda _: True) == ()
    assert promotions.finished(end, lambda _: False) == ()
    assert promotions.finished(end, lambda authority: authority == "reviews") == ("a|reviews|1",)
    assert promotions.asked == 0
    assert promotions.targets == ("reviews",)


def test_above_the_ceiling_a_name_is_refused_and_known_ones_go_on() -> None:
    promotions = Promotions(60.0, ceiling=1)
    promotions.ask(["a|one|1"], 0.0)
    demand = promotions.ask(["a|two|1", "a|one|2"], 0.0)
    assert names(demand.refuse) == ["a|two|1"]
    assert names(demand.answer) == ["a|one|2"]
