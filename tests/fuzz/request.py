"""Fuzz target of the request scanner: ``python -m tests.fuzz.request FOUND [-runs=N]``.

Whatever the bytes are, the scanner gives a request or raises `Malformed`; and a request that it
gave, written again and read again, is the same.
"""

import contextlib

from tests.fuzz.guided import instrumented, run

with instrumented("request"):
    from xds.wire.request import DeltaRequest, Limits, Malformed, scan, scan_state

from xds.wire.varint import delimited, tag, varint

LIMITS = Limits(size=1 << 16, names=64, name=1024, depth=4, values=64)


def again(request: DeltaRequest) -> bytes:
    """The wire form of what the scanner kept, without the node's metadata."""
    parts = [delimited(3, each.encode()) for each in request.subscribe]
    parts += [delimited(4, each.encode()) for each in request.unsubscribe]
    parts += [
        delimited(5, delimited(1, name.encode()) + delimited(2, version.encode()))
        for name, version in request.initial_versions.items()
    ]
    parts += [delimited(2, request.type_url.encode()), delimited(6, request.nonce.encode())]
    if request.node is not None:
        place = delimited(1, request.node.region.encode()) + delimited(
            2, request.node.zone.encode()
        )
        who = delimited(1, request.node.id.encode()) + delimited(2, request.node.cluster.encode())
        parts.append(delimited(1, who + delimited(4, place)))
    if request.error_code:
        text = delimited(2, request.error_message.encode())
        parts.append(delimited(7, tag(1, 0) + varint(request.error_code) + text))
    return b"".join(parts)


def one_input(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        scan_state(data, LIMITS)
    try:
        first = scan(data, LIMITS)
    except Malformed:
        return
    second = scan(again(first), Limits())
    for name in DeltaRequest.__slots__:
        # Metadata is not written again, and an error's text is cut and mended when it is read.
        if name not in ("node", "error_message"):
            assert getattr(first, name) == getattr(second, name), name


def seeds() -> dict[str, bytes]:
    """Where a run starts: one request of each kind."""
    place = delimited(4, delimited(1, b"region") + delimited(2, b"zone"))
    value = delimited(2, delimited(5, delimited(1, delimited(1, b"k") + delimited(2, b"\x20\x01"))))
    metadata = delimited(3, delimited(1, delimited(1, b"capture") + value))
    node = delimited(1, b"c/ns/pod") + delimited(2, b"owner") + metadata + place
    kind = delimited(2, b"type.googleapis.com/envoy.config.cluster.v3.Cluster")
    held = delimited(5, delimited(1, b"h|shop|reviews|9080") + delimited(2, b"0123456789abcdef"))
    return {
        "first": delimited(1, node) + kind + delimited(3, b"*"),
        "reconnect": delimited(1, node) + kind + held * 3,
        "ack": kind + delimited(6, b"17"),
        "nack": kind + delimited(6, b"17") + delimited(7, b"\x08\x0d" + delimited(2, b"no")),
        "asked": kind + delimited(3, b"a|reviews.shop:9080|202611241200") + delimited(4, b"x"),
        "state": delimited(2, node) + delimited(4, b"t") + delimited(3, b"n") + delimited(5, b"1"),
        "unknown": delimited(99, b"?") + tag(98, 1) + bytes(8) + tag(97, 5) + bytes(4),
    }


if __name__ == "__main__":
    run(one_input, seeds())
