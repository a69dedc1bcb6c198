"""What only a terminal gets: drawn tables, colours, a bar with the names it waits for."""

import os
import pty
import select
import subprocess
import sys
import time

from tests.cli.conftest import Mesh


def on_terminal(mesh: Mesh, *arguments: str, until: str = "") -> str:
    """Run meshctl on a terminal. When ``until`` has shown, all sidecars acknowledge."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from controlplane.meshctl.cli import main; main()", *arguments],
        env=os.environ | {"PLAIT_STATE": str(mesh.state), "TERM": "xterm", "COLUMNS": "200"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown, deadline = "", time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 1.0)[0]:
            continue
        try:
            more = os.read(ours, 65536).decode(errors="replace")
        except OSError:  # the terminal's other end is closed
            break
        shown += more
        if until and until in shown:
            until = ""
            mesh.use(lambda: mesh.fake.acknowledge(*mesh.fake.waiting))
    assert process.wait(10) == 0
    os.close(ours)
    return shown


def test_tables_are_drawn_in_colour(mesh: Mesh) -> None:
    shown = on_terminal(mesh, "proxy", "list")
    assert "web.shop" in shown
    assert "\x1b[32mcurrent" in shown
    assert "\x1b[31mdisconnected" in shown


def test_a_bar_names_who_is_missing(mesh: Mesh) -> None:
    mesh.fake.waiting = {"web.shop", "reviews-v2.shop"}
    shown = on_terminal(
        mesh, "wait", "svc/reviews", "-n", "shop", until="reviews-v2.shop, web.shop"
    )
    assert "1/3" in shown
    assert "acknowledged by 3 of 3 sidecars" in shown
