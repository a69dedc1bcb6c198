"""What every fuzz target shares: guided by coverage where atheris is published for the platform
(x86_64, Python up to 3.13); elsewhere inputs are changed at random, repeatably.

A run starts from the target's seeds, made in code, and from its kept inputs, which earlier runs
found (`corpus/TARGET`, written by `tests.fuzz.grow`).
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

UNDER_TEST = {
    "request": ("xds.wire.request", "xds.wire.fields"),
    "metrics": ("xds.wire.metrics", "xds.wire.fields"),
    "token": ("controlplane.identity", "xds.serve.auth", "xds.versions", "jwt"),
}
"""Targets, and the modules whose coverage guides."""
CORPUS = Path(__file__).parent / "corpus"


def kept(target: str) -> dict[str, bytes]:
    """The kept inputs of a target by name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).iterdir())}


def instrumented(target: str) -> contextlib.AbstractContextManager[Any]:
    """Within it, imports of what a target tests are instrumented, if there is atheris."""
    if atheris is None:
        return contextlib.nullcontext()
    hook: contextlib.AbstractContextManager[Any] = atheris.instrument_imports(
        include=[*UNDER_TEST[target]]
    )
    return hook


def run(one_input: Callable[[bytes], None], seeds: Mapping[str, bytes]) -> None:
    """Start from the seeds and the kept inputs; what is found goes into the directory that the
    command names. With ``-runs=0`` they are run once and nothing is looked for."""
    target = Path(sys.argv[0]).stem
    known = [*seeds.values(), *kept(target).values()]
    runs = next((int(arg[6:]) for arg in sys.argv if arg.startswith("-runs=")), None)
    if runs == 0:
        for data in known:
            one_input(data)
        print(f"Done {len(known)} known inputs", file=sys.stderr)
    elif atheris:
        for name, data in seeds.items():
            (Path(sys.argv[1]) / name).write_bytes(data)
        atheris.Setup([*sys.argv[:2], str(CORPUS / target), *sys.argv[2:]], one_input)
        atheris.Fuzz()
    else:
        unguided(one_input, known, runs or 100_000)


def unguided(one_input: Callable[[bytes], None], corpus: list[bytes], runs: int) -> None:
    """Change, cut and join inputs at random, repeatably."""
    chance = random.Random(1)
    for _ in range(runs):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 8)):
            place = chance.randrange(len(data) + 1)
            data[place : place + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        one_input(bytes(data))
    print(f"Done {runs} runs", file=sys.stderr)
