"""KEEP=1: the bookstore stays up, with commands to paste into another shell."""

import asyncio
import os
import shlex
import time

from rich.console import Console

from examples.bookstore.demo.context import ROOT, Demo
from examples.bookstore.demo.layout import NAMESPACE
from examples.bookstore.demo.typed import MESHCTL

REMEMBERED = 60.0
"""Seconds of calls that stay in memory."""
LOG_LIMIT = 32 << 20
"""Bytes after which a log begins anew."""


def commands(demo: Demo) -> list[str]:
    """Commands that work in any shell of this user, in any directory."""
    meshctl = shlex.join(MESHCTL)
    ratings = shlex.quote(str(demo.places.manifests / "ratings.yaml"))
    lines = [f"export PLAIT_STATE={shlex.quote(str(demo.places.state))}"]
    if len(MESHCTL) > 1:  # not installed as a command
        lines.append(f"export PYTHONPATH={shlex.quote(str(ROOT))}")
    return [
        *lines,
        f"{meshctl} status",
        f"{meshctl} proxy list",
        f"{meshctl} proxy config web -n {NAMESPACE} routes",
        f"{meshctl} simulate web reviews -n {NAMESPACE}",
        f"{meshctl} certs",
        f"{meshctl} traffic-shift set reviews reviews-v1=10 reviews-v2=90 -n {NAMESPACE} --wait",
        f"{meshctl} why route px --pod web.{NAMESPACE}",
        *demo.mode.by_hand(demo),
        f"sed -i 's/timeout: .*/timeout: 3s/' {ratings}"
        f" && {meshctl} wait routepolicy/ratings -n {NAMESPACE} --timeout 10s",
    ]


async def stay(demo: Demo, console: Console) -> None:
    """Print the commands and keep everything running until Ctrl-C. Raises Died when a process
    ends."""
    demo.stage("staying up")
    console.print("\nThe bookstore stays up until Ctrl-C. Paste into another shell:\n")
    for line in commands(demo):
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    while True:
        await asyncio.sleep(5.0)
        demo.processes.check()
        demo.meter.forget(time.monotonic() - REMEMBERED)
        for log in demo.places.logs.iterdir():
            if log.stat().st_size > LOG_LIMIT:
                os.truncate(log, 0)
