"""Rewrite the golden files: ``python -m tests.golden [CASE ...]``. Prints what changed."""

import sys

from tests.golden.case import names, write

if __name__ == "__main__":
    for name in sys.argv[1:] or names():
        for path in write(name):
            print("removed" if not path.exists() else "wrote", f"{name}/{path.name}")
