"""`meshctl proxy list` and `meshctl proxy config`: what each sidecar was sent and holds.

The state of a resource is what the sidecar acknowledged or refused, never what it ought to hold.
"""

import json
from collections.abc import Iterable
from typing import Annotated

import typer

from controlplane.app.views import Delivery, Proxies, ProxyConfig, ProxySummary, ResourceView
from controlplane.meshctl import names, options
from controlplane.meshctl.client import call, proxy_path
from controlplane.meshctl.output import (
    Block,
    Output,
    Table,
    WideOutput,
    amount,
    print_result,
    yes,
)
from controlplane.meshctl.trouble import Exit

SERIAL = 10
"""Digits of a certificate's number that are printed whole."""

LIST_HELP = """List the sidecars, and pods whose sidecar is not connected.

PROMOTED counts the destinations that a sidecar holds and, behind the stroke, those that its
workload has learnt; ASKED the names it asked for since it started. MEMORY is what Envoy has
allocated, ACKED how long ago it last acknowledged anything, CERT how much longer its certificate
is valid.

[bold]Examples[/bold]

  meshctl proxy list

  meshctl proxy list -o wide

  meshctl proxy list -n shop -o json
"""

CONFIG_HELP = """Show the resources of one sidecar: asked, sent, acknowledged or rejected.

KIND is listeners, routes, clusters, endpoints or secrets; without it all are shown. A version in
column ACKED is one that Envoy said it accepted. Secrets show their version only.

[bold]Examples[/bold]

  meshctl proxy config web.shop

  meshctl proxy config web.shop clusters --body

  meshctl proxy config web -n shop -o json
"""

Kind = Annotated[
    str | None,
    typer.Argument(metavar="[KIND]", help="listeners, routes, clusters, endpoints or secrets."),
]
Body = Annotated[
    bool, typer.Option("--body", help="Also print the content of acknowledged resources.")
]


def run_list(
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.WideFormat = WideOutput.TABLE,
) -> None:
    found = call(state, lambda client: client.get(Proxies, "/v1/proxies"))
    if namespace is not None:
        ending = f".{namespace}"
        found = Proxies(tuple(each for each in found.proxies if each.pod.endswith(ending)))
    wide = output is WideOutput.WIDE
    print_result(found, output.form, lambda shown: list_blocks(shown, wide=wide))


def run_config(
    pod: options.Pod,
    kind: Kind = None,
    body: Body = False,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    short = names.resource_type(kind) if kind else None
    path = proxy_path(*names.pod_name(pod, namespace))
    wanted = "true" if body or output is not Output.TABLE else None
    config = call(state, lambda client: client.get(ProxyConfig, path, bodies=wanted))
    if short:
        kept = tuple(each for each in config.resources if each.type == short)
        config = ProxyConfig(config.proxy, kept)
    print_result(config, output, lambda shown: config_blocks(shown, body=body))
    rejected = any(each.state is Delivery.REJECTED for each in config.resources)
    raise typer.Exit(Exit.PROBLEMS if rejected else Exit.OK)


def list_blocks(found: Proxies, *, wide: bool = False) -> Iterable[Block]:
    columns = _WIDE if wide else _NARROW
    rows = tuple(_wide(each) if wide else _narrow(each) for each in found.proxies)
    yield Table(columns, rows, "no sidecars", gap=2)
    for each in found.proxies:
        if each.exhausted:
            yield ""
            yield (
                f"{each.pod} has asked for {each.asked:,} names and keeps every destination it"
                " has. Restart it, and see who asks: meshctl proxy config"
            )


# Pods of up to 17 characters, with the namespace, fit into a terminal of 80 columns.
_NARROW = ("POD", "CAPTURE", "STATE", "ACKED", "PROMOTED", "ASKED", "MEMORY", "CERT")
_WIDE = (
    *("POD", "WORKLOAD", "CAPTURE", "STATE", "ACKED", "LAST ACK", "LEARNT", "PROMOTED"),
    *("ASKED", "MEMORY", "CERTIFICATE", "UNTIL"),
)


def _narrow(each: ProxySummary) -> tuple[str, ...]:
    if not each.connected:
        return (each.pod, "-", "disconnected", *"-----")
    left = each.not_after_in
    return (
        each.pod,
        each.capture,
        _state(each),
        _ago(each),
        f"{each.promoted}/{each.learnt}",
        str(each.asked),
        _memory(each),
        "-" if left is None else _age(left) if left > 0 else "ended",
    )


def _wide(each: ProxySummary) -> tuple[str, ...]:
    if not each.connected:
        return (each.pod, each.workload, "-", "disconnected", *"--------")
    return (
        each.pod,
        each.workload,
        each.capture,
        _state(each),
        f"{each.acked}/{each.resources}",
        _ago(each),
        str(each.learnt),
        str(each.promoted),
        str(each.asked),
        _memory(each),
        f"{each.serial[:8]}…" if len(each.serial) > SERIAL else each.serial or "-",
        each.not_after or "-",
    )


def _state(each: ProxySummary) -> str:
    return "rejecting" if each.rejected else "waiting" if each.waiting else "current"


def _ago(each: ProxySummary) -> str:
    return "-" if each.acked_ago is None else f"{_age(each.acked_ago)} ago"


def _memory(each: ProxySummary) -> str:
    return "-" if each.memory is None else f"{each.memory / 1e6:.1f} MB"


def _age(seconds: float) -> str:
    """``7s``, ``7m``, ``7h`` or ``7d``."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def config_blocks(config: ProxyConfig, *, body: bool) -> Iterable[Block]:
    proxy = config.proxy
    yield f"{proxy.pod}   workload {proxy.workload}   node {proxy.node}   since {proxy.since}"
    yield ""
    yield Table(
        ("TYPE", "NAME", "STATE", "ASKED", "SENT", "ACKED"),
        tuple(
            (
                each.type,
                each.name,
                each.state.value,
                yes(each.asked),
                each.sent or "-",
                each.acked or "-",
            )
            for each in config.resources
        ),
        "no resources",
    )
    rejected = [each for each in config.resources if each.state is Delivery.REJECTED]
    if rejected:
        yield ""
        yield f"{amount(len(rejected), 'resource')} rejected; the last good version stays in use:"
        yield from (_rejection(each) for each in rejected)
    if body:
        for each in config.resources:
            if each.body is not None:
                yield f"\n# {each.type} {each.name} {each.acked}"
                yield json.dumps(each.body, indent=2, ensure_ascii=False)


def _rejection(resource: ResourceView) -> str:
    made_from = ", ".join(str(ref) for ref in resource.objects)
    return f"  {resource.type} {resource.name}: {resource.nack}" + (
        f" (made from {made_from})" if made_from else ""
    )
