"""Delta responses, made once and shared by every stream that needs the same ones.

A response without its nonce depends only on its type, its resources' names and versions and the
removed names, so a thousand streams that take the same step share one `Batch`.
"""

from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from xds import types
from xds.wire.resource import Resource
from xds.wire.response import join

BYTES_KEPT: Final = 16 << 20
BATCHES_KEPT: Final = 128
"""Many responses are one stream's alone; those that others need too are in flight meanwhile."""

_Key = tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]


def acknowledgement(data: bytes) -> tuple[bytes, str] | None:
    """Type URL and nonce of a plain ACK as protobuf writes it: ``type_url`` (2), then
    ``response_nonce`` (6), nothing else. ``None`` for every other request, which needs the
    scanner; most requests that ever arrive are plain ACKs."""
    size = len(data)
    if size < 4 or data[0] != 0x12:
        return None
    end = data[1] + 2
    if end + 2 > size or data[1] > 127 or data[end] != 0x32 or data[end + 1] != size - end - 2:
        return None
    nonce = data[end + 2 :]
    return (data[2:end], nonce.decode()) if nonce.isdigit() else None


class Batch:
    """The content of one response: what it sets, what it removes and its bytes, nonce excepted."""

    __slots__ = ("__weakref__", "body", "content", "items", "removed", "resources", "type_url")

    def __init__(
        self,
        type_url: str,
        resources: tuple[Resource, ...],
        removed: tuple[str, ...],
        items: tuple[tuple[str, str], ...],
    ) -> None:
        self.type_url = type_url
        self.resources = resources
        self.removed = removed
        self.items = items
        """(name, version) of each resource, in order."""
        self.content = sum([len(resource.entry) for resource in resources])
        """Bytes of the body that are resources."""
        self.body = join(type_url, (resource.entry for resource in resources), removed)

    def __repr__(self) -> str:
        kind = types.SHORT.get(self.type_url, self.type_url)
        return f"Batch({kind}, {len(self.items)} set, {len(self.removed)} removed)"


class ResponseCache:
    """The last batches, oldest dropped first, and all that are in flight. One per process; not
    thread safe.

    Secrets never enter: a leaf belongs to one stream, and its key should not outlive it.
    """

    def __init__(self, batches: int = BATCHES_KEPT, size: int = BYTES_KEPT) -> None:
        self._batches: OrderedDict[_Key, Batch] = OrderedDict()
        self._alive: WeakValueDictionary[_Key, Batch] = WeakValueDictionary()
        self._room = batches
        self._limit = size
        self._lone: Batch | None = None
        self.size = 0
        """Bytes of the bodies kept."""

    def __len__(self) -> int:
        return len(self._batches)

    def lone(self, resource: Resource) -> Batch:
        """The batch of one resource; cheapest when a whole fleet takes it in turn."""
        lone = self._lone
        if lone is None or lone.resources[0] is not resource:
            lone = self.batch(resource.type_url, (resource,))
            if resource.type_url != types.SECRET:
                self._lone = lone
        return lone

    def batch(
        self, type_url: str, resources: tuple[Resource, ...], removed: tuple[str, ...] = ()
    ) -> Batch:
        """The batch of these resources (all of ``type_url``), shared when made before."""
        items = tuple([(resource.name, resource.version) for resource in resources])
        if type_url == types.SECRET:
            return Batch(type_url, resources, removed, items)
        key = (type_url, items, removed)
        found = self._alive.get(key)
        if found is not None:
            return found
        made = self._alive[key] = Batch(type_url, resources, removed, items)
        if len(made.body) <= self._limit // 4:
            self._batches[key] = made
            self.size += len(made.body)
            while self.size > self._limit or len(self._batches) > self._room:
                _, dropped = self._batches.popitem(last=False)
                self.size -= len(dropped.body)
        return made
