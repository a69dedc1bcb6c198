"""One authority for all tests of a module, and a clock to move."""

from pathlib import Path

import pytest

from controlplane.identity.ca import Authority, load_or_create
from tests.fakes.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority(tmp_path: Path, clock: ManualClock) -> Authority:
    return load_or_create(tmp_path / "state" / "ca", clock.now())
