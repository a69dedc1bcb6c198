"""Each test sees its own runs."""

import pytest

from tests.unit.graph import shop


@pytest.fixture(autouse=True)
def runs() -> list[str]:
    shop.RUNS.clear()
    return shop.RUNS
