"""The line of the field that a problem is about, for problems that were found in rows.

Rows know no lines, so the object's document is parsed once more, when somebody wants to see its
problem. Pure.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from controlplane.api.decode import expand, reference
from controlplane.api.paths import FieldPath, parse_path
from controlplane.api.problem import ObjectRef, Problem, Source
from controlplane.sources.claims import Claims, Entry, FileId
from controlplane.sources.yamldoc import parse

BUDGET = 1 << 18
"""Characters that one look parses, about 0.2 s of a server's time. What is beyond it keeps the line
of its object until a later look; a single document that is longer, for good."""
REMEMBERED = 10_000
"""Lines that are remembered."""


class FieldLines:
    """Places problems at the lines of their fields, by the entries that take effect."""

    def __init__(self, claims: Claims, budget: int | None = BUDGET) -> None:
        """``budget`` None: parse whatever it takes."""
        self._claims = claims
        self._budget = budget
        self._known: dict[tuple[ObjectRef, str], tuple[str, int]] = {}
        """The document's text and the 1-based line in it, by object and field."""

    def placed(
        self, problems: Iterable[Problem], shown: Callable[[FileId], bool] = lambda _: True
    ) -> list[Problem]:
        """``problems``, those without a source now with one. ``shown``: whether a file is one that
        the user knows."""
        left = float("inf") if self._budget is None else self._budget
        opened: dict[str, _Opened] = {}  # for this look alone: nodes are large
        result = []
        for problem in problems:
            found = self._claims.source(problem.object)
            entry = self._claims.winner(problem.object)
            if problem.source is not None or found is None or entry is None or not shown(found[0]):
                result.append(problem)
                continue
            line = self._remembered(problem, entry)
            if line is None and problem.field and entry.text:
                if entry.text not in opened and len(entry.text) <= left:
                    left -= len(entry.text)
                    opened[entry.text] = _Opened(entry.text)
                if (document := opened.get(entry.text)) is not None:
                    line = document.line(problem)
                    self._remember(problem, entry, line)
            at = entry.line if line is None else entry.start + line
            result.append(replace(problem, source=Source(found[1].path, at)))
        return result

    def _remembered(self, problem: Problem, entry: Entry) -> int | None:
        text, line = self._known.get((problem.object, problem.field), ("", 0))
        return line if text and text == entry.text else None

    def _remember(self, problem: Problem, entry: Entry, line: int) -> None:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[problem.object, problem.field] = (entry.text, line)


class _Opened:
    """A document that was read before, and where each object stands in it."""

    def __init__(self, text: str) -> None:
        self._yaml = parse(text)  # an entry was made of it, so it is YAML
        self._bases: dict[ObjectRef, FieldPath] = {}
        for base, value in expand(self._yaml.value):
            if isinstance(value, dict):
                self._bases.setdefault(reference(value), base)

    def line(self, problem: Problem) -> int:
        """The 1-based line of the problem's field in the document."""
        return self._yaml.line(self._bases.get(problem.object, ()) + parse_path(problem.field))
