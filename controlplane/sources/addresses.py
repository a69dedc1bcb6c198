"""Addresses for Services that have none, as a cluster's API server would give them.

An address is the hash of namespace and name, the next free one when that is taken; what was given
is kept in the state directory, so it never moves while the range stays. Replicas that see the same
Services give the same addresses.
"""

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from controlplane.world.rows import Key, Service

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_RANGE = ipaddress.ip_network("240.0.0.0/16")


def parse_range(text: str) -> Network | None:
    """A range with room for at least one address, or None."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return network if network.num_addresses >= 4 else None


def needs_address(service: Service) -> bool:
    """Whether the API server would have given it a clusterIP."""
    return service.type != "ExternalName" and not service.cluster_ips


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses by ``namespace/name``, of one range. Those of vanished Services stay, so that a
    Service that comes back is found where it was, until they fill half of the range."""

    network: Network = DEFAULT_RANGE
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, key: Key) -> str | None:
        """The address of a Service, if it has got one from here."""
        return self.given.get(_name(key))

    def assign(self, services: Iterable[Service], network: Network) -> "Addresses":
        """Addresses of ``network`` for those of ``services`` that need one, all else kept.

        A full range leaves the last Services, by name, without. The result is ``self`` when nothing
        changes.
        """
        wanted: set[str] = set()
        taken: set[str] = set()
        for service in services:
            if needs_address(service):
                wanted.add(_name(service.key))
            else:
                taken.update(service.cluster_ips)
        kept = {
            name: address
            for name, address in self.given.items()
            if address not in taken
            and (network == self.network or ipaddress.ip_address(address) in network)
        }
        if len(kept) > network.num_addresses // 2:
            kept = {name: address for name, address in kept.items() if name in wanted}
        taken.update(kept.values())
        fresh = dict(kept)
        for name in sorted(wanted - kept.keys()):
            address = _probe(name, network, taken)
            if address is None:
                break
            fresh[name] = address
            taken.add(address)
        same = network == self.network and fresh == self.given
        return self if same else Addresses(network, fresh)

    def dump(self) -> bytes:
        """JSON for the state directory."""
        body = {"version": 1, "range": str(self.network), "addresses": dict(self.given)}
        return json.dumps(body, indent=1, sort_keys=True).encode() + b"\n"


def restore(data: bytes) -> Addresses:
    """Read what `Addresses.dump` wrote. Raises ValueError saying what is wrong with it."""
    body = json.loads(data)
    if not isinstance(body, dict) or body.get("version") != 1:
        raise ValueError("not version 1 of the address file")
    given = body.get("addresses")
    network = parse_range(str(body.get("range")))
    if network is None or not isinstance(given, dict):
        raise ValueError("range or addresses are missing")
    for address in given.values():
        ipaddress.ip_address(address)
    return Addresses(network, {str(name): str(address) for name, address in given.items()})


def _name(key: Key) -> str:
    return f"{key.namespace}/{key.name}"


def _probe(name: str, network: Network, taken: set[str]) -> str | None:
    """The first free address from the name's hash on; never the range's first or last one."""
    usable = network.num_addresses - 2
    digest = hashlib.blake2b(name.encode(), digest_size=16).digest()
    start = int.from_bytes(digest, "big") % usable
    for step in range(min(usable, len(taken) + 1)):
        address = str(network[1 + (start + step) % usable])
        if address not in taken:
            return address
    return None
