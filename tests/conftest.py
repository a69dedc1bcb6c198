"""Tests that need root: marker ``root``. Where they cannot run they count apart, as blocked.

A blocked test is neither passed nor failed: its line says ``blocked: needs root`` and the reason,
and the summary counts it. With ``CI=true`` in the environment it fails instead, because there
everything is meant to run.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Generator
from typing import Final

import pytest
from hypothesis import settings

# Absolute times say more about the machine than about the code. In CI a run is repeatable.
settings.register_profile("plait", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("plait")

BLOCKED: Final = "blocked: needs root"
PROGRAMS: Final = {"ip": "iproute2", "nft": "nftables", "setpriv": "util-linux"}
"""What the tests run, and the package that has it."""


class Blocked(Exception):
    """The reason why a test did not begin."""


@functools.cache
def lacking() -> str:
    """What this process lacks to make network namespaces; empty: nothing."""
    if os.geteuid() != 0:
        return f"this is uid {os.geteuid()}"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"no program {program}; install {package}"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return "" if made.returncode == 0 else "this root may not make network namespaces"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before any fixture: none may begin what it cannot do."""
    if item.get_closest_marker("root") is None or not lacking():
        return
    reason = f"{BLOCKED} ({lacking()})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    raise Blocked(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, Blocked):
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, line or 0, str(call.excinfo.value))
    return report


def _blocked(report: pytest.CollectReport | pytest.TestReport) -> bool:
    place = report.longrepr
    return report.skipped and isinstance(place, tuple) and BLOCKED in place[2]


def pytest_report_teststatus(
    report: pytest.CollectReport | pytest.TestReport,
) -> tuple[str, str, str] | None:
    if not _blocked(report):
        return None
    return "blocked", "b", BLOCKED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.stats.get("blocked", [])
    reasons = {report.longrepr[2] for report in reports}
    for reason in sorted(reasons):
        terminalreporter.write_line(f"{reason}: {len(reports)} tests did not run", yellow=True)
