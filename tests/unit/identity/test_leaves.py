"""Who gets a leaf, who keeps one, who is due; and the same with the clock set by a day."""

from datetime import timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from controlplane.api.problem import Reason, Severity
from controlplane.identity import rotate
from controlplane.identity.ca import Authority, load_or_create
from controlplane.identity.leaves import Leaves
from controlplane.identity.slots import TAG_BITS, Keep, LeafVersion, Withheld, parse_version, tag
from tests.fakes.clock import ManualClock
from xds.ir.secret import LeafSecret

ID = "spiffe://example.org/ns/shop/sa/web"
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@pytest.fixture
def leaves(authority: Authority, clock: ManualClock) -> Leaves:
    return Leaves(authority, clock)


def given_to(leaves: Leaves, stream: str, reported: str = "") -> LeafSecret:
    leaf = leaves.leaf_for(stream, ID, reported)
    assert isinstance(leaf, LeafSecret)
    return leaf


def test_renewal_near_half_life(leaves: Leaves, clock: ManualClock) -> None:
    for stream in range(200):
        given_to(leaves, str(stream))
    start = clock.monotonic()
    assert leaves.due(start + 0.8 * 1800 - 1) == ()
    assert len(leaves.due(start + 1800)) == 200
    first, spread = leaves.next_due(), leaves.due(start + 0.9 * 1800)
    assert first is not None
    assert start + 0.8 * 1800 <= first < start + 0.85 * 1800
    assert 50 < len(spread) < 150


def test_a_stream_is_due_until_it_is_renewed(leaves: Leaves, clock: ManualClock) -> None:
    old = given_to(leaves, "a")
    clock.pass_time(30 * MINUTE)
    assert leaves.due(clock.monotonic()) == leaves.due(clock.monotonic()) == ("a",)
    new = leaves.renew("a")
    assert isinstance(new, LeafSecret)
    assert new.version != old.version
    assert leaves.due(clock.monotonic()) == ()
    assert leaves.issued == 2


def test_the_longest_overdue_comes_first(leaves: Leaves, clock: ManualClock) -> None:
    given_to(leaves, "early")
    clock.pass_time(20 * MINUTE)
    given_to(leaves, "late")
    clock.pass_time(HOUR)
    assert leaves.due(clock.monotonic()) == ("early", "late")


def test_a_stream_that_ended_is_not_due(leaves: Leaves, clock: ManualClock) -> None:
    given_to(leaves, "a")
    leaves.forget("a")
    assert leaves.next_due() is None
    assert leaves.due(clock.monotonic() + 10_000) == ()
    assert leaves.slot("a") is None
    with pytest.raises(KeyError):
        leaves.renew("a")


def test_rotation_by_hand(leaves: Leaves, clock: ManualClock) -> None:
    given_to(leaves, "a")
    given_to(leaves, "b")
    assert leaves.rotate("a") == ("a",)
    assert leaves.due(clock.monotonic()) == ("a",)
    assert leaves.rotate("stranger") == ()
    assert set(leaves.rotate()) == {"a", "b"}
    assert set(leaves.due(clock.monotonic())) == {"a", "b"}
    leaves.renew("a")
    assert leaves.due(clock.monotonic()) == ("b",)


def test_a_reported_leaf_is_kept_by_any_replica(
    leaves: Leaves, authority: Authority, clock: ManualClock
) -> None:
    version = given_to(leaves, "a").version
    clock.pass_time(10 * MINUTE)
    other = Leaves(authority, ManualClock(clock.now()))
    kept = other.leaf_for("again", ID, version)
    assert isinstance(kept, Keep)
    assert kept.version == version
    assert other.issued == 0
    # Scheduled as the first replica would have: the moments differ by the clocks' own origins.
    due = leaves.next_due()
    assert due is not None
    assert kept.renew_at - 1000.0 == pytest.approx(due - clock.monotonic(), abs=1.0)


@pytest.mark.parametrize("after", [30 * MINUTE, HOUR, DAY])
def test_past_half_life_it_is_replaced(
    leaves: Leaves, clock: ManualClock, after: timedelta
) -> None:
    version = given_to(leaves, "a").version
    clock.pass_time(after)
    assert given_to(leaves, "b", version).version != version


def test_another_issuers_leaf_is_replaced(
    leaves: Leaves, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = load_or_create(tmp_path_factory.mktemp("other") / "ca", clock.now())
    version = given_to(Leaves(other, clock), "a").version
    assert given_to(leaves, "a", version).version != version


@pytest.mark.parametrize(
    "other",
    [
        "spiffe://example.org/ns/shop/sa/other",
        "spiffe://example.net/ns/shop/sa/web",
    ],
)
def test_another_identitys_leaf_is_replaced(leaves: Leaves, other: str) -> None:
    """The pod's account, or the trust domain, changed while the sidecar was away, or is there."""
    version = given_to(leaves, "a").version
    for stream in ("a", "b"):
        answer = leaves.leaf_for(stream, other, version)
        assert isinstance(answer, LeafSecret)
        assert answer.version != version
        again = leaves.leaf_for(stream, other, answer.version)
        assert isinstance(again, Keep)


@given(
    serial=st.integers(0, 2**128 - 1).map(lambda random: random << TAG_BITS | tag(ID)),
    not_before=st.integers(0, 10**11 - 1),
    not_after=st.integers(0, 10**11 - 1),
    now=st.integers(0, 4 * 10**9),
)
def test_a_false_version_is_renewed_in_time(
    serial: int, not_before: int, not_after: int, now: int
) -> None:
    version = parse_version(f"leaf|{'0' * 16}|{serial:x}|{not_before}|{not_after}")
    moment = parse_version(f"leaf|{'0' * 16}|0|{now}|{now}")
    assert isinstance(version, LeafVersion)
    assert isinstance(moment, LeafVersion)
    due = rotate.renew_at(version, moment.not_before, 5.0, HOUR)
    assert 5.0 <= due <= 5.0 + 1800
    kept = rotate.may_keep(version, ID, {"0" * 16}, moment.not_before)
    assert not kept or rotate.is_valid(version, moment.not_before)


def test_shorter_lifetime_takes_effect_on_kept_leaves(
    leaves: Leaves, authority: Authority, clock: ManualClock
) -> None:
    version = given_to(leaves, "a").version
    short = Leaves(authority, clock, 2 * MINUTE)
    kept = short.leaf_for("a", ID, version)
    assert isinstance(kept, Keep)
    assert kept.renew_at <= clock.monotonic() + 60
    short.lifetime = timedelta(0)
    assert short.lifetime == timedelta(seconds=10)


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_setting_the_clock_makes_no_leaf_due(
    leaves: Leaves, clock: ManualClock, jump: timedelta
) -> None:
    given_to(leaves, "a")
    before = leaves.next_due()
    clock.pass_time(5 * MINUTE)
    clock.set_by(jump)
    assert leaves.due(clock.monotonic()) == ()
    assert leaves.next_due() == before
    clock.pass_time(25 * MINUTE)
    assert leaves.due(clock.monotonic()) == ("a",)
    fresh = leaves.renew("a")
    assert isinstance(fresh, LeafSecret)
    certificate = x509.load_pem_x509_certificate(fresh.chain)
    assert certificate.not_valid_before_utc <= clock.now() < certificate.not_valid_after_utc
    assert leaves.problems() == ()


def test_set_back_by_a_day_every_leaf_is_still_valid(leaves: Leaves, clock: ManualClock) -> None:
    version = given_to(leaves, "a").version
    clock.set_by(-DAY)
    assert leaves.invalid() == ()
    [problem] = leaves.problems()
    assert problem.reason is Reason.CLOCK
    assert problem.severity is Severity.WARNING
    assert "-24h00m" in problem.message
    assert isinstance(leaves.leaf_for("a", ID, version), Keep)
    due = leaves.next_due()
    assert due is not None
    assert due <= clock.monotonic() + 1800


def test_set_forward_by_a_day_a_problem_counts_what_ran_out(
    leaves: Leaves, clock: ManualClock
) -> None:
    version = given_to(leaves, "a").version
    clock.set_by(DAY)
    assert leaves.invalid() == ("a",)
    [problem] = leaves.problems()
    assert problem.reason is Reason.CLOCK
    assert problem.severity is Severity.ERROR
    assert "1 of 1 certificates in use are invalid" in problem.message
    assert "+24h00m" in problem.message
    assert "meshctl certs rotate --all" in problem.remedy
    # The one that ran out is not kept, nor sent again; a fresh one is valid now.
    assert given_to(leaves, "a", version).version != version
    assert leaves.problems() == ()


def test_what_is_invalid_now_is_not_sent(
    leaves: Leaves, authority: Authority, clock: ManualClock
) -> None:
    version = given_to(leaves, "live").version
    clock.set_by(timedelta(days=-40))  # before the authority itself
    answer = leaves.leaf_for("new", ID, "")
    assert isinstance(answer, Withheld)
    assert answer.problem.reason is Reason.CLOCK
    assert str(answer.problem.object) == "ServiceAccount shop/web"
    assert answer.problem in leaves.problems()
    # The stream that lives is left alone, and what was withheld is tried again by itself.
    assert leaves.slot("live") is not None
    assert str(leaves.slot("live").version) == version  # type: ignore[union-attr]
    assert leaves.next_due() == clock.monotonic() + rotate.RETRY
    assert isinstance(leaves.renew("new"), Withheld)
    clock.set_by(timedelta(days=40))
    clock.pass_time(timedelta(seconds=rotate.RETRY))
    assert leaves.due(clock.monotonic()) == ("new",)
    assert isinstance(leaves.renew("new"), LeafSecret)
    assert leaves.problems() == ()
    assert leaves.issued == 2


def test_an_authority_that_ran_out(
    leaves: Leaves, authority: Authority, clock: ManualClock
) -> None:
    clock.pass_time(authority.not_after - clock.now())
    answer = leaves.leaf_for("a", ID)
    assert isinstance(answer, Withheld)
    assert "the authority is valid from" in answer.problem.message


def test_issuance_rate(leaves: Leaves, clock: ManualClock) -> None:
    for stream in range(10):
        given_to(leaves, str(stream))
        clock.pass_time(timedelta(seconds=4))
    assert leaves.rate.per_minute(clock.monotonic()) == 10
    clock.pass_time(timedelta(seconds=40))
    assert leaves.rate.per_minute(clock.monotonic()) == 4
    clock.pass_time(HOUR)
    assert leaves.rate.per_minute(clock.monotonic()) == 0
