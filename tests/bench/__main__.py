"""`python -m tests.bench [NAME…]`: every bench, or those named, one JSON line per figure.

A bench is a module ``tests/bench/bench_NAME.py`` with ``main() -> Iterable[Figure]``. Exit status:
0 when every goal is met, 1 when one is missed, 2 for an unknown name.
"""

import sys
from importlib import import_module
from pathlib import Path

from tests.bench.figures import note

HERE = Path(__file__).parent


def names() -> list[str]:
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main(arguments: list[str]) -> int:
    known = names()
    for unknown in set(arguments) - set(known):
        note(f"no bench {unknown!r}; there are {', '.join(known)}")
        return 2
    missed = False
    for name in arguments or known:
        note(f"bench {name}")
        for figure in import_module(f"tests.bench.bench_{name}").main():
            print(figure.line(), flush=True)
            missed = missed or figure.met is False
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
