"""SPIFFE ids of workloads: ``spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>``.

Source: https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md, sections 2.1 to 2.3
(characters, lengths, no empty or relative path segment). The text itself is made by `xds.names`.
"""

import re
from typing import NamedTuple

from xds import names

MAX_ID = 2048
"""Longest id in bytes, SPIFFE-ID 2.3."""

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,253}")


class SpiffeId(NamedTuple):
    """A workload's identity, taken apart."""

    trust_domain: str
    namespace: str
    account: str

    def __str__(self) -> str:
        return names.spiffe_id(self.trust_domain, self.namespace, self.account)


def trust_domain_is_valid(text: str) -> bool:
    """Whether ``text`` may stand as the authority of an id (SPIFFE-ID 2.1)."""
    return _TRUST_DOMAIN.fullmatch(text) is not None


def _segment_is_valid(text: str) -> bool:
    return _SEGMENT.fullmatch(text) is not None and text not in (".", "..")


def parse(text: str) -> SpiffeId | None:
    """Take a workload's id apart; ``None`` for anything else, other SPIFFE paths included."""
    # A character beyond ASCII belongs to no id; one from JSON may not even have an encoding.
    if not text.isascii() or len(text) > MAX_ID or not text.startswith("spiffe://"):
        return None
    parts = text.removeprefix("spiffe://").split("/")
    if len(parts) != 5 or parts[1] != "ns" or parts[3] != "sa":
        return None
    trust_domain, namespace, account = parts[0], parts[2], parts[4]
    if not trust_domain_is_valid(trust_domain):
        return None
    if not (_segment_is_valid(namespace) and _segment_is_valid(account)):
        return None
    return SpiffeId(trust_domain, namespace, account)
