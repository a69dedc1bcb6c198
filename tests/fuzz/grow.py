"""Look for inputs that reach more, and keep the smallest: ``python -m tests.fuzz.grow [-runs=N]
[-max_total_time=SECONDS] [TARGET ...]``, or ``make fuzz``.

Of the seeds, the kept inputs and what a run finds, those stay in ``corpus/TARGET`` without which a
step from line to line of the code under test, or how often it is taken, would be missing, the
smallest first. What makes a
target fail is not kept: libFuzzer leaves it in ``findings/``; mend the code, and add it as a seed.
"""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import sha1
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.guided import CORPUS, UNDER_TEST, kept

ROOT = Path(__file__).parents[2]
FINDINGS = Path(__file__).parent / "findings"
LONGEST = 2_048
"""Bytes of an input that may be kept."""
MOST_FILES, MOST_BYTES = 96, 64_000
"""What is kept of one target."""

Steps = set[tuple[str, int, int, int]]
"""(file, line before, line, length of the binary number of times), in one function."""


def found(target: str, options: Iterable[str]) -> list[bytes]:
    """Run a target; the inputs that its fuzzer thought worth keeping."""
    FINDINGS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        command = (sys.executable, "-m", f"tests.fuzz.{target}", scratch, *options)
        more = (f"-max_len={LONGEST}", f"-artifact_prefix={FINDINGS}/{target}-")
        subprocess.run((*command, *more), cwd=ROOT, check=True)
        return [path.read_bytes() for path in Path(scratch).iterdir()]


def under_test(modules: Iterable[str]) -> tuple[str, ...]:
    """Beginnings of the paths of modules; of a package all of it."""
    beginnings = []
    for name in modules:
        spec = find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        package = spec.submodule_search_locations is not None
        beginnings.append(os.path.dirname(spec.origin) + os.sep if package else spec.origin)
    return tuple(beginnings)


def steps(one_input: Callable[[bytes], None], data: bytes, places: tuple[str, ...]) -> Steps:
    """The steps that an input takes."""
    taken: Counter[tuple[str, int, int]] = Counter()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        path = frame.f_code.co_filename
        if not path.startswith(places):
            return None
        last = frame.f_lineno

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            taken[path, last, frame.f_lineno] += 1
            last = frame.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        one_input(data)
    finally:
        sys.settrace(None)
    return {(*step, times.bit_length()) for step, times in taken.items()}


def smallest(
    one_input: Callable[[bytes], None],
    candidates: Iterable[bytes],
    seeds: Iterable[bytes],
    places: tuple[str, ...],
) -> list[bytes]:
    """The candidates that take steps which no seed and no smaller candidate takes; then, as far as
    there is room, those that take them more or less often."""
    covered: Steps = set()
    for seed in seeds:
        covered |= steps(one_input, seed, places)
    ordered = sorted({*candidates}, key=lambda each: (len(each), each))
    taken = {data: steps(one_input, data, places) for data in ordered if len(data) <= LONGEST}
    chosen: list[bytes] = []
    size = 0
    for often in (False, True):
        seen = {step if often else step[:3] for step in covered}
        for data, took in taken.items():
            new = {step if often else step[:3] for step in took} - seen
            if new and len(chosen) < MOST_FILES and size + len(data) <= MOST_BYTES:
                seen |= new
                covered |= took
                chosen.append(data)
                size += len(data)
    return chosen


def grow(target: str, options: Iterable[str]) -> None:
    known = kept(target)
    new = found(target, options)
    module = import_module(f"tests.fuzz.{target}")
    places = under_test(UNDER_TEST[target])
    candidates = (*known.values(), *new)
    chosen = smallest(module.one_input, candidates, module.seeds().values(), places)
    for name in known:
        (CORPUS / target / name).unlink()
    for data in chosen:
        (CORPUS / target / sha1(data, usedforsecurity=False).hexdigest()[:16]).write_bytes(data)
    print(f"{target}: {len(known)} inputs were kept, {len(chosen)} are, {sum(map(len, chosen))} B")


def main() -> None:
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    for target in [word for word in sys.argv[1:] if word not in options] or UNDER_TEST:
        grow(target, options or ["-runs=300000"])


if __name__ == "__main__":
    main()
