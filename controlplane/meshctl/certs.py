"""`meshctl certs`: the workload certificates at the sidecars, and their rotation."""

from collections.abc import Iterable
from contextlib import aclosing
from typing import Annotated

import typer

from controlplane.app.views import Certificates, Rotation
from controlplane.meshctl import names, options
from controlplane.meshctl.client import Client, call
from controlplane.meshctl.output import Block, Output, Table, amount, print_result, yes
from controlplane.meshctl.trouble import Exit, Trouble, misused
from controlplane.meshctl.waiting import Bar, follow, seconds

HELP = """Show the workload certificates that sidecars hold.

[bold]Examples[/bold]

  meshctl certs

  meshctl certs web.shop -o json

  meshctl certs rotate --all
"""

ROTATE_HELP = """Issue new certificates now, for one sidecar or for all, and wait for their ACKs.

Connections stay up; new ones use the new certificate. Exit code 4 when time is up.

[bold]Examples[/bold]

  meshctl certs rotate web.shop

  meshctl certs rotate --all --timeout 30s
"""

SomePod = Annotated[
    str | None,
    typer.Argument(
        metavar="[POD]", help="POD or POD.NAMESPACE.", autocompletion=options.complete_pod
    ),
]


def run_list(
    pod: SomePod = None,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    where, name = names.pod_name(pod, namespace) if pod else (None, None)
    found = call(
        state, lambda client: client.get(Certificates, "/v1/certs", namespace=where, pod=name)
    )
    if namespace is not None and not pod:
        ending = f".{namespace}"
        kept = tuple(each for each in found.certificates if each.pod.endswith(ending))
        found = Certificates(found.authority, kept)
    print_result(found, output, list_blocks)


def run_rotate(
    pod: SomePod = None,
    everyone: Annotated[bool, typer.Option("--all", help="All connected sidecars.")] = False,
    timeout: options.Timeout = "30s",
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    if bool(pod) == everyone:
        raise misused("name one pod, or all", "Write meshctl certs rotate POD, or --all")
    where, name = names.pod_name(pod, namespace) if pod else (None, None)
    limit = seconds(timeout)

    async def rotate(client: Client) -> tuple[Rotation | None, bool]:
        with Bar("certificates") as bar:

            def show(rotation: Rotation) -> None:
                waiting = [each.pod for each in rotation.rotated if not each.acked]
                total = len(rotation.rotated)
                bar.update(total - len(waiting), total, waiting)

            answers = client.follow(Rotation, "/v1/certs/rotate", "POST", namespace=where, pod=name)
            async with aclosing(answers):
                return await follow(answers, limit, show)

    rotation, done = call(state, rotate)
    if rotation is None:
        raise Trouble("timed out before the control plane had answered", code=Exit.TIMED_OUT)
    print_result(rotation, output, rotate_blocks)
    raise typer.Exit(Exit.OK if done else Exit.TIMED_OUT)


def list_blocks(found: Certificates) -> Iterable[Block]:
    authority = found.authority
    yield (
        f"trust domain {authority.trust_domain}, issuer {authority.issuer},"
        f" until {authority.not_after}"
    )
    yield ""
    yield Table(
        ("POD", "SPIFFE ID", "SERIAL", "NOT BEFORE", "NOT AFTER", "RENEWS", "ACKED"),
        tuple(
            (
                each.pod,
                each.spiffe_id,
                each.serial,
                each.not_before,
                each.not_after,
                each.renews,
                yes(each.acked),
            )
            for each in found.certificates
        ),
        "no sidecar holds a certificate",
    )


def rotate_blocks(rotation: Rotation) -> Iterable[Block]:
    yield Table(
        ("POD", "OLD SERIAL", "NEW SERIAL", "ACKED"),
        tuple((each.pod, each.old, each.new, yes(each.acked)) for each in rotation.rotated),
        "no sidecar is connected",
    )
    waiting = [each.pod for each in rotation.rotated if not each.acked]
    if waiting:
        yield f"timed out; {amount(len(waiting), 'sidecar')} not acknowledged: {', '.join(waiting)}"
