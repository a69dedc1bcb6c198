"""What is redirected to the sidecar, as a value, and its nftables text. Pure.

Two tables of one name, ``plait`` in families ip and ip6, so that every rule comes in a pair. Of a
pod without an IPv6 address the sidecar cannot serve IPv6: its IPv6 TCP is rejected in both
directions, link-local addresses included, and never passes by the sidecar. UDP is not touched.

The text replaces whatever stands in these two tables in one transaction: applying it twice, or
over another plan, leaves no moment without rules. An empty chain is named after the plan's digest,
which tells `kernel` later which plan is in place.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

TABLE: Final = "plait"
FAMILIES: Final = ("ip", "ip6")
PROXY_UID: Final = 1337
INBOUND_PORT: Final = 15006
OUTBOUND_PORT: Final = 15001
INBOUND_SOURCE: Final = "127.0.0.6"
"""The address from which the sidecar hands IPv4 connections to the application."""
INBOUND_SOURCE6: Final = "::1"
"""The same for IPv6, which has no second loopback address."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Ipv6(StrEnum):
    """What happens to a pod's IPv6 TCP."""

    CAPTURE = "capture"
    """Redirected as IPv4 is. The pod has an IPv6 address, and the sidecar listens on it."""
    REJECT = "reject"
    """Answered with a reset: the pod has no IPv6 address."""


@dataclass(frozen=True, slots=True)
class RedirectPlan:
    """Ports are 1 to 65535. What is excluded is left alone in both families."""

    ipv6: Ipv6 = Ipv6.REJECT
    exclude_inbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_ranges: tuple[Network, ...] = ()
    exclude_uids: tuple[int, ...] = ()
    inbound_port: int = INBOUND_PORT
    outbound_port: int = OUTBOUND_PORT
    proxy_uid: int = PROXY_UID

    @property
    def digest(self) -> str:
        """Names the plan: twelve hexadecimal digits of its rules."""
        text = repr([(family, chains(self, family)) for family in FAMILIES])
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


class Rule(NamedTuple):
    text: str
    comment: str
    """Why; stays with the rule in the kernel, so that ``nft list`` explains itself."""


class Chain(NamedTuple):
    name: str
    kind: str
    """nftables chain type."""
    hook: str
    priority: int
    rules: tuple[Rule, ...]


class _Family(NamedTuple):
    """Where the two families differ."""

    address: str
    """nftables keyword of its header."""
    loopback: str
    handed: str
    """Matches what the sidecar hands to the application."""
    version: int


_FAMILY: Final = {
    "ip": _Family("ip", "127.0.0.0/8", f"ip saddr {INBOUND_SOURCE}", 4),
    "ip6": _Family("ip6", "::1", f"ip6 saddr {INBOUND_SOURCE6}", 6),
}
_NAT_PRIORITY: Final = -100
"""dstnat, by its number: older nft knows the name at prerouting alone."""


def chains(plan: RedirectPlan, family: str) -> tuple[Chain, ...]:
    """The chains of a family's table, in the order of their text."""
    if family == "ip6" and plan.ipv6 is Ipv6.REJECT:
        return (
            Chain("inbound", "filter", "input", 0, _reject_inbound(plan)),
            Chain("outbound", "filter", "output", 0, _reject_outbound(plan)),
        )
    return (
        Chain("inbound", "nat", "prerouting", _NAT_PRIORITY, _inbound(plan)),
        Chain("outbound", "nat", "output", _NAT_PRIORITY, _outbound(plan, _FAMILY[family])),
    )


def marker(plan: RedirectPlan) -> str:
    """Name of the empty chain that says which plan stands in a table."""
    return f"plan_{plan.digest}"


def nft(plan: RedirectPlan) -> str:
    """The plan as input of ``nft -f -``."""
    lines: list[str] = []
    for family in FAMILIES:
        lines += [*_emptied(family), f"table {family} {TABLE} {{"]
        lines += [f"\tchain {marker(plan)} {{", "\t}"]
        for chain in chains(plan, family):
            lines += _chain(chain)
        lines.append("}")
    return "\n".join(lines) + "\n"


def nft_removal() -> str:
    """Input of ``nft -f -`` that removes every plan; fine where there is none."""
    return "\n".join(line for family in FAMILIES for line in _emptied(family)) + "\n"


def _emptied(family: str) -> list[str]:
    # Deleting a table that is not there is an error; declaring one that is there is none.
    return [f"table {family} {TABLE}", f"delete table {family} {TABLE}"]


def _chain(chain: Chain) -> Iterator[str]:
    yield f"\tchain {chain.name} {{"
    yield f"\t\ttype {chain.kind} hook {chain.hook} priority {chain.priority}; policy accept;"
    for rule in chain.rules:
        yield f'\t\t{rule.text} comment "{rule.comment}"'
    yield "\t}"


def _inbound(plan: RedirectPlan) -> tuple[Rule, ...]:
    return (
        *_ports(plan.exclude_inbound_ports, "inbound"),
        Rule(f"meta l4proto tcp redirect to :{plan.inbound_port}", "all TCP that comes in"),
    )


def _outbound(plan: RedirectPlan, family: _Family) -> tuple[Rule, ...]:
    proxy = f"meta skuid {plan.proxy_uid}"
    own = f'{proxy} oifname "lo" {family.address} daddr != {family.loopback}'
    return (
        Rule(f"{proxy} {family.handed} return", "from the sidecar to its application"),
        Rule(
            f"{own} meta l4proto tcp redirect to :{plan.inbound_port}",
            "the pod calls a Service of its own",
        ),
        Rule(f"{proxy} return", "from the sidecar"),
        Rule('oifname "lo" return', "the pod talks to itself"),
        *_excluded(plan, family),
        Rule(f"meta l4proto tcp redirect to :{plan.outbound_port}", "all TCP that goes out"),
    )


def _excluded(plan: RedirectPlan, family: _Family) -> Iterator[Rule]:
    if plan.exclude_uids:
        yield Rule(f"meta skuid {_set(sorted(set(plan.exclude_uids)))} return", "excluded uids")
    ranges = collapsed(plan.exclude_outbound_ranges, family.version)
    if ranges:
        yield Rule(f"{family.address} daddr {_set(ranges)} return", "excluded outbound ranges")
    yield from _ports(plan.exclude_outbound_ports, "outbound")


def _ports(ports: tuple[int, ...], direction: str) -> Iterator[Rule]:
    if ports:
        text = f"tcp dport {_set(sorted(set(ports)))} return"
        yield Rule(text, f"excluded {direction} ports")


def _reject_inbound(plan: RedirectPlan) -> tuple[Rule, ...]:
    return (
        _ESTABLISHED,
        Rule('iifname "lo" return', "the pod talks to itself"),
        *_ports(plan.exclude_inbound_ports, "inbound"),
        _REJECT,
    )


def _reject_outbound(plan: RedirectPlan) -> tuple[Rule, ...]:
    return (
        _ESTABLISHED,
        Rule('oifname "lo" return', "the pod talks to itself"),
        *_excluded(plan, _FAMILY["ip6"]),
        _REJECT,
    )


_ESTABLISHED: Final = Rule(
    "ct state established,related return", "packets of what was let through, and the resets"
)
_REJECT: Final = Rule(
    "meta l4proto tcp reject with tcp reset", "the sidecar of this pod serves no IPv6"
)


def collapsed(ranges: Iterable[Network], version: int) -> list[Network]:
    """The ranges of one IP version, without overlaps, which nftables refuses in a set."""
    four = (each for each in ranges if isinstance(each, ipaddress.IPv4Network))
    six = (each for each in ranges if isinstance(each, ipaddress.IPv6Network))
    collapse = ipaddress.collapse_addresses
    return [*collapse(four)] if version == 4 else [*collapse(six)]


def _set(members: Iterable[object]) -> str:
    return "{ " + ", ".join(map(str, members)) + " }"
