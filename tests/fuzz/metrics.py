"""Fuzz target of the scanner of reports: ``python -m tests.fuzz.metrics FOUND [-runs=N]``.

Whatever the bytes are, the scanner gives a report or raises `Malformed`; and a report that it gave,
written again and read again, is the same.
"""

import struct

from tests.fuzz.guided import instrumented, run

with instrumented("metrics"):
    from xds.wire.fields import Malformed
    from xds.wire.metrics import Limits, Report, scan

from xds.wire.varint import delimited, tag

LIMITS = Limits(size=1 << 16, fields=512, name=128)


def family(name: str, value: float, kind: int = 3) -> bytes:
    """One statistic; ``kind`` 2 is a gauge, 3 a counter."""
    number = delimited(kind, tag(1, 1) + struct.pack("<d", value))
    return delimited(2, delimited(1, name.encode()) + b"\x18\x00" + delimited(4, number))


def again(report: Report) -> bytes:
    """The wire form of what the scanner kept, without the node's metadata and locality."""
    parts = []
    if report.node is not None:
        who = delimited(1, report.node.id.encode()) + delimited(2, report.node.cluster.encode())
        parts.append(delimited(1, delimited(1, who)))
    for stat, values in (
        ("rq_total", report.requests),
        ("rq_active", report.active_requests),
        ("cx_total", report.connections),
        ("cx_active", report.active_connections),
    ):
        parts += [family(f"cluster.{name}.upstream_{stat}", v) for name, v in values.items()]
    if report.memory is not None:
        parts.append(family("server.memory_allocated", report.memory, 2))
    return b"".join(parts)


def one_input(data: bytes) -> None:
    try:
        first = scan(data, LIMITS)
    except Malformed:
        return
    second = scan(again(first))
    for name in Report.__slots__:
        if name != "node":
            assert getattr(first, name) == getattr(second, name), name
    if first.node is not None and second.node is not None:
        assert (first.node.id, first.node.cluster) == (second.node.id, second.node.cluster)


def seeds() -> dict[str, bytes]:
    """Where a run starts: messages of each kind."""
    node = delimited(1, delimited(1, delimited(1, b"c/ns/pod") + delimited(2, b"owner")))
    used = (
        family("cluster.h|shop|reviews|80.upstream_rq_total", 7)
        + family("cluster.h|shop|reviews|80.upstream_rq_active", 1, 2)
        + family("cluster.t|shop|ledger|9000.upstream_cx_total", 3)
        + family("cluster.t|shop|ledger|9000.upstream_cx_active", 2, 2)
    )
    return {
        "first": node + used,
        "next": used + family("server.memory_allocated", 6_500_000, 2),
        "others": family("cluster.x.upstream_rq_time", 1)
        + family("http.in.downstream_rq_total", 2),
        "unknown": delimited(99, b"?") + tag(98, 1) + bytes(8) + tag(97, 5) + bytes(4),
    }


if __name__ == "__main__":
    run(one_input, seeds())
