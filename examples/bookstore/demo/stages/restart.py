"""Stage 5: the control plane is killed and stays away while traffic flows; when it is back, nothing
is sent again. So that a zero proves something, it is then killed once more and one object is
changed meanwhile: exactly the resources made from that object are sent."""

import asyncio
import signal
import time
from dataclasses import dataclass

from examples.bookstore.demo import layout
from examples.bookstore.demo.context import Demo
from examples.bookstore.demo.layout import NAMESPACE
from examples.bookstore.demo.observe import Samples, metrics, ready, received_bytes
from examples.bookstore.demo.stages.start import DEADLINE, settled

AWAY = 5.5
"""Seconds that the control plane stays away."""
QUIET = 2.0
"""Seconds that nothing more may come after everything has settled."""
EMPTY = 1_024
"""Bytes that an Envoy may receive on a new stream without a resource: HTTP/2 settings, headers,
window updates and empty first answers. The smallest set of resources it holds is ten times that."""

RESOURCES = "plait_xds_resources_total"
SENT = "plait_xds_sent_bytes_total"
"""Bytes of whole responses, as handed to the transport: resources and what wraps them."""
STREAMS = "plait_xds_streams"

POLICY = {"kind": "RoutePolicy", "namespace": NAMESPACE, "name": "ratings"}
"""The object that is changed while the control plane is away."""

GOOD, CHANGED = "timeout: 5s", "timeout: 4s"

Versions = dict[tuple[str, str, str], str]
"""(pod, type, name) of a resource → the version that Envoy accepted last."""


@dataclass(frozen=True, slots=True)
class Held:
    """What all sidecars hold, and which of it was made from the ratings' RoutePolicy."""

    versions: Versions
    of_policy: frozenset[tuple[str, str, str]]


async def held(demo: Demo) -> Held:
    versions: Versions = {}
    of_policy = set()
    for name in demo.workloads:
        answer = await demo.shell.ask("proxy", "config", name, "-n", NAMESPACE)
        for resource in answer["resources"]:
            key = (name, resource["type"], resource["name"])
            versions[key] = resource["acked"]
            if POLICY in resource["objects"]:
                of_policy.add(key)
    return Held(versions, frozenset(of_policy))


def total(samples: Samples, metric: str) -> int:
    """Sum of a metric over its labels; 0 when it has none yet."""
    return round(sum(samples.get(metric, {}).values()))


async def _received(demo: Demo) -> dict[str, int]:
    return {name: await received_bytes(demo.places.admin(name)) for name in demo.workloads}


def kill(demo: Demo) -> None:
    """SIGKILL to the control plane's whole process group."""
    child = demo.control_plane
    assert child is not None
    demo.say(f"$ kill -KILL {child.pid}")
    child.signal_group(signal.SIGKILL)
    demo.processes.forget(child)


async def back(demo: Demo) -> Samples:
    """Start it again; its metrics once every sidecar is back, settled, and quiet for a while."""
    demo.start_control_plane()
    await demo.wait("the control plane is ready again", lambda: ready(layout.METRICS), DEADLINE)
    started = time.monotonic()

    async def streams() -> bool:
        return total(await metrics(layout.METRICS), STREAMS) == len(demo.workloads)

    await demo.wait("every sidecar has reconnected", streams, 20.0)
    demo.say(f"  ready and every sidecar back after {time.monotonic() - started:.2f} s")
    await demo.wait("every sidecar has settled", lambda: settled(demo), 20.0)
    await asyncio.sleep(QUIET)
    return await metrics(layout.METRICS)


async def unchanged(demo: Demo) -> None:
    """Down for a while under traffic, back with nothing changed."""
    demo.stage(f"control plane killed, away for {AWAY:g} s under traffic")
    received = await _received(demo)
    calls, failed, left = demo.meter.total, len(demo.meter.failures), time.monotonic()
    kill(demo)
    await asyncio.sleep(AWAY)
    away = time.monotonic() - left
    calls, failed = demo.meter.total - calls, len(demo.meter.failures) - failed
    demo.claim(
        "traffic goes on while the control plane is away",
        f"{calls:,} calls in {away:.1f} s, {failed} failed",
        calls > 0 and failed == 0,
    )
    samples = await back(demo)
    resources, size = total(samples, RESOURCES), total(samples, SENT)
    demo.claim(
        "nothing is sent again at reconnect",
        f"{resources} resources, {size} bytes handed to the transport",
        resources == 0 and size == 0,
    )
    now = await _received(demo)
    most = max(now[name] - received[name] for name in now)
    demo.claim(
        "each Envoy's own count of received bytes agrees",
        f"at most {most} bytes since the kill, of {max(received.values()):,} before",
        most <= EMPTY,
    )


async def changed(demo: Demo) -> None:
    """The positive control: one object changed while it is away."""
    demo.stage("control: killed again, one RoutePolicy changed meanwhile")
    before = await held(demo)
    received = await _received(demo)
    kill(demo)
    text = (demo.places.manifests / "ratings.yaml").read_text()
    demo.places.save("ratings.yaml", text.replace(GOOD, CHANGED))
    demo.say("  ratings.yaml: RoutePolicy ratings, spec.timeout: 5s is now 4s")
    samples = await back(demo)
    after = await held(demo)
    differ = {key for key, version in after.versions.items() if version != before.versions.get(key)}
    resources, size = total(samples, RESOURCES), total(samples, SENT)
    expected = before.of_policy
    demo.claim(
        "control: exactly the changed object's resources are sent",
        f"{resources} resources ({size:,} bytes) of {len(expected)} made from it,"
        f" {len(differ - expected)} others",
        len(expected) > 0 and differ == expected and resources == len(expected) and size > 0,
    )
    now = await _received(demo)
    got = {name for name in now if now[name] - received[name] > EMPTY}
    concerned = {pod for pod, _, _ in expected}
    demo.claim(
        "control: received by the sidecars it concerns, and by no other",
        ", ".join(f"{name} {now[name] - received[name]} B" for name in sorted(now)),
        got <= concerned,
    )


async def run(demo: Demo) -> None:
    await unchanged(demo)
    await changed(demo)
