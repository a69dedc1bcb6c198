"""Texts of manifests that should be addresses. An API server checks them, a file is what it is."""

from functools import lru_cache
from ipaddress import ip_address


@lru_cache(1 << 16)
def is_address(text: str, version: int = 0) -> bool:
    """Whether a text of a manifest is an address, of that IP version if one is given."""
    try:
        return version in (0, ip_address(text).version)
    except ValueError:
        return False
