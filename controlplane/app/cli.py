"""`plait`: the command that runs the control plane. It turns flags and PLAIT_* variables into
settings, calls the wiring, and turns what went wrong into one line with its remedy.

Exit codes: 0 stopped by a signal, 1 refused to start or failed, 2 wrong usage.
"""

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from controlplane.api.base import parse_duration
from controlplane.app.debounce import DebounceSettings
from controlplane.app.release import release
from controlplane.app.settings import (
    DEFAULT_LISTEN,
    DEFAULT_METRICS,
    Address,
    LogFormat,
    Logging,
    LogLevel,
    Settings,
    SourceKind,
    parse_address,
)
from controlplane.app.statedir import CannotStart, default_state
from controlplane.durable import StateError

SERVE_HELP = """Run the control plane.

[bold]Examples[/bold]

  plait serve --source files manifests/

  plait serve --source files manifests/ --state ./state --listen 127.0.0.1:25012

  PLAIT_LOG_FORMAT=json plait serve --source files /etc/plait/manifests
"""

app = typer.Typer(
    name="plait",
    help="Plait, a service mesh control plane for Envoy. Its state is read and changed with"
    " meshctl.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _plait() -> None:
    """Makes `serve` a subcommand although it is the main one."""


@app.command()
def version() -> None:
    """Print the version."""
    print(f"plait {release()}")


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _metrics_address(text: str) -> Address | None:
    return None if text == "off" else _address(text)


def _duration(text: str) -> timedelta:
    try:
        value = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    assert isinstance(value, timedelta)
    return value


def _interval(text: str) -> timedelta:
    value = _duration(text)
    if value < timedelta(milliseconds=1):
        raise typer.BadParameter("0s is no interval; write 10s, for example")
    return value


Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="Directory of manifests (multi-document YAML), read with its subdirectories and"
        " watched.",
        envvar="PLAIT_DIRECTORY",
        exists=True,
        file_okay=False,
        resolve_path=True,
    ),
]
Source = Annotated[SourceKind, typer.Option(help="Where objects come from.", envvar="PLAIT_SOURCE")]
State = Annotated[
    Path | None,
    typer.Option(
        help="State directory: certificate authority, token keys, what meshctl applied."
        " \\[default: $XDG_STATE_HOME/plait]",
        envvar="PLAIT_STATE",
        show_default=False,
        resolve_path=True,
    ),
]
Listen = Annotated[str, typer.Option(help="Where sidecars connect.", envvar="PLAIT_LISTEN")]
Metrics = Annotated[
    str,
    typer.Option(
        help="Where /healthz, /readyz and /metrics are served, or off.",
        envvar="PLAIT_METRICS_ADDRESS",
    ),
]
Cluster = Annotated[
    str,
    typer.Option(
        help="Name of this cluster, the first part of Envoy node ids.", envvar="PLAIT_CLUSTER"
    ),
]
Lifetime = Annotated[
    str, typer.Option(help="Lifetime of sidecar tokens.", envvar="PLAIT_TOKEN_LIFETIME")
]
EndpointQuiet = Annotated[
    str,
    typer.Option(help="How long endpoint changes are gathered.", envvar="PLAIT_ENDPOINT_DEBOUNCE"),
]
Quiet = Annotated[
    str,
    typer.Option(help="Quiet time after which other changes are pushed.", envvar="PLAIT_DEBOUNCE"),
]
Ceiling = Annotated[
    str,
    typer.Option(help="Longest wait for that quiet time.", envvar="PLAIT_DEBOUNCE_CEILING"),
]
Recheck = Annotated[
    str,
    typer.Option(
        help="Interval at which one remembered value is computed afresh and compared; 0s: never.",
        envvar="PLAIT_RECHECK",
    ),
]
Interval = Annotated[
    str,
    typer.Option(
        help="How often sidecars report which destinations they use; those started from now on.",
        envvar="PLAIT_REPORT_INTERVAL",
    ),
]
Level = Annotated[
    LogLevel, typer.Option(help="Least severity that is logged.", envvar="PLAIT_LOG_LEVEL")
]
Format = Annotated[
    LogFormat,
    typer.Option(help="auto: console on a terminal, else json.", envvar="PLAIT_LOG_FORMAT"),
]


@app.command(help=SERVE_HELP)
def serve(
    directory: Directory,
    source: Source = SourceKind.FILES,
    state: State = None,
    listen: Listen = str(DEFAULT_LISTEN),
    metrics_address: Metrics = str(DEFAULT_METRICS),
    cluster: Cluster = "local",
    token_lifetime: Lifetime = "24h",  # noqa: S107 - a duration
    endpoint_debounce: EndpointQuiet = "10ms",
    debounce: Quiet = "100ms",
    debounce_ceiling: Ceiling = "1s",
    recheck: Recheck = "1s",
    report_interval: Interval = "10s",
    log_level: Level = LogLevel.INFO,
    log_format: Format = LogFormat.AUTO,
) -> None:
    settings = Settings(
        directory=directory,
        state=state or default_state(),
        source=source,
        listen=_address(listen),
        metrics=_metrics_address(metrics_address),
        cluster=cluster,
        debounce=DebounceSettings(
            endpoint_quiet=_duration(endpoint_debounce).total_seconds(),
            routing_quiet=_duration(debounce).total_seconds(),
            ceiling=_duration(debounce_ceiling).total_seconds(),
        ),
        token_lifetime=_duration(token_lifetime),
        recheck=_duration(recheck),
        report_interval=_interval(report_interval),
        logging=Logging(log_level, log_format),
    )
    raise typer.Exit(run(settings))


def run(settings: Settings) -> int:
    """Serve until a signal. Returns the exit code; refusals are printed to standard error."""
    # gRPC's own log is no JSON, and what matters of it comes as exceptions.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Imported here, so that --help and completion stay quick.
    from controlplane.app import wiring
    from controlplane.telemetry.lag import WatchedLoop

    try:
        with asyncio.Runner(loop_factory=WatchedLoop) as runner:
            runner.run(wiring.serve(settings))
    except (CannotStart, StateError) as refused:
        return _refuse(refused)
    except ExceptionGroup as group:
        # Raised by a part that runs; anything else among them is a bug and shows itself as one.
        known, bugs = group.split((CannotStart, StateError))
        if known is None or bugs is not None:
            raise
        return _refuse(_first(known))
    return 0


def _first(group: ExceptionGroup[Exception]) -> CannotStart | StateError:
    error = group.exceptions[0]
    if isinstance(error, ExceptionGroup):
        return _first(error)
    assert isinstance(error, CannotStart | StateError)
    return error


def _refuse(error: CannotStart | StateError) -> int:
    if isinstance(error, StateError):
        message = f"{error.path}: {error.operation} failed: {error.reason}"
    else:
        message = str(error)
    print(f"plait: {message}\n       {error.remedy}.", file=sys.stderr)
    return 1


def main() -> None:
    """Entry point of the command `plait`."""
    app()
