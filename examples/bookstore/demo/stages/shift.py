"""Stage 3: shift traffic from one version to another by typing the commands, and measure."""

import re
from dataclasses import dataclass

from examples.bookstore.demo import layout
from examples.bookstore.demo.context import SPLIT_CLIENTS, Demo
from examples.bookstore.demo.meter import Versions
from examples.bookstore.demo.statistics import binomial_interval

SAMPLE = 2_000
"""Replies that a split is measured over."""
SHOWN, ASSERTED = 0.99, 0.9999
_ACKNOWLEDGED = re.compile(r"([0-9.]+) s from the command to the last acknowledgement")


@dataclass(frozen=True, slots=True)
class Measured:
    """A split against the share that was wanted of v2."""

    share: float
    counts: Versions

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def held(self) -> bool:
        """Within the interval that holds the truth 9,999 times in 10,000; 0 and 1 exactly."""
        v2 = self.counts["v2"]
        if self.share in (0.0, 1.0):
            return v2 == self.share * self.total
        return binomial_interval(v2, self.total, ASSERTED).holds(self.share)

    def __str__(self) -> str:
        v2, total = self.counts["v2"], self.total
        low, high = binomial_interval(v2, total, SHOWN)
        text = (
            f"v2 answered {v2:,} of {total:,} = {100 * v2 / total:.2f} %"
            f" (99 % interval {100 * low:.2f} to {100 * high:.2f} %)"
        )
        if self.share in (0.0, 1.0):
            wrong = total - v2 if self.share == 1.0 else v2
            text += f", {wrong} replies of a wrong version"
        return text


async def shift(demo: Demo, v1: int, v2: int) -> float:
    """Type the command; CLOCK_MONOTONIC when it returned, after the last sidecar's ACK."""
    words = ["traffic-shift", "set", "reviews", f"reviews-v1={v1}", f"reviews-v2={v2}", "--wait"]
    result = await demo.shell.do(*words, "-n", layout.NAMESPACE)
    for line in result.out.strip().splitlines():
        demo.say(f"  {line}")
    acknowledged = _ACKNOWLEDGED.search(result.out)
    inside = f"{float(acknowledged[1]):.2f} s, " if acknowledged else ""
    demo.claim(
        f"{v1}/{v2}: from the command to the last sidecar's ACK",
        f"{inside}{result.seconds:.2f} s with the start of Python",
    )
    return result.ended


async def measure(demo: Demo, since: float) -> Versions:
    """The versions of at least `SAMPLE` replies to requests started at ``since`` or later."""

    async def enough() -> Versions | None:
        counts = demo.meter.versions(SPLIT_CLIENTS, since)
        return counts if counts.total() >= SAMPLE else None

    counts = await demo.wait(f"{SAMPLE:,} replies after the shift", enough, 60.0)
    assert isinstance(counts, dict)
    return Versions(counts)


async def run(demo: Demo) -> None:
    for v1, v2 in ((80, 20), (50, 50), (0, 100)):
        demo.stage(f"shifting reviews to {v1}/{v2}")
        acknowledged = await shift(demo, v1, v2)
        counts = await measure(demo, acknowledged)
        measured = Measured(v2 / 100, counts)
        demo.claim(f"{v1}/{v2}: the split follows", str(measured), measured.held)
    demo.stage("back to 50/50, so that both versions are in use from here on")
    await shift(demo, 50, 50)
