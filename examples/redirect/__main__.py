"""``make demo-redirect``: the bookstore in network namespaces, behind redirection. Needs root."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from examples.bookstore.demo.run import run
from examples.redirect.mode import Redirected

PROGRAMS = {"ip": "iproute2", "nft": "nftables", "setpriv": "util-linux"}
"""What the demo runs, and the package that has it."""


def lacking() -> str:
    """What is in the way, with its remedy; empty: nothing."""
    if os.geteuid() != 0:
        return (
            "redirection changes packet filtering, which takes root. Run: sudo make demo-redirect"
        )
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"the program {program} is missing. Install it: apt install {package}"
    return ""


def main() -> int:
    if reason := lacking():
        print(f"demo: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="plait-net-") as directory:
        mode = Redirected(Path(directory))
        try:
            try:
                mode.open()
            except OSError as error:
                print(f"demo: the network namespaces cannot be made: {error}", file=sys.stderr)
                return 1
            return run(mode)
        finally:
            mode.close()


if __name__ == "__main__":
    sys.exit(main())
