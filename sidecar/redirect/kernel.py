"""Apply, remove and verify a plan in the network namespace of this process, by the program ``nft``.

Needs CAP_NET_ADMIN in that namespace. Everything goes through one ``nft -f -``, which is one
transaction: it takes effect as a whole or not at all.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.redirect.plan import FAMILIES, TABLE, RedirectPlan, chains, marker, nft, nft_removal

TIMEOUT: Final = 20.0
"""Seconds for one call; another transaction may have to end first."""
NFT: Final = "nft"
_PLACES: Final = "/usr/sbin:/sbin:/usr/local/sbin"
"""Where nft is when PATH is a plain user's."""


@dataclass(eq=False)
class RedirectFailed(Exception):
    """The kernel, or the lack of a program, prevents it."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}. {self.remedy}"


def find_nft(search_path: str | None = None) -> str:
    """The program, on `search_path` (default: ``PATH`` and the usual places). Raises
    `RedirectFailed`."""
    found = shutil.which(NFT, path=search_path)
    if found is None and search_path is None:
        found = shutil.which(NFT, path=_PLACES)
    if found is None:
        raise RedirectFailed(
            "the program nft was not found",
            "Install nftables (Debian, Ubuntu, Fedora, Alpine: package nftables)",
        )
    return found


def apply(plan: RedirectPlan, program: str | None = None) -> None:
    """Put the plan in place of any other, and verify it. Raises `RedirectFailed`."""
    program = program or find_nft()
    _run(program, nft(plan))
    wrong = differences(plan, program)
    if wrong:
        raise RedirectFailed(
            f"the rules were taken, but are not there: {wrong[0]}",
            "Look for another program that changes nftables: nft monitor",
        )


def remove(program: str | None = None) -> None:
    """Remove every plan; fine where there is none. Raises `RedirectFailed`."""
    _run(program or find_nft(), nft_removal())


def differences(plan: RedirectPlan, program: str | None = None) -> list[str]:
    """How what stands in the kernel differs from the plan, in words; empty: it is in place.

    Raises `RedirectFailed` when it cannot be read.
    """
    program = program or find_nft()
    listed = json.loads(_run(program, "", "-j", "list", "ruleset"))["nftables"]
    return [wrong for family in FAMILIES for wrong in _compare(plan, family, listed)]


def _compare(plan: RedirectPlan, family: str, listed: list[dict[str, Any]]) -> list[str]:
    where = f"table {family} {TABLE}"
    found = [
        (kind, each)
        for item in listed
        for kind, each in item.items()
        if kind in ("chain", "rule") and (each["family"], each["table"]) == (family, TABLE)
    ]
    there = {each["name"]: each for kind, each in found if kind == "chain"}
    if not there:
        return [f"there is no {where}"]
    if marker(plan) not in there:
        return [f"{where} holds another plan"]
    wrong = []
    for chain in chains(plan, family):
        held = there.get(chain.name, {})
        base = (held.get("type"), held.get("hook"), held.get("prio"), held.get("policy"))
        if base != (chain.kind, chain.hook, chain.priority, "accept"):
            wrong.append(f"{where}: chain {chain.name} is {base}")
        rules = [
            each.get("comment")
            for kind, each in found
            if kind == "rule" and each["chain"] == chain.name
        ]
        if rules != [rule.comment for rule in chain.rules]:
            wrong.append(f"{where}: chain {chain.name} holds {rules}")
    return wrong


def addresses(root: Path = Path("/proc/net")) -> list[str]:
    """IPv6 addresses of this network namespace that others may use; empty without IPv6."""
    try:
        lines = (root / "if_inet6").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        digits, _, _, scope, _, _ = line.split()
        if scope == "00":  # global; 10 is the host's, 20 the link's
            found.append(":".join(digits[i : i + 4] for i in range(0, 32, 4)))
    return found


def _run(program: str, text: str, *arguments: str) -> str:
    command = [program, *(arguments or ("-f", "-"))]
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except OSError as error:
        raise RedirectFailed(
            f"{program} cannot be run: {(error.strerror or str(error)).lower()}",
            "Reinstall the package nftables",
        ) from error
    except subprocess.TimeoutExpired:
        raise RedirectFailed(
            f"{program} did not end within {TIMEOUT:.0f} s",
            "Look whether the machine is overloaded, then try again",
        ) from None
    if done.returncode == 0:
        return done.stdout
    raise explained(done.stderr.strip() or f"exit status {done.returncode}")


def explained(said: str) -> RedirectFailed:
    """What an nft that failed means, by what it said."""
    if "Operation not permitted" in said:
        return RedirectFailed(
            "the kernel does not let this process change packet filtering",
            "Run it as root, in a container with the capability NET_ADMIN",
        )
    first = said.splitlines()[0]
    if "cache initialization failed" in said or "Protocol not supported" in said:
        return RedirectFailed(
            f"this kernel has no nftables: {first}",
            "Use a kernel with CONFIG_NF_TABLES (module nf_tables), Linux 4.18 or later",
        )
    if "type nat" in said or "redirect to" in said:
        return RedirectFailed(
            f"this kernel cannot redirect: {first}",
            "Load the modules nft_chain_nat and nft_redir on the node"
            " (CONFIG_NFT_NAT, CONFIG_NFT_REDIR)",
        )
    if "reject with" in said:
        return RedirectFailed(
            f"this kernel cannot reject IPv6 connections: {first}",
            "Load the modules nft_reject and nf_reject_ipv6 on the node",
        )
    return RedirectFailed(f"nft refused the rules: {first}", "Report this with the whole output")
