"""The unit that travels: an encoded, versioned resource, shared by every stream that needs it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """``entry`` is the complete ``resources`` field of a DeltaDiscoveryResponse (field 2: tag,
    length, envoy.service.discovery.v3.Resource), ready to be joined with others."""

    type_url: str
    name: str
    version: str
    entry: bytes

    def __repr__(self) -> str:
        # Entries may hold keys; a repr never shows bytes.
        return f"Resource({self.name}@{self.version}, {len(self.entry)} B)"
