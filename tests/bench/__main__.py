"""`python -m tests.bench [NAME…]`: every bench, or those named, one JSON line per figure.

A bench is a module ``tests/bench/bench_NAME.py`` with ``main() -> Iterable[Figure]``; a hyphen of
its name is an underscore there. Exit status: 0 when every goal is met, 1 when one is missed or a
bench could not begin, 2 for an unknown name.
"""

import sys
from importlib import import_module
from pathlib import Path

from tests.bench.figures import Blocked, note

HERE = Path(__file__).parent


def names() -> list[str]:
    """As they are called for."""
    stems = (path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    return sorted(stem.replace("_", "-") for stem in stems)


def main(arguments: list[str]) -> int:
    known = names()
    for unknown in set(arguments) - set(known):
        note(f"no bench {unknown!r}; there are {', '.join(known)}")
        return 2
    missed = False
    for name in arguments or known:
        note(f"bench {name}")
        module = import_module(f"tests.bench.bench_{name.replace('-', '_')}")
        try:
            for figure in module.main():
                print(figure.line(), flush=True)
                missed = missed or figure.met is False
        except Blocked as reason:
            note(f"bench {name}: {reason}")
            missed = True
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
