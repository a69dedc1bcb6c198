"""`meshctl apply` and `meshctl delete`: objects that the control plane keeps in its state
directory, beside the user's own files."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from controlplane.api.decode import DEFAULT_NAMESPACE
from controlplane.api.problem import Severity
from controlplane.app.views import Action, Applied, ApplyResult, Progress
from controlplane.meshctl import documents, names, options, wait
from controlplane.meshctl.client import Client, call, object_path
from controlplane.meshctl.output import Block, Output, print_result, problem_lines
from controlplane.meshctl.trouble import Exit
from controlplane.meshctl.waiting import seconds

HELP = """Store manifests in the control plane: all of them, or none when one has an error.

They are kept in the state directory (objects/). An object that also stands in the watched
directory is refused: change the file instead.

[bold]Examples[/bold]

  meshctl apply -f shift.yaml --wait

  meshctl apply -f manifests/ -n shop --dry-run

  kubectl get httproute -n shop -o yaml | meshctl apply -f -
"""

DELETE_HELP = """Remove an object that meshctl stored.

[bold]Examples[/bold]

  meshctl delete trafficshift/reviews -n shop
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
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the sidecars' acknowledgement.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; store nothing.")]


@dataclass(frozen=True, slots=True)
class Result:
    result: ApplyResult
    progress: tuple[Progress, ...] = ()
    """With ``--wait``: per stored object."""
    seconds: float | None = None
    """With ``--wait``: from the command to the last acknowledgement."""
    dry_run: bool = False
    """Nothing was stored: the objects say what would be done."""


def run(
    files: Files,
    wait_for: Wait = False,
    dry_run: DryRun = False,
    timeout: options.Timeout = "60s",
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    started = time.monotonic()
    limit = seconds(timeout)
    given = documents.read(files, namespace)

    async def send(client: Client) -> Result:
        applied = await apply(client, given, dry_run=dry_run)
        if not wait_for or dry_run:
            return Result(applied, dry_run=dry_run)
        progress = await acknowledged(client, applied, started + limit)
        return Result(applied, progress, took(progress, started))

    result = call(state, send)
    print_result(result, output, blocks)
    raise typer.Exit(exit_code(result))


async def apply(
    client: Client, given: Iterable[documents.Document], *, dry_run: bool = False
) -> ApplyResult:
    """Send documents; problems come back with file and line."""
    all_of_them = tuple(given)
    result = await client.post(
        ApplyResult,
        "/v1/apply",
        {"documents": [each.value for each in all_of_them]},
        dryRun="true" if dry_run else None,
    )
    return replace(result, problems=documents.placed(result.problems, all_of_them))


async def acknowledged(
    client: Client, applied: ApplyResult, deadline: float
) -> tuple[Progress, ...]:
    """The progress of each stored object, followed until ``deadline`` (monotonic)."""
    found = []
    for each in applied.objects:
        if each.action is not Action.DELETED:
            left = max(deadline - time.monotonic(), 0.0)
            found.append(await wait.until_acked(client, each.object, left))
    return tuple(found)


def took(progress: Iterable[Progress], started: float) -> float | None:
    """Seconds since ``started`` (monotonic) when every object was acknowledged by someone and
    refused by nobody."""
    seen = tuple(progress)
    if not (all(each.succeeded for each in seen) and any(each.total for each in seen)):
        return None
    return round(time.monotonic() - started, 3)


def exit_code(result: Result) -> Exit:
    if any(each.severity is Severity.ERROR for each in result.result.problems):
        return Exit.PROBLEMS
    codes = {wait.exit_code(each) for each in result.progress}
    return Exit.TIMED_OUT if Exit.TIMED_OUT in codes else max(codes, default=Exit.OK)


def blocks(result: Result) -> Iterable[Block]:
    yield from problem_lines(result.result.problems)
    note = " (dry run)" if result.dry_run else ""
    yield from (f"{each.object} {each.action}{note}" for each in result.result.objects)
    for progress in result.progress:
        yield from wait.blocks(progress)
    if result.seconds is not None:
        yield f"{result.seconds:.3f} s from the command to the last acknowledgement"


def run_delete(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TYPE/NAME", help="The object.", autocompletion=options.complete_kind
        ),
    ],
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    ref = names.object_ref(target, namespace or DEFAULT_NAMESPACE)
    path = object_path("objects", ref.kind, ref.namespace, ref.name)
    deleted = call(state, lambda client: client.delete(Applied, path))
    print_result(deleted, output, lambda each: [f"{each.object} {each.action}"])
