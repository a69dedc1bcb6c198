"""Tests in network namespaces. `network`: one for a test alone, removed whatever happens."""

from collections.abc import Iterator

import pytest

from tests.envoy.mesh.conftest import pytest_runtest_makereport as pytest_runtest_makereport
from tests.envoy.netns.network import Network


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()
