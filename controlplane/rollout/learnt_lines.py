"""The lines of a learnt set's file. Pure.

{"service": "shop/reviews", "port": 80, "seen": 1790000000}
{"done": "a|reviews.shop|202611241200", "pod": "web", "seen": 1790000000}
{"evicted": "reviews.shop:80", "pod": "web", "seen": 1790000000}
{"asked": "reviews.shop:80", "pod": "web", "seen": 1790000000}
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from xds.names import parse_asked

BUCKETS = 2
"""Buckets, the newest by text, whose finished names are kept per pod: a reconnecting sidecar is
answered only in the two newest ones that it names."""


class Owner(NamedTuple):
    """A workload: (namespace, owner's name)."""

    namespace: str
    name: str


class Reference(NamedTuple):
    """A destination: (namespace, Service, port)."""

    namespace: str
    service: str
    port: int


class Done(NamedTuple):
    """A name that a pod's sidecar asked for and no longer needs."""

    pod: str
    name: str


class Evicted(NamedTuple):
    """A destination that a pod's sidecar was relieved of: ``svc.ns:port``, or an authority that no
    Service has. In force until it is asked for again."""

    pod: str
    destination: str


class Asked(NamedTuple):
    """A pod's sidecar asks for a destination again; undoes `Evicted`."""

    pod: str
    destination: str


Entry = Reference | Done | Evicted | Asked


def line(entry: Entry, seen: float) -> bytes:
    """One line, its end included. ``seen``: Unix time in seconds."""
    record: dict[str, object]
    if isinstance(entry, Reference):
        record = {"service": f"{entry.namespace}/{entry.service}", "port": entry.port}
    elif isinstance(entry, Done):
        record = {"done": entry.name, "pod": entry.pod}
    else:
        key = "evicted" if isinstance(entry, Evicted) else "asked"
        record = {key: entry.destination, "pod": entry.pod}
    record["seen"] = round(seen)
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def lines(
    seen: Mapping[Reference, float], done: Mapping[Done, float], evicted: Mapping[Evicted, float]
) -> Iterator[bytes]:
    """All lines of a file, in a fixed order."""
    for reference in sorted(seen):
        yield line(reference, seen[reference])
    for each in sorted(done):
        yield line(each, done[each])
    for mark in sorted(evicted):
        yield line(mark, evicted[mark])


def parse(text: str) -> Iterator[tuple[Entry, float]]:
    """Entries and when they were seen; lines that are none are left out."""
    for each in text.splitlines():
        try:
            record = json.loads(each)
            at = float(record["seen"])
            if "done" in record:
                yield Done(str(record["pod"]), str(record["done"])), at
            elif "evicted" in record:
                yield Evicted(str(record["pod"]), str(record["evicted"])), at
            elif "asked" in record:
                yield Asked(str(record["pod"]), str(record["asked"])), at
            else:
                namespace, _, service = record["service"].partition("/")
                yield Reference(namespace, service, int(record["port"])), at
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def newest(done: Iterable[Done]) -> frozenset[Done]:
    """Those in the `BUCKETS` newest buckets of their pod."""
    by_pod: dict[str, dict[str, list[Done]]] = {}
    for each in done:
        asked = parse_asked(each.name)
        if asked is not None:
            by_pod.setdefault(each.pod, {}).setdefault(asked.bucket, []).append(each)
    return frozenset(
        each
        for buckets in by_pod.values()
        for bucket in sorted(buckets)[-BUCKETS:]
        for each in buckets[bucket]
    )
