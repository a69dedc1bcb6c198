"""Stage 5: the control plane is killed and stays away while traffic flows; when it is back, nothing
is sent again. So that a zero proves something, it is then killed once more and one object is
changed meanwhile: exactly the resources made from that object are sent."""

import asyncio
import signal
import time

from examples.bookstore.demo.context import Demo
from examples.bookstore.demo.layout import NAMESPACE
from examples.bookstore.demo.observe import Samples, metrics, ready, received_bytes
from examples.bookstore.demo.stages.start import DEADLINE, settled

AWAY = 5.5
"""Seconds that the control plane stays away."""
QUIET = 2.0
"""Seconds that nothing more may come after everything has settled."""
EMPTY = 512
"""Bytes that an Envoy may receive on a new stream without a resource: HTTP/2 settings, headers,
window updates and pings. About a hundred are usual."""

RESOURCES = "plait_xds_resources_total"
RESOURCE_BYTES = "plait_xds_resource_bytes_total"
"""Bytes of resources, counted where they are handed to the transport."""
SENT = "plait_xds_sent_bytes_total"
"""Bytes of whole responses, there too: resources and what wraps them."""
STREAMS = "plait_xds_streams"

GOOD, CHANGED = "timeout: 5s", "timeout: 4s"
"""The line of ratings.yaml that is changed while the control plane is away."""

Versions = dict[tuple[str, str, str], str]
"""(pod, type, name) of a resource → the version that Envoy accepted last."""


async def held(demo: Demo) -> Versions:
    """What all sidecars hold."""
    found: Versions = {}
    for name in demo.workloads:
        answer = await demo.ask(f"/v1/proxies/{NAMESPACE}/{name}")
        for resource in answer["resources"]:
            found[name, resource["type"], resource["name"]] = resource["acked"]
    return found


def total(samples: Samples, metric: str) -> int:
    """Sum of a metric over its labels; 0 when it has none yet."""
    return round(sum(samples.get(metric, {}).values()))


def by_type(samples: Samples) -> str:
    """How many resources of each type were sent, in parentheses; empty for none."""
    counts = [f"{round(n)} {label[6:-1]}" for label, n in samples.get(RESOURCES, {}).items() if n]
    return f" ({', '.join(counts)})" if counts else ""


async def _received(demo: Demo) -> dict[str, int]:
    return {name: await received_bytes(demo.places.envoy_admin(name)) for name in demo.workloads}


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
    await demo.wait("the control plane is ready again", lambda: ready(demo.mode.metrics), DEADLINE)
    started = time.monotonic()

    async def streams() -> bool:
        return total(await metrics(demo.mode.metrics), STREAMS) == len(demo.workloads)

    await demo.wait("every sidecar has reconnected", streams, 20.0)
    demo.say(f"  ready and every sidecar back after {time.monotonic() - started:.2f} s")
    await demo.wait("every sidecar has settled", lambda: settled(demo), 20.0)
    await asyncio.sleep(QUIET)
    return await metrics(demo.mode.metrics)


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
    resources, size = total(samples, RESOURCES), total(samples, RESOURCE_BYTES)
    demo.claim(
        "no resource is sent again at reconnect",
        f"{resources} resources{by_type(samples)}, {size} bytes of resources handed to the"
        f" transport; {total(samples, SENT)} bytes of responses in all",
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
    differ = {key for key in before | after if before.get(key) != after.get(key)}
    resources, size = total(samples, RESOURCES), total(samples, RESOURCE_BYTES)
    expected = demo.mode.of_policy()
    demo.claim(
        "control: exactly the changed object's resources are sent",
        f"{resources} resources{by_type(samples)}, {size:,} bytes; {len(expected)} are made from it"
        + "".join(f", not {' '.join(key)}" for key in sorted(differ - expected)),
        differ == expected and resources == len(expected) and size > 0,
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
