"""`meshctl simulate`: what a request would meet, without sending it."""

from collections.abc import Iterable
from typing import Annotated

import typer

from controlplane.api.problem import Severity
from controlplane.app.views import Simulated
from controlplane.meshctl import names, options
from controlplane.meshctl.client import call
from controlplane.meshctl.output import Block, Output, Table, print_result, problem_lines
from controlplane.meshctl.trouble import Exit, misused

HELP = """Show route, split, policies, retries, faults and mTLS that a request would meet.

SRC is a pod, DST what the application would call: a Service name with or without namespace and
port. The answer comes from the configuration that is served, not from a sidecar; nothing is sent.
PROMOTED is what the sidecar gets for the destination when it is used, HELD whether it has it now.

[bold]Examples[/bold]

  meshctl simulate web.shop reviews:9080

  meshctl simulate web.shop reviews.shop:9080 GET /reviews/1 -H 'x-user: ann'
"""


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC", help="POD or POD.NAMESPACE.", autocompletion=options.complete_pod
        ),
    ],
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DST", help="Authority of the request.", autocompletion=options.complete_service
        ),
    ],
    method: Annotated[str, typer.Argument(metavar="[METHOD]", show_default="GET")] = "GET",
    path: Annotated[str, typer.Argument(metavar="[PATH]", show_default="/")] = "/",
    headers: Annotated[
        list[str] | None, typer.Option("-H", "--header", help="'name: value', any number.")
    ] = None,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    where, pod = names.pod_name(source, namespace)
    if not destination.strip():
        raise misused("DST is empty", "Write what the application would call, such as reviews:9080")
    body = {
        "namespace": where,
        "pod": pod,
        "authority": destination,
        "method": method.upper(),
        "path": path if path.startswith("/") else f"/{path}",
        "headers": [list(names.header(each)) for each in headers or ()],
    }
    result = call(state, lambda client: client.post(Simulated, "/v1/simulate", body))
    print_result(result, output, blocks)
    bad = any(each.severity is Severity.ERROR for each in result.problems)
    raise typer.Exit(Exit.PROBLEMS if bad else Exit.OK)


def blocks(result: Simulated) -> Iterable[Block]:
    yield f"{result.method} http://{result.authority}{result.path}   from {result.source}"
    outcome = result.outcome + (f" {result.status}" if result.status else "")
    facts = (
        ("outcome", outcome),
        ("service", result.service),
        ("route", result.route),
        ("rule", result.rule),
        ("policies", ", ".join(result.policies)),
        ("timeout", result.timeout),
        ("retries", result.retries),
        ("fault", result.fault),
        ("promoted", result.promotion),
        ("held", result.held),
    )
    for name, value in facts:
        if value:
            yield f"  {name:<9} {value}"
    if result.split:
        yield ""
        yield Table(
            ("BACKEND", "CLUSTER", "WEIGHT", "SHARE", "ENDPOINTS", "TRANSPORT"),
            tuple(
                (
                    share.service,
                    share.cluster,
                    str(share.weight),
                    f"{share.percent:g} %",
                    str(share.endpoints),
                    share.mtls,
                )
                for share in result.split
            ),
        )
    if result.lines:
        yield ""
        yield from (f"{n}. {line}" for n, line in enumerate(result.lines, 1))
    yield from problem_lines(result.problems)
