"""`meshctl`: the commands and how they are grouped. Each stands in a file of its own.

A call builds the one command that it names, so that it need not import the rest: whoever types at
3 a.m. waits for Python as little as can be. Help and completion build all of them.

Exit codes: 0 ok, 1 problems found or the command failed, 2 wrong usage, 3 rolled back, 4 timed out,
5 something would change.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup

from controlplane.meshctl.output import print_error
from controlplane.meshctl.trouble import Trouble

HELP = """Look into a Plait mesh and change it.

Commands speak to the control plane through the socket in its state directory: --state or
PLAIT_STATE.
Names are written TYPE/NAME for objects and POD or POD.NAMESPACE for sidecars.
"""

CONTEXT = {"help_option_names": ["-h", "--help"]}


class ListByDefault(TyperGroup):
    """A group whose command ``list`` may be left out: ``meshctl certs web.shop``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["list", *args])


def _group(name: str, help_text: str, kind: type[TyperGroup] = TyperGroup) -> typer.Typer:
    return typer.Typer(
        name=name,
        help=help_text,
        cls=kind,
        no_args_is_help=kind is TyperGroup,
        rich_markup_mode="rich",
        context_settings=CONTEXT,
    )


def _module(name: str) -> ModuleType:
    return import_module(f"controlplane.meshctl.{name}")


def _single(name: str, module: str, run: str = "run", text: str = "HELP") -> "Adder":
    """A command of its own."""

    def add(app: typer.Typer) -> None:
        found = _module(module)
        app.command(name, help=getattr(found, text))(getattr(found, run))

    return add


def _proxy(app: typer.Typer) -> None:
    proxies = _group("proxy", "The sidecars: what they hold, and how they are started.")
    _single("list", "proxy", "run_list", "LIST_HELP")(proxies)
    _single("config", "proxy", "run_config", "CONFIG_HELP")(proxies)
    _single("evict", "proxy_evict")(proxies)
    _single("bootstrap", "proxy_files", "run_bootstrap", "FILES_HELP")(proxies)
    _single("token", "proxy_files", "run_token", "RENEWAL_HELP")(proxies)
    _single("run", "proxy_run")(proxies)
    app.add_typer(proxies)


def _shift(app: typer.Typer) -> None:
    shifts = _group("traffic-shift", "How a Service's traffic is split over other Services.")
    _single("set", "shift", "run_set", "SET_HELP")(shifts)
    _single("get", "shift", "run_get", "GET_HELP")(shifts)
    app.add_typer(shifts)


def _certs(app: typer.Typer) -> None:
    certificates = _group("certs", _module("certs").HELP, ListByDefault)
    _single("list", "certs", "run_list")(certificates)
    _single("rotate", "certs", "run_rotate", "ROTATE_HELP")(certificates)
    app.add_typer(certificates)


Adder = Callable[[typer.Typer], None]
COMMANDS: dict[str, Adder] = {
    "status": _single("status", "status"),
    "proxy": _proxy,
    "why": _single("why", "why"),
    "simulate": _single("simulate", "simulate"),
    "validate": _single("validate", "validate"),
    "apply": _single("apply", "apply"),
    "delete": _single("delete", "apply", "run_delete", "DELETE_HELP"),
    "wait": _single("wait", "wait"),
    "traffic-shift": _shift,
    "certs": _certs,
    "version": _single("version", "version"),
}
"""In the order of the help."""


def _meshctl() -> None:
    """Keeps a command a subcommand when it is the only one that was built."""


def build(*names: str) -> typer.Typer:
    """The application with these commands, or with all."""
    app = typer.Typer(
        name="meshctl",
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
    )
    app.callback(help=HELP)(_meshctl)
    for name in names or COMMANDS:
        COMMANDS[name](app)
    return app


def _named(arguments: Sequence[str]) -> tuple[str, ...]:
    """The command that a call names, when it can be built alone."""
    completing = any(name.startswith("_MESHCTL") for name in os.environ)
    if not completing and arguments and arguments[0] in COMMANDS:
        return (arguments[0],)
    return ()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the command `meshctl`; exits."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        build(*_named(given))(args=given, prog_name="meshctl")
    except Trouble as trouble:
        print_error(trouble.text())
        sys.exit(trouble.code)
