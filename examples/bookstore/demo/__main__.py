"""``make demo``: the bookstore without root, its sidecars as HTTP proxies on loopback (`run`)."""

import sys

from examples.bookstore.demo.loopback import Loopback
from examples.bookstore.demo.run import run

if __name__ == "__main__":
    sys.exit(run(Loopback()))
