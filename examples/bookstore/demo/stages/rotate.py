"""Stage 4: new certificates for every sidecar under traffic. A serial that the control plane
reports proves little; what counts is that each callee met it in a handshake."""

import contextlib
from typing import Any

from examples.bookstore.demo.context import Demo, TooSlow
from examples.bookstore.demo.layout import CALLS, NAMESPACE
from examples.bookstore.demo.observe import AccessLog

DEADLINE = 20.0
"""Seconds; connections between sidecars last 5 s here, and then drain."""


def serial(text: str) -> int:
    """A certificate's serial number, written in hexadecimal."""
    return int(text.replace(":", ""), 16)


async def serials(demo: Demo) -> dict[str, str]:
    """Serial of each sidecar's certificate by pod, as ``meshctl certs`` prints it."""
    answer = await demo.ask("/v1/certs")
    suffix = f".{NAMESPACE}"
    return {
        certificate["pod"].removesuffix(suffix): certificate["serial"]
        for certificate in answer["certificates"]
    }


def met(entries: list[dict[str, Any]], peer: str, number: int) -> bool:
    """Whether one of these access-log entries is of a connection by ``peer`` with that serial."""
    return any(
        entry.get("peer") == peer
        and entry.get("peer_serial")
        and serial(entry["peer_serial"]) == number
        for entry in entries
    )


async def run(demo: Demo) -> None:
    demo.stage("new certificates for every sidecar")
    before = await serials(demo)
    logs = {call: log for call in CALLS for log in demo.access_logs([call[1]]).values()}
    result = await demo.shell.do("certs", "rotate", "--all")
    for line in result.out.strip().splitlines():
        demo.say(f"  {line}")
    after = await serials(demo)
    changed = [n for n in demo.workloads if before.get(n) and after.get(n) != before.get(n)]
    demo.claim(
        "every sidecar has a new certificate",
        f"{len(changed)} of {len(demo.workloads)} serials changed",
        len(changed) == len(demo.workloads),
    )
    missing = dict(logs)

    async def all_met() -> bool:
        for (caller, callee), log in list(missing.items()):
            if _met(demo, log, caller, after[caller]):
                demo.say(f"  {callee} shook hands with {caller}'s new certificate {after[caller]}")
                del missing[caller, callee]
        return not missing

    with contextlib.suppress(TooSlow):
        await demo.wait("every callee met the new certificates", all_met, DEADLINE, every=0.5)
    demo.claim(
        "every callee logged a handshake with its caller's new certificate",
        f"{len(logs) - len(missing)} of {len(logs)} pairs"
        + "".join(f", not {callee} of {caller}" for caller, callee in missing),
        not missing,
    )


def _met(demo: Demo, log: AccessLog, caller: str, text: str) -> bool:
    number = serial(text)
    peer = demo.workloads[caller].spiffe_id(demo.trust_domain)
    return met(list(log.entries(containing=f"{number:x}")), peer, number)
