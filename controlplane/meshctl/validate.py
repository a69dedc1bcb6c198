"""`meshctl validate`: judges manifests without a control plane, as it would judge them."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from controlplane.api.problem import Problem, Severity
from controlplane.app.views import Problems
from controlplane.meshctl import options
from controlplane.meshctl.documents import STANDARD_INPUT, nothing, unreadable
from controlplane.meshctl.output import Block, Output, amount, print_result, problem_lines
from controlplane.meshctl.trouble import Exit, misused
from controlplane.sources.manifests import split
from controlplane.sources.validate import Nothing, validate, validate_texts

HELP = """Check manifests without a control plane: schema, rules, references, translation.

All files together are taken as the whole mesh, so give the Services that routes refer to as well.
Exit code 1 when there is an error. Unknown fields and kinds are warnings; --strict makes them
errors.

[bold]Examples[/bold]

  meshctl validate -f manifests/

  meshctl validate -f routes.yaml -f services.yaml --strict

  kubectl get service,httproute -A -o yaml | meshctl validate -f -
"""

Files = Annotated[
    list[str],
    typer.Option(
        "-f",
        "--filename",
        help="File, directory or - (standard input); any number.",
        metavar="PATH",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Unknown fields and kinds are errors.")]


def run(files: Files, strict: Strict = False, output: options.Format = Output.TABLE) -> None:
    problems = Problems(tuple(judge(files, strict=strict)))
    print_result(problems, output, blocks)
    bad = problems.count(Severity.ERROR)
    raise typer.Exit(Exit.PROBLEMS if bad else Exit.OK)


def judge(files: Sequence[str], *, strict: bool) -> list[Problem]:
    """All problems of the files together. Raises Trouble for what cannot be read."""
    # Imported here: no other command needs the engine and the translation, and each would wait.
    from controlplane.app.offline import translation_problems

    if files == [STANDARD_INPUT]:
        texts = {"standard input": sys.stdin.read()}
        if not split(texts["standard input"]):  # perhaps what was to write it has failed
            raise nothing(files)
        return validate_texts(texts, strict=strict, check=translation_problems)
    if STANDARD_INPUT in files:
        raise misused("- cannot be mixed with files", "Give one or the other")
    try:
        return validate(map(Path, files), strict=strict, check=translation_problems)
    except Nothing:
        raise nothing(files) from None
    except OSError as error:
        raise unreadable(error.filename or files[0], error) from None


def blocks(problems: Problems) -> Iterable[Block]:
    yield from problem_lines(problems.problems)
    errors = amount(problems.count(Severity.ERROR), "error")
    yield f"{errors}, {amount(problems.count(Severity.WARNING), 'warning')}"
