"""Judges manifests without applying them: syntax, schema, CEL rules, duplicates, one more check.

References and translation are the caller's check, because sources know nothing of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from controlplane.api.problem import Problem, Reason, Severity
from controlplane.sources.addresses import Addresses
from controlplane.sources.claims import TREE, FileId
from controlplane.sources.files_scan import Content, read, scan
from controlplane.sources.files_state import FilesState, interpret
from controlplane.sources.lines import FieldLines
from controlplane.sources.manifests import split
from controlplane.world.intake import Taken
from controlplane.world.transaction import Put

Check = Callable[[Sequence[Taken]], Iterable[Problem]]
"""Problems of rows that are valid each by itself."""


class Nothing(Exception):
    """There is not one document in what is to be judged: more likely a mistake than good."""


def validate_texts(
    texts: Mapping[str, str],
    *,
    cluster: str = "default",
    strict: bool = False,
    check: Check | None = None,
) -> list[Problem]:
    """Problems of manifests by the path to show, in order of path and line. ``strict`` as in
    `validate`."""
    problems = _validate({path: Content(text) for path, text in texts.items()}, cluster, check)
    return [_strict(problem) for problem in problems] if strict else problems


def validate(
    paths: Iterable[Path],
    *,
    cluster: str = "default",
    strict: bool = False,
    check: Check | None = None,
) -> list[Problem]:
    """Problems of files, and of the manifests below directories. ``strict``: an unknown field or
    kind is an error. Raises OSError for a path that cannot be read at all, and `Nothing`."""
    contents: dict[str, Content] = {}
    for path in paths:
        if path.is_dir():
            for relative in scan(str(path)):
                contents[str(path / relative)] = read(str(path / relative), str(path / relative))
        else:
            path.stat()
            contents[str(path)] = read(str(path), str(path))
    if not any(content.problem or split(content.text or "") for content in contents.values()):
        raise Nothing
    problems = _validate(contents, cluster, check)
    return [_strict(problem) for problem in problems] if strict else problems


def _strict(problem: Problem) -> Problem:
    if problem.reason in (Reason.UNKNOWN_FIELD, Reason.UNKNOWN_KIND):
        return replace(problem, severity=Severity.ERROR)
    return problem


def _validate(contents: Mapping[str, Content], cluster: str, check: Check | None) -> list[Problem]:
    state = FilesState(cluster, Addresses())
    files = {FileId(TREE, path): content for path, content in contents.items()}
    step = state.update(
        {file: interpret(content, file, None, cluster) for file, content in files.items()}
    )
    problems = list(step.problems)
    if check is not None:
        rows = [Taken(e.table, e.key, e.row) for e in step.transaction if isinstance(e, Put)]
        problems += FieldLines(state.claims, budget=None).placed(check(rows))
    return problems
