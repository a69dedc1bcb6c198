"""The rules of a pod's redirection, against golden files, and what a user may take out of them.

After a meant change: ``python -m sidecar.redirect print ARGUMENTS > redirect/NAME.nft``.
"""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.redirect.__main__ import main
from sidecar.redirect.exclusions import (
    INBOUND_PORTS,
    MOST,
    OUTBOUND_PORTS,
    OUTBOUND_RANGES,
    OWN_PORTS,
    UIDS,
    Refused,
    plan_of,
)
from sidecar.redirect.plan import Ipv6, RedirectPlan, chains, collapsed, marker, nft, nft_removal

GOLDEN = Path(__file__).parent / "redirect"
CASES = {
    "ipv4-only": ["--address", "10.0.0.7"],
    "dual-stack": ["--address", "10.0.0.7", "--address", "fd00::7"],
    "excluded": [
        *("--address", "10.0.0.7"),
        *("--exclude-inbound-ports", "9100"),
        *("--exclude-outbound-ports", "6379, 3306,3306"),
        *("--exclude-outbound-ranges", "10.1.0.0/16,10.0.0.0/8,192.168.7.9,fd00:7::/64"),
        *("--exclude-uids", "1001,0"),
    ],
    "excluded-dual-stack": [
        *("--address", "fd00::7"),
        *("--exclude-outbound-ports", "25"),
        *("--exclude-outbound-ranges", "10.0.0.0/8"),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["print", *CASES[name]]) == 0
    assert capsys.readouterr().out == (GOLDEN / f"{name}.nft").read_text()


def test_every_rule_comes_in_a_pair() -> None:
    plan = RedirectPlan(Ipv6.CAPTURE, (9100,), (3306,), (), (7,))
    four, six = (
        [(c.name, c.hook, [r.comment for r in c.rules]) for c in chains(plan, family)]
        for family in ("ip", "ip6")
    )
    assert four == six


def test_the_sidecar_is_the_only_one_who_may_use_its_ways_around() -> None:
    """An application that binds the address from which a sidecar hands over is redirected still."""
    for family in ("ip", "ip6"):
        outbound = chains(RedirectPlan(Ipv6.CAPTURE), family)[1]
        around = [rule.text for rule in outbound.rules if " saddr " in rule.text]
        assert around
        assert all(text.startswith("meta skuid 1337 ") for text in around)


def test_removal_names_both_tables() -> None:
    assert [line for line in nft_removal().splitlines() if line.startswith("delete")] == [
        "delete table ip plait",
        "delete table ip6 plait",
    ]


def test_plans_have_names_of_their_own() -> None:
    plans = [
        RedirectPlan(),
        RedirectPlan(Ipv6.CAPTURE),
        RedirectPlan(exclude_uids=(7,)),
        RedirectPlan(exclude_inbound_ports=(7,)),
        RedirectPlan(exclude_outbound_ports=(7,)),
        RedirectPlan(proxy_uid=7),
        RedirectPlan(exclude_outbound_ranges=(ipaddress.ip_network("10.0.0.0/8"),)),
    ]
    assert len({marker(plan) for plan in plans}) == len(plans)
    assert marker(RedirectPlan(exclude_uids=(7, 8))) == marker(RedirectPlan(exclude_uids=(8, 7)))
    assert marker(RedirectPlan()) in nft(RedirectPlan())


def test_addresses_decide_about_ipv6() -> None:
    assert plan_of({}, ["10.0.0.7"]) == RedirectPlan()
    assert plan_of({}, ["10.0.0.7", "fe80::1"]) == RedirectPlan()
    assert plan_of({}, []) == RedirectPlan()
    assert plan_of({}, ["10.0.0.7", "fd00::7"]) == RedirectPlan(Ipv6.CAPTURE)


def test_annotations_are_read() -> None:
    annotations = {
        OUTBOUND_PORTS: "3306 , 6379,",
        OUTBOUND_RANGES: "192.168.7.0/24,fd00:7::/64",
        INBOUND_PORTS: "9100",
        UIDS: "0,1001",
        "mesh.plait.dev/capture": "redirect",
        "example.com/exclude-uids": "nonsense",
    }
    assert plan_of(annotations, ()) == RedirectPlan(
        exclude_inbound_ports=(9100,),
        exclude_outbound_ports=(3306, 6379),
        exclude_outbound_ranges=(
            ipaddress.ip_network("192.168.7.0/24"),
            ipaddress.ip_network("fd00:7::/64"),
        ),
        exclude_uids=(0, 1001),
    )


@pytest.mark.parametrize(
    ("annotation", "text", "message", "remedy"),
    [
        (OUTBOUND_PORTS, "http", "'http' is no port", "3306,6379"),
        (OUTBOUND_PORTS, "0", "'0' is no port", "1 to 65535"),
        (OUTBOUND_PORTS, "65536", "'65536' is no port", "1 to 65535"),
        (OUTBOUND_PORTS, "٣٣٠٦", "is no port", "1 to 65535"),
        (OUTBOUND_PORTS, "80 } accept", "is no port", "1 to 65535"),
        (INBOUND_PORTS, "15021", "the sidecar's own, for readiness", "Leave it out"),
        (OUTBOUND_RANGES, "10.0.0.1/8", "address bits after its prefix", "Write 10.0.0.0/8"),
        (OUTBOUND_RANGES, "0.0.0.0/0", "every address", "unmeshed"),
        (OUTBOUND_RANGES, "::/0", "every address", "unmeshed"),
        (OUTBOUND_RANGES, "db.shop", "no range of addresses", "192.168.7.0/24"),
        (OUTBOUND_RANGES, "::ffff:10.0.0.0/104", "IPv4 addresses in IPv6 form", "IPv4 range"),
        (UIDS, "nobody", "'nobody' is no user id", "no names"),
        (UIDS, "-1", "is no user id", "no names"),
        (UIDS, "4294967295", "is no user id", "4294967294"),
        (UIDS, "1337", "the sidecar's own user", "never redirected"),
        (
            "mesh.plait.dev/exclude-outbound-port",
            "1",
            "no such exclusion",
            f"mean {OUTBOUND_PORTS}",
        ),
        (OUTBOUND_PORTS, ",".join(map(str, range(1, MOST + 2))), "65 parts", "64 at most"),
    ],
)
def test_what_cannot_be_read_refuses_the_plan(
    annotation: str, text: str, message: str, remedy: str
) -> None:
    refused = plan_of({annotation: text, UIDS: "7"} | {annotation: text}, ())
    assert isinstance(refused, Refused)
    [fault] = refused.faults
    assert fault.annotation == annotation
    assert message in fault.message
    assert remedy in fault.remedy
    assert str(fault) in str(refused)


def test_every_fault_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["print", "--exclude-uids", "x,y", "--exclude-inbound-ports", "15006"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert main(["print", "--address", "here"]) == 2
    assert "'here' does not appear to be an IPv4 or IPv6 address" in capsys.readouterr().err


def test_no_port_of_the_sidecar_can_be_excluded_inbound() -> None:
    for port in OWN_PORTS:
        assert isinstance(plan_of({INBOUND_PORTS: str(port)}, ()), Refused)


@given(
    st.lists(st.text(max_size=30), max_size=4),
    st.sampled_from([OUTBOUND_PORTS, OUTBOUND_RANGES, INBOUND_PORTS, UIDS]),
)
def test_no_text_of_a_user_reaches_the_rules_as_it_is(texts: list[str], annotation: str) -> None:
    plan = plan_of({annotation: ",".join(texts)}, ())
    if isinstance(plan, RedirectPlan):
        added = set(nft(plan)) - set(nft(RedirectPlan()))
        assert added <= set("0123456789abcdefxp{}:., /")


@given(
    st.lists(
        st.ip_addresses(v=4).flatmap(
            lambda a: st.integers(1, 32).map(lambda n: ipaddress.ip_network((a, n), strict=False))
        ),
        max_size=6,
    )
)
def test_ranges_never_overlap(ranges: list[ipaddress.IPv4Network]) -> None:
    found = collapsed(ranges, 4)
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[i + 1 :])
    assert all(any(r.subnet_of(f) for f in found) for r in ranges)  # type: ignore[arg-type]
    assert collapsed(ranges, 6) == []
