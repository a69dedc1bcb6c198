"""`meshctl traffic-shift`: set and show how a Service's traffic is split over other Services."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from controlplane.api.base import GROUP, VERSION
from controlplane.api.decode import DEFAULT_NAMESPACE
from controlplane.api.explain import nearest
from controlplane.api.problem import ObjectRef, Problem, Severity, Source
from controlplane.app.views import Manifest, Manifests, Progress
from controlplane.meshctl import options, wait
from controlplane.meshctl.apply import acknowledged, apply, took
from controlplane.meshctl.client import Client, call
from controlplane.meshctl.documents import Document
from controlplane.meshctl.output import Block, Output, Table, print_result, problem_lines
from controlplane.meshctl.trouble import Exit, Trouble, misused
from controlplane.meshctl.waiting import seconds

SET_HELP = """Split a Service's traffic over Services of the same namespace, by weight.

Creates or changes the TrafficShift object of the Service's name. With --wait it returns when the
last sidecar has acknowledged, and prints how long that took; exit code 4 when time is up.

[bold]Examples[/bold]

  meshctl traffic-shift set reviews reviews-v1=80 reviews-v2=20 --wait

  meshctl traffic-shift set reviews reviews-v2=1 -n shop
"""

GET_HELP = """Show the traffic shifts, or that of one Service.

[bold]Examples[/bold]

  meshctl traffic-shift get

  meshctl traffic-shift get reviews -n shop -o yaml
"""

KIND = "TrafficShift"
MAX_WEIGHT = 1_000_000


@dataclass(frozen=True, slots=True)
class Part:
    service: str
    weight: int
    percent: float


@dataclass(frozen=True, slots=True)
class Shift:
    service: str
    namespace: str
    parts: tuple[Part, ...]
    source: Source | None = None
    """The user's file; absent for what meshctl stored."""


@dataclass(frozen=True, slots=True)
class Shifts:
    shifts: tuple[Shift, ...]


@dataclass(frozen=True, slots=True)
class SetResult:
    shift: Shift
    action: str
    problems: tuple[Problem, ...] = ()
    progress: Progress | None = None
    seconds: float | None = None
    """From the command to the last acknowledgement."""


Service = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE",
        help="The Service that is split.",
        autocompletion=options.complete_service,
    ),
]


def run_set(
    service: Service,
    weights: Annotated[
        list[str],
        typer.Argument(
            metavar="SERVICE=WEIGHT...",
            help="Shares; they need not sum up to 100.",
            autocompletion=options.complete_service,
        ),
    ],
    wait_for: Annotated[
        bool, typer.Option("--wait", help="Wait for the sidecars' acknowledgement.")
    ] = False,
    timeout: options.Timeout = "60s",
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    started = time.monotonic()
    limit = seconds(timeout)
    shift = Shift(service, namespace or DEFAULT_NAMESPACE, parse_weights(weights))

    async def change(client: Client) -> SetResult:
        await _check_services(client, shift)
        ref = ObjectRef(KIND, shift.namespace, service)
        typed = Document(manifest(shift), ref, lambda _: Source("command line", 1))
        applied = await apply(client, [typed])
        if not applied.objects:
            return SetResult(shift, "refused", applied.problems)
        action = applied.objects[0].action.value
        if not wait_for:
            return SetResult(shift, action, applied.problems)
        (progress,) = await acknowledged(client, applied, started + limit)
        seen = took([progress], started)
        return SetResult(shift, action, applied.problems, progress, seen)

    result = call(state, change)
    print_result(result, output, set_blocks)
    raise typer.Exit(_exit_code(result))


def run_get(
    service: Annotated[
        str | None,
        typer.Argument(
            metavar="[SERVICE]",
            help="Only this Service's.",
            autocompletion=options.complete_service,
        ),
    ] = None,
    namespace: options.Namespace = None,
    state: options.State = None,
    output: options.Format = Output.TABLE,
) -> None:
    where = (namespace or DEFAULT_NAMESPACE) if service else namespace
    found = call(
        state,
        lambda client: client.get(Manifests, f"/v1/objects/{KIND}", namespace=where),
    )
    shifts = tuple(shift_of(item) for item in found.items)
    if service:
        shifts = tuple(each for each in shifts if each.service == service)
        if not shifts:
            raise Trouble(
                f"no traffic shift of Service {where}/{service}",
                "Make one with meshctl traffic-shift set",
            )
    print_result(Shifts(shifts), output, get_blocks)


def parse_weights(texts: Sequence[str]) -> tuple[Part, ...]:
    """Parse ``NAME=WEIGHT`` each. Raises Trouble (usage)."""
    pairs: dict[str, int] = {}
    for text in texts:
        name, equals, weight = text.partition("=")
        if not (name and equals and weight.isascii() and weight.isdecimal()):
            raise misused(f"{text!r} is no weight", "Write SERVICE=WEIGHT, for example web-v2=20")
        if int(weight) > MAX_WEIGHT:
            raise misused(f"weight {weight} is too large", f"Weights are 0 to {MAX_WEIGHT}")
        if name in pairs:
            raise misused(f"{name} has two weights", "Name each Service once")
        pairs[name] = int(weight)
    if not any(pairs.values()):
        raise misused("all weights are zero: nothing would be served", "Give one a weight above 0")
    return _parts(pairs)


def _parts(weights: dict[str, int]) -> tuple[Part, ...]:
    total = sum(weights.values()) or 1
    return tuple(
        Part(name, weight, round(100 * weight / total, 2)) for name, weight in weights.items()
    )


def manifest(shift: Shift) -> dict[str, Any]:
    """The TrafficShift object of a shift."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": shift.service, "namespace": shift.namespace},
        "spec": {
            "targetRef": {"kind": "Service", "name": shift.service},
            "weights": [{"name": part.service, "weight": part.weight} for part in shift.parts],
        },
    }


def shift_of(item: Manifest) -> Shift:
    spec = item.manifest["spec"]
    weights = {part["name"]: int(part["weight"]) for part in spec["weights"]}
    return Shift(spec["targetRef"]["name"], item.object.namespace, _parts(weights), item.source)


async def _check_services(client: Client, shift: Shift) -> None:
    found = await client.get(Manifests, "/v1/objects/Service")
    places = [(item.object.namespace, item.object.name) for item in found.items]
    here = {name for namespace, name in places if namespace == shift.namespace}
    for name in (shift.service, *(part.service for part in shift.parts)):
        if name in here:
            continue
        elsewhere = sorted({namespace for namespace, other in places if other == name})
        close = nearest(name, here)
        if elsewhere:
            remedy = f"It is in namespace {', '.join(elsewhere)}: add -n {elsewhere[0]}"
        elif close:
            remedy = f"Did you mean {close}?"
        else:
            known = ", ".join(sorted(here)) or "none"
            remedy = f"Services of namespace {shift.namespace}: {known}"
        raise Trouble(f"no Service {shift.namespace}/{name}", remedy)


def _exit_code(result: SetResult) -> Exit:
    if any(each.severity is Severity.ERROR for each in result.problems):
        return Exit.PROBLEMS
    return wait.exit_code(result.progress) if result.progress else Exit.OK


def _split(parts: Iterable[Part]) -> str:
    return ", ".join(f"{part.service} {part.percent:g} %" for part in parts)


def set_blocks(result: SetResult) -> Iterable[Block]:
    yield from problem_lines(result.problems)
    shift = result.shift
    yield f"{KIND} {shift.namespace}/{shift.service} {result.action}: {_split(shift.parts)}"
    if result.progress:
        yield from wait.blocks(result.progress)
    if result.seconds is not None:
        yield f"{result.seconds:.3f} s from the command to the last acknowledgement"


def get_blocks(shifts: Shifts) -> Iterable[Block]:
    yield Table(
        ("NAMESPACE", "SERVICE", "SPLIT", "SOURCE"),
        tuple(
            (
                each.namespace,
                each.service,
                _split(each.parts),
                str(each.source) if each.source else "meshctl",
            )
            for each in shifts.shifts
        ),
        "no traffic shifts",
    )
