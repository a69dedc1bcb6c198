"""`meshctl wait`: returns when every sidecar that an object concerns has acknowledged it."""

from collections.abc import Iterable
from contextlib import aclosing
from typing import Annotated

import typer

from controlplane.api.decode import DEFAULT_NAMESPACE
from controlplane.api.problem import ObjectRef
from controlplane.app.views import Progress
from controlplane.meshctl import names, options
from controlplane.meshctl.client import Client, call, object_path
from controlplane.meshctl.output import Block, Output, amount, print_result, problem_lines
from controlplane.meshctl.trouble import Exit
from controlplane.meshctl.waiting import Bar, follow, seconds

HELP = """Wait until every sidecar has acknowledged the newest content of an object.

Only sidecars count that hold or want something made from it. Exit code 1 when a sidecar rejects
it, 4 when time is up; those that have not acknowledged are named.

[bold]Examples[/bold]

  meshctl wait trafficshift/reviews -n shop --timeout 30s

  meshctl wait httproute/reviews -n shop -o json
"""


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TYPE/NAME", help="The object.", autocompletion=options.complete_kind
        ),
    ],
    timeout: options.Timeout = "60s",
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    limit = seconds(timeout)
    ref = names.object_ref(target, namespace or DEFAULT_NAMESPACE)
    progress = call(state, lambda client: until_acked(client, ref, limit))
    print_result(progress, output, blocks)
    raise typer.Exit(exit_code(progress))


async def until_acked(client: Client, ref: ObjectRef, limit: float) -> Progress:
    """Follow an object's progress until it is done or ``limit`` seconds are over."""
    path = object_path("wait", ref.kind, ref.namespace, ref.name)
    with Bar(str(ref)) as bar:

        def show(progress: Progress) -> None:
            bar.update(progress.acked, progress.total, progress.waiting)

        async with aclosing(client.follow(Progress, path)) as answers:
            last, _ = await follow(answers, limit, show)
    if last is None:
        # Not one answer in time: it is as if nothing were applied yet.
        return Progress(ref, "", applied=False)
    return last


def exit_code(progress: Progress) -> Exit:
    if not progress.done:
        return Exit.TIMED_OUT
    return Exit.OK if progress.succeeded else Exit.PROBLEMS


def blocks(progress: Progress) -> Iterable[Block]:
    yield summary(progress)
    yield from details(progress)


def summary(progress: Progress) -> str:
    if not progress.applied:
        return f"{progress.object}: timed out before the control plane had evaluated it"
    if progress.total == 0:
        return f"{progress.object}: no connected sidecar uses it"
    text = f"{progress.object}: acknowledged by {progress.acked} of {progress.total} sidecars"
    return text if progress.done else f"{text}; timed out"


def details(progress: Progress) -> Iterable[str]:
    """Who has not acknowledged, who rejected what, and the object's own problems."""
    if progress.waiting:
        yield f"{amount(len(progress.waiting), 'sidecar')} not acknowledged:"
        yield from (f"  {pod}" for pod in progress.waiting)
    for each in progress.rejected:
        yield f"rejected by {each.pod}: {each.type} {each.name}: {each.reason}"
    yield from problem_lines(progress.problems)
