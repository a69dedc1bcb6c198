"""Which destinations count as unused, and which of them go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.rollout import idleness
from controlplane.rollout.idleness import Candidate, Policy, Usage, choose, is_tcp
from xds.wire.metrics import Report

HTTP, TCP = "h|shop|reviews|80", "t|shop|ledger|9000"


def requests(total: float, active: float = 0) -> Report:
    return Report(requests={HTTP: total}, active_requests={HTTP: active})


def connections(total: float, active: float = 0) -> Report:
    return Report(connections={TCP: total}, active_connections={TCP: active})


def test_http_is_used_while_requests_are_counted_or_open() -> None:
    usage = Usage()
    for now, report in enumerate(
        [requests(1), requests(1), requests(2), requests(2, 1), requests(2, 1), requests(2)]
    ):
        usage.report(report, float(now))
    assert usage.used(HTTP) == 4.0
    assert usage.active(HTTP) == 0


def test_idle_connections_of_http_are_no_use() -> None:
    usage = Usage()
    usage.report(Report(requests={HTTP: 1}, active_connections={HTTP: 2}), 0.0)
    usage.report(
        Report(requests={HTTP: 1}, connections={HTTP: 3}, active_connections={HTTP: 3}), 5.0
    )
    assert usage.used(HTTP) == 0.0


def test_an_open_tcp_connection_is_use_for_as_long_as_it_lives() -> None:
    usage = Usage()
    for now in range(100):
        usage.report(connections(1, 1), float(now))
    assert (usage.used(TCP), usage.active(TCP)) == (99.0, 1)
    usage.report(connections(1), 100.0)
    usage.report(connections(1), 200.0)
    assert (usage.used(TCP), usage.active(TCP)) == (99.0, 0)
    usage.report(connections(2), 300.0)
    assert usage.used(TCP) == 300.0, "a short one between two reports"


def test_what_is_not_in_a_message_stays_as_it_was() -> None:
    """A report may come in several messages."""
    usage = Usage()
    usage.report(connections(1, 1), 0.0)
    usage.report(Report(memory=7), 1.0)
    assert (usage.active(TCP), usage.used(TCP), usage.memory) == (1, 0.0, 7)
    usage.report(requests(1), 2.0)
    assert (usage.memory, usage.reported) == (7, 2.0)


def test_a_sidecar_that_starts_again_counts_from_the_beginning() -> None:
    usage = Usage()
    usage.report(requests(9), 0.0)
    usage.report(requests(2), 7.0)
    assert usage.used(HTTP) == 7.0


def test_a_cluster_that_was_away_begins_anew() -> None:
    usage = Usage()
    usage.report(requests(9, 1), 0.0)
    usage.keep({TCP})
    assert (usage.used(HTTP), usage.active(HTTP)) == (None, 0)
    usage.report(requests(9), 5.0)
    assert usage.used(HTTP) == 5.0


def test_what_is_remembered_is_bounded() -> None:
    usage = Usage()
    many = {f"h|shop|s{n}|80": 1.0 for n in range(idleness.CLUSTERS + 5)}
    usage.report(Report(requests=many), 0.0)
    assert usage.used(f"h|shop|s{idleness.CLUSTERS - 1}|80") == 0.0
    assert usage.used(f"h|shop|s{idleness.CLUSTERS}|80") is None


@pytest.mark.parametrize(
    ("cluster", "tcp"),
    [
        ("h|a|b|80", False),
        ("m|a|b|80", False),
        ("t|a|b|80", True),
        ("t|a|b|80|blue", True),
        ("o|a|b|80|h", False),
        ("o|a|b|80|t", True),
        ("o|a|account|t", True),
        ("x|a|b|80", False),
        ("h|a|b|80|t", False),
        ("Passthrough", True),
    ],
)
def test_kinds(cluster: str, tcp: bool) -> None:
    assert is_tcp(cluster) is tcp


def free(*used: float) -> list[Candidate]:
    return [Candidate(f"d{at:g}", at, free=True) for at in used]


def test_idle_ones_go_the_oldest_first() -> None:
    assert choose(free(5, 1, 3), Policy(7, 0, 100), reported=10) == ("d1", "d3")


def test_the_floor_keeps_the_most_recently_used() -> None:
    assert choose(free(1, 2, 3), Policy(1, 2, 100), reported=10) == ("d1",)


def test_above_the_ceiling_the_least_recently_used_go_although_in_use() -> None:
    assert choose(free(8, 9, 10), Policy(100, 0, 2), reported=10) == ("d8",)


def test_what_is_in_use_or_was_just_asked_for_stays() -> None:
    busy = Candidate("busy", 0, free=False)
    assert choose([busy, *free(1, 2)], Policy(1, 0, 1), reported=10) == ("d1", "d2")
    assert choose([busy], Policy(1, 0, 0), reported=10) == ()


def test_nothing_goes_while_nothing_is_known() -> None:
    assert choose(free(1, 2, 3), Policy(1, 0, 0), reported=None) == ()
    assert choose(free(1, 2, 3), Policy(7, 0, 100), reported=5) == (), "silent since"


candidates = st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=12).map(
    lambda pairs: [Candidate(f"d{n}", float(at), yes) for n, (at, yes) in enumerate(pairs)]
)
policies = st.builds(Policy, st.integers(1, 50), st.integers(0, 12), st.integers(0, 12))


@given(candidates, policies, st.integers(0, 60))
def test_properties(found: list[Candidate], policy: Policy, reported: int) -> None:
    chosen = choose(found, policy, float(reported))
    by_name = {each.name: each for each in found}
    assert len(set(chosen)) == len(chosen)
    assert all(by_name[name].free for name in chosen)
    kept = [each for each in found if each.name not in chosen]
    if chosen:
        assert len(kept) >= policy.floor
    newest = max((by_name[name].used for name in chosen), default=-1.0)
    for each in kept:
        if each.free and each.used < newest:
            raise AssertionError("an older one that might go was kept")
    if len(kept) > max(policy.floor, policy.ceiling):
        assert not any(each.free for each in kept)
    if len(kept) > policy.floor:
        assert not any(each.free and reported - each.used >= policy.idle for each in kept)
