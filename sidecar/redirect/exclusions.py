"""What a user takes out of redirection: pod annotations → `RedirectPlan`, or what is wrong. Pure.

    mesh.plait.dev/exclude-outbound-ports: "3306,6379"
    mesh.plait.dev/exclude-outbound-ranges: "192.168.7.0/24,fd00:7::/64"
    mesh.plait.dev/exclude-inbound-ports: "9100"
    mesh.plait.dev/exclude-uids: "1001"

Fail closed: one part that cannot be read refuses the whole plan, so that nothing leaves a pod on a
way that its user did not mean.
"""

import difflib
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from sidecar.redirect.plan import PROXY_UID, Ipv6, Network, RedirectPlan

T = TypeVar("T")

PREFIX: Final = "mesh.plait.dev/exclude-"
OUTBOUND_PORTS: Final = f"{PREFIX}outbound-ports"
OUTBOUND_RANGES: Final = f"{PREFIX}outbound-ranges"
INBOUND_PORTS: Final = f"{PREFIX}inbound-ports"
UIDS: Final = f"{PREFIX}uids"
ANNOTATIONS: Final = (OUTBOUND_PORTS, OUTBOUND_RANGES, INBOUND_PORTS, UIDS)

OWN_PORTS: Final = {
    15001: "outbound connections",
    15002: "first contact with HTTP destinations",
    15003: "first contact with ports of no declared protocol",
    15006: "inbound connections",
    15021: "readiness, which must come through the redirection to prove it",
}
"""Ports of the sidecar and what they serve."""
MOST: Final = 64
"""Parts of one annotation."""
MAX_UID: Final = 2**32 - 2
"""2^32 - 1 means no user."""


class Fault(NamedTuple):
    """`annotation` is the name as the user wrote it."""

    annotation: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.annotation}: {self.message}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class Refused:
    """The annotations say nothing that can be applied; never empty."""

    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults))


class _Bad(NamedTuple):
    message: str
    remedy: str


def plan_of(annotations: Mapping[str, str], addresses: Iterable[str]) -> RedirectPlan | Refused:
    """The plan of a pod with these annotations and addresses (text, either family).

    Without an IPv6 address among them its IPv6 TCP is rejected.
    """
    faults = _unknown(annotations)

    def parts(name: str, read: Callable[[str], T | _Bad]) -> tuple[T, ...]:
        texts = [part.strip() for part in annotations.get(name, "").split(",")]
        given = [text for text in texts if text]
        if len(given) > MOST:
            faults.append(Fault(name, f"{len(given)} parts", f"Name {MOST} at most"))
            return ()
        values: list[T] = []
        for text in given:
            value = read(text)
            if isinstance(value, _Bad):
                faults.append(Fault(name, value.message, value.remedy))
            else:
                values.append(value)
        return tuple(values)

    plan = RedirectPlan(
        ipv6=ipv6_of(addresses),
        exclude_inbound_ports=parts(INBOUND_PORTS, _inbound_port),
        exclude_outbound_ports=parts(OUTBOUND_PORTS, _port),
        exclude_outbound_ranges=parts(OUTBOUND_RANGES, _range),
        exclude_uids=parts(UIDS, _uid),
    )
    return Refused(tuple(faults)) if faults else plan


def ipv6_of(addresses: Iterable[str]) -> Ipv6:
    """Whether a pod with these addresses has an IPv6 one that others may use."""
    found = map(ipaddress.ip_address, addresses)
    six = any(each.version == 6 and not each.is_link_local for each in found)
    return Ipv6.CAPTURE if six else Ipv6.REJECT


def _unknown(annotations: Mapping[str, str]) -> list[Fault]:
    found = []
    for name in sorted(annotations):
        if name.startswith(PREFIX) and name not in ANNOTATIONS:
            near = difflib.get_close_matches(name, ANNOTATIONS, 1)
            remedy = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(ANNOTATIONS)}"
            found.append(Fault(name, "no such exclusion", remedy))
    return found


def _number(text: str, low: int, high: int) -> int | None:
    # isdecimal alone takes digits of every script
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(high))):
        return None
    return int(text) if low <= int(text) <= high else None


def _port(text: str) -> int | _Bad:
    port = _number(text, 1, 65535)
    if port is None:
        return _Bad(f"{text!r} is no port", "Write numbers from 1 to 65535 with commas: 3306,6379")
    return port


def _inbound_port(text: str) -> int | _Bad:
    port = _port(text)
    if isinstance(port, int) and port in OWN_PORTS:
        return _Bad(
            f"port {port} is the sidecar's own, for {OWN_PORTS[port]}",
            "Leave it out: excluded ports are those of the application",
        )
    return port


def _uid(text: str) -> int | _Bad:
    uid = _number(text, 0, MAX_UID)
    if uid is None:
        return _Bad(f"{text!r} is no user id", f"Write numbers from 0 to {MAX_UID}, no names: 1001")
    if uid == PROXY_UID:
        return _Bad(f"{uid} is the sidecar's own user", "Leave it out: it is never redirected")
    return uid


def _range(text: str) -> Network | _Bad:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return _bad_range(text)
    if network.prefixlen == 0:
        return _Bad(
            f"{text} is every address", "To have no redirection at all, leave the pod unmeshed"
        )
    if isinstance(network, ipaddress.IPv6Network) and network[0].ipv4_mapped is not None:
        return _Bad(f"{text} holds IPv4 addresses in IPv6 form", "Write the IPv4 range")
    return network


def _bad_range(text: str) -> _Bad:
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return _Bad(
            f"{text!r} is no range of addresses", "Write CIDRs with commas, such as 192.168.7.0/24"
        )
    return _Bad(f"{text} has address bits after its prefix", f"Write {meant}")
