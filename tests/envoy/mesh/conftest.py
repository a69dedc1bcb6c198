"""Every test here belongs to a mesh of its module, whose logs a failure shows."""

from collections.abc import Generator

import pytest

from tests.envoy.mesh.mesh import Mesh


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the ends of all logs of a failed test's mesh to its report, and keep its files."""
    report = yield
    if report.failed:
        for mesh in getattr(item, "funcargs", {}).values():
            if isinstance(mesh, Mesh):
                mesh.broken = True
                plait = mesh.plait.log
                if plait.exists():
                    report.sections.append((f"log {plait}", plait.read_text()[-4000:]))
                for sidecar in mesh.sidecars.values():
                    report.sections.append((f"log {sidecar.log}", sidecar.tail()))
    return report
