"""Stage 6: a broken manifest is saved. The error says where and what to do, traffic goes on with
the last good objects, and it is mended again."""

import time
from typing import Any

from examples.bookstore.demo.context import Demo
from examples.bookstore.demo.stages import restart

FILE = "ratings.yaml"
GOOD, BROKEN = restart.CHANGED, "timeout: soon"


async def problems(demo: Demo) -> list[dict[str, Any]]:
    """Problems of severity error, as ``meshctl status`` prints them."""
    found: list[dict[str, Any]] = (await demo.ask("/v1/problems"))["problems"]
    return [problem for problem in found if problem["severity"] == "error"]


def complete(problem: dict[str, Any], line: int) -> list[str]:
    """What is missing from a problem that should name all of this; empty when nothing is."""
    source, ref = problem.get("source") or {}, problem.get("object") or {}
    wanted = {
        "file": str(source.get("path", "")).endswith(FILE),
        "line": source.get("line") == line,
        "object": (ref.get("kind"), ref.get("name")) == ("RoutePolicy", "ratings"),
        "field": problem.get("field") == "spec.timeout",
        "remedy": bool(problem.get("remedy")),
    }
    return [part for part, named in wanted.items() if not named]


async def run(demo: Demo) -> None:
    demo.stage("a broken manifest is saved")
    text = (demo.places.manifests / FILE).read_text()
    broken = text.replace(GOOD, BROKEN)
    assert broken != text
    at = next(i for i, line in enumerate(broken.splitlines(), 1) if BROKEN in line)
    failed, saved = len(demo.meter.failures), time.monotonic()
    demo.places.save(FILE, broken)
    demo.say(f"  {FILE}: spec.timeout of RoutePolicy ratings is now `soon`")
    found = await demo.wait("the problem is reported", lambda: problems(demo), 15.0)
    shown = time.monotonic() - saved
    result = await demo.shell.run("status")
    for line in result.out.splitlines():
        if line.startswith("error: "):
            demo.say(f"  {line}")
    missing = complete(found[0], at)
    demo.claim(
        "a broken manifest: file, line, object, field and remedy are named",
        f"after {shown:.1f} s" + "".join(f", without the {part}" for part in missing),
        not missing,
    )
    calls = demo.meter.total

    async def flowing() -> bool:
        return demo.meter.total >= calls + 500

    await demo.wait("500 more calls", flowing, 20.0)
    failed = len(demo.meter.failures) - failed
    demo.claim(
        "traffic goes on with the last good configuration",
        f"{demo.meter.total - calls:,} more calls, {failed} failed",
        failed == 0,
    )
    demo.places.save(FILE, text)

    async def mended() -> bool:
        return not await problems(demo)

    await demo.wait("no problem is left", mended, 15.0)
    demo.claim("mended, and the problem is gone", "0 problems", held=True)
