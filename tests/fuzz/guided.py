"""What every fuzz target shares: guided by coverage where atheris is published for the platform
(x86_64, Python up to 3.13); elsewhere the seeds are changed at random, repeatably.
"""

import contextlib
import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    atheris = None


def instrumented(*modules: str) -> contextlib.AbstractContextManager[Any]:
    """Within it, imports of ``modules`` are instrumented, if there is atheris."""
    if atheris is None:
        return contextlib.nullcontext()
    hook: contextlib.AbstractContextManager[Any] = atheris.instrument_imports(include=[*modules])
    return hook


def run(one_input: Callable[[bytes], None], seeds: Mapping[str, bytes]) -> None:
    """Write the seeds into the corpus, the directory that the command names, and start from it."""
    for name, data in seeds.items():
        (Path(sys.argv[1]) / name).write_bytes(data)
    if atheris:
        atheris.Setup(sys.argv, one_input)
        atheris.Fuzz()
    else:
        runs = next(int(arg[6:]) for arg in sys.argv if arg.startswith("-runs="))
        unguided(one_input, [*seeds.values()], runs)


def unguided(one_input: Callable[[bytes], None], corpus: list[bytes], runs: int) -> None:
    """Change, cut and join seeds at random, repeatably."""
    chance = random.Random(1)
    for _ in range(runs):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 8)):
            place = chance.randrange(len(data) + 1)
            data[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        one_input(bytes(data))
    print(f"Done {runs} runs", file=sys.stderr)
