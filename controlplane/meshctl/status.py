"""`meshctl status`: is the control plane well, are the sidecars current, what is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass

import typer

from controlplane.api.problem import Severity
from controlplane.app.views import Problems, Status
from controlplane.meshctl import options
from controlplane.meshctl.client import Client, call
from controlplane.meshctl.output import (
    Block,
    Output,
    Table,
    amount,
    print_result,
    problem_lines,
    yes,
)
from controlplane.meshctl.trouble import Exit

HELP = """Show the control plane, its sources, the sidecars, and all problems of objects.

Exit code 1 when it is not ready, a sidecar rejects something, or an object has an error.

[bold]Examples[/bold]

  meshctl status

  meshctl status -o json
"""


@dataclass(frozen=True, slots=True)
class Report:
    status: Status
    problems: Problems


def run(state: options.State = None, output: options.Format = Output.TABLE) -> None:
    async def ask(client: Client) -> Report:
        status = await client.get(Status, "/v1/status")
        return Report(status, await client.get(Problems, "/v1/problems"))

    report = call(state, ask)
    print_result(report, output, blocks)
    bad = (
        not report.status.readiness.ready
        or report.status.sidecars.rejecting
        or report.problems.count(Severity.ERROR)
    )
    raise typer.Exit(Exit.PROBLEMS if bad else Exit.OK)


def blocks(report: Report) -> Iterable[Block]:
    status = report.status
    yield f"control plane   {status.version}, process {status.pid}, since {status.started}"
    yield f"state           {status.state}"
    yield f"sidecars at     {status.listen}"
    yield f"metrics at      {status.metrics or 'off'}"
    ready = "yes" if status.readiness.ready else "NO: " + "; ".join(status.readiness.reasons)
    yield f"ready           {ready}"
    yield f"revision        {status.revision}, {amount(status.pending, 'value')} pending"
    authority = status.authority
    if authority:
        leaves = amount(authority.leaves, "leaf", "leaves")
        yield (
            f"authority       {authority.trust_domain}, issuer {authority.issuer},"
            f" until {authority.not_after}, {leaves}"
        )
    counts = status.sidecars
    yield (
        f"sidecars        {counts.connected} connected: {counts.current} current,"
        f" {counts.waiting} waiting, {counts.rejecting} rejecting"
    )
    yield ""
    yield Table(
        ("SOURCE", "LOCATION", "SYNCED", "OBJECTS", "DETAIL"),
        tuple(
            (each.name, each.location, yes(each.synced), str(each.objects), each.detail)
            for each in status.sources
        ),
        "no sources",
    )
    yield ""
    yield Table(
        ("KIND", "OBJECTS"),
        tuple((each.name, str(each.count)) for each in status.objects),
        "no objects",
    )
    yield ""
    problems = report.problems.problems
    yield (
        f"{amount(report.problems.count(Severity.ERROR), 'error')},"
        f" {amount(report.problems.count(Severity.WARNING), 'warning')}"
    )
    yield from problem_lines(problems)
