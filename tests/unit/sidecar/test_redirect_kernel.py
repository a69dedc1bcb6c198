"""What is said when nft is missing, or the kernel refuses; and what stands in the kernel."""

import json
from pathlib import Path

import pytest

from sidecar.redirect import kernel
from sidecar.redirect.kernel import RedirectFailed, addresses, differences, explained, find_nft
from sidecar.redirect.plan import RedirectPlan, chains, marker


def program(path: Path, *lines: str) -> str:
    """A program in the place of nft."""
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


def test_no_nft(tmp_path: Path) -> None:
    with pytest.raises(RedirectFailed, match=r"nft was not found\. Install nftables"):
        find_nft(str(tmp_path))
    assert find_nft(str(Path(program(tmp_path / "nft")).parent)) == str(tmp_path / "nft")


@pytest.mark.parametrize(
    ("said", "reason", "remedy"),
    [
        (
            "Operation not permitted (you must be root)\nnetlink: Error: cache initialization"
            " failed: Operation not permitted",
            "does not let this process",
            "NET_ADMIN",
        ),
        (
            "/dev/stdin:5:8-13: Error: Could not process rule: No such file or directory\n"
            "\t\ttype nat hook prerouting priority -100; policy accept;",
            "cannot redirect",
            "nft_chain_nat",
        ),
        (
            "/dev/stdin:6:3-4: Error: Could not process rule: No such file or directory\n"
            '\t\tmeta l4proto tcp redirect to :15006 comment "all TCP that comes in"',
            "cannot redirect",
            "nft_redir",
        ),
        (
            "/dev/stdin:6:3-4: Error: Could not process rule: No such file or directory\n"
            "\t\tmeta l4proto tcp reject with tcp reset",
            "cannot reject IPv6",
            "nft_reject",
        ),
        (
            "netlink.c: Unable to initialize Netlink socket: Protocol not supported",
            "no nftables",
            "CONFIG_NF_TABLES",
        ),
        ("/dev/stdin:1:1: Error: syntax error", "refused the rules", "Report"),
    ],
)
def test_what_nft_says_is_explained(said: str, reason: str, remedy: str) -> None:
    failed = explained(said)
    assert reason in failed.reason
    assert remedy in failed.remedy


def test_a_program_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "nft").write_text("text")
    with pytest.raises(RedirectFailed, match="cannot be run: permission denied"):
        kernel.remove(str(tmp_path / "nft"))
    failing = program(tmp_path / "failing", "echo 'Error: syntax error' >&2; exit 1")
    with pytest.raises(RedirectFailed, match="syntax error"):
        kernel.apply(RedirectPlan(), failing)


def listing(plan: RedirectPlan) -> list[dict[str, dict[str, object]]]:
    """What ``nft -j list ruleset`` says of a plan."""
    found: list[dict[str, dict[str, object]]] = [{"metainfo": {"json_schema_version": 1}}]
    for family in ("ip", "ip6"):
        where = {"family": family, "table": "plait"}
        found.append({"chain": {**where, "name": marker(plan)}})
        for chain in chains(plan, family):
            base = {"type": chain.kind, "hook": chain.hook, "prio": chain.priority}
            found.append({"chain": {**where, **base, "name": chain.name, "policy": "accept"}})
            found += [
                {"rule": {**where, "chain": chain.name, "comment": rule.comment}}
                for rule in chain.rules
            ]
    return found


def printing(path: Path, listed: list[dict[str, dict[str, object]]]) -> str:
    """An nft that lists this."""
    (path / "listed.json").write_text(json.dumps({"nftables": listed}))
    return program(path / "nft", f"cat {path}/listed.json")


def test_what_is_in_place_differs_in_nothing(tmp_path: Path) -> None:
    plan = RedirectPlan(exclude_uids=(7,))
    assert differences(plan, printing(tmp_path, listing(plan))) == []
    kernel.apply(plan, printing(tmp_path, listing(plan)))


def test_every_difference_is_found(tmp_path: Path) -> None:
    plan = RedirectPlan()

    def wrong(listed: list[dict[str, dict[str, object]]]) -> str:
        return " ".join(differences(plan, printing(tmp_path, listed)))

    assert wrong([]) == "there is no table ip plait there is no table ip6 plait"
    assert "holds another plan" in wrong(listing(RedirectPlan(exclude_uids=(7,))))
    for number, each in enumerate(listing(plan)):
        if "rule" in each or "type" in each.get("chain", {}):
            left = listing(plan)
            del left[number]
            assert wrong(left), each
    changed = listing(plan)
    changed[2]["chain"]["policy"] = "drop"
    assert "drop" in wrong(changed)
    with pytest.raises(RedirectFailed, match="were taken, but are not there"):
        kernel.apply(plan, printing(tmp_path, changed))


def test_addresses_that_others_may_use(tmp_path: Path) -> None:
    assert addresses(tmp_path) == []
    (tmp_path / "if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe80000000000000045e7ffffe5c0001 02 40 20 80     eth0\n"
        "fd000000000000000000000000000007 02 40 00 80     eth0\n"
    )
    assert addresses(tmp_path) == ["fd00:0000:0000:0000:0000:0000:0000:0007"]
