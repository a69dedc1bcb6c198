"""``python -m sidecar.redirect apply|remove|check|print``: redirection of this network namespace.

The exclusions are those of the pod annotations of the same names. Exit status: 0 done, 1 it could
not be done or is not in place, 2 the arguments say nothing that can be applied.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from sidecar.redirect import kernel
from sidecar.redirect.exclusions import ANNOTATIONS, PREFIX, Refused, plan_of
from sidecar.redirect.plan import RedirectPlan, nft

REFUSED: Final = 2
COMMANDS: Final = {
    "apply": "put the rules in place of any other plan's, and verify them",
    "remove": "remove the rules; fine where there are none",
    "check": "say whether exactly these rules are in place",
    "print": "print the rules as input of nft -f -",
}


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sidecar.redirect",
        description="Redirect the TCP of this network namespace to its sidecar (nftables).",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        if name == "remove":
            continue
        for annotation in ANNOTATIONS:
            command.add_argument(
                f"--{_option(annotation)}", default="", metavar="LIST", help=f"as {annotation}"
            )
        command.add_argument(
            "--address",
            action="append",
            metavar="IP",
            help="an address of the pod; default: those of this network namespace. Without an IPv6"
            " one, IPv6 TCP is rejected",
        )
    return parser.parse_args(words)


def _option(annotation: str) -> str:
    return f"exclude-{annotation.removeprefix(PREFIX)}"


def _plan(given: argparse.Namespace) -> RedirectPlan | Refused:
    lists = {name: getattr(given, _option(name).replace("-", "_")) for name in ANNOTATIONS}
    here = given.address if given.address is not None else kernel.addresses()
    return plan_of({name: text for name, text in lists.items() if text}, here)


def main(words: Sequence[str] | None = None) -> int:
    given = _arguments(words)
    try:
        if given.command == "remove":
            kernel.remove()
            return 0
        try:
            plan = _plan(given)
        except ValueError as error:  # an address that is none
            _tell(error)
            return REFUSED
        if isinstance(plan, Refused):
            for fault in plan.faults:
                _tell(fault)
            return REFUSED
        return _carry_out(given.command, plan)
    except kernel.RedirectFailed as error:
        _tell(error)
        return 1


def _tell(what: object) -> None:
    sys.stderr.write(f"redirect: {what}\n")


def _carry_out(command: str, plan: RedirectPlan) -> int:
    if command == "print":
        sys.stdout.write(nft(plan))
    elif command == "apply":
        kernel.apply(plan)
    else:
        wrong = kernel.differences(plan)
        for each in wrong:
            _tell(each)
        return 1 if wrong else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
