"""Slow serialisers of betterproto2 stay off the paths of Plait: `xds.wire` encodes.

``bytes(message)`` validates and walks a message again (45 to 180 times slower), and ``Any.pack``
and ``SerializeToString`` call it.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import controlplane
import xds.build
import xds.serve

PACKAGES = (xds.build, xds.serve, controlplane)
MESSAGES = ("envoy_data_plane", "betterproto2")


def sources() -> list[Path]:
    return sorted(
        path
        for package in PACKAGES
        for root in package.__path__
        for path in Path(root).rglob("*.py")
    )


def slow_calls(text: str) -> Iterator[str]:
    """Each slow call as ``line: call``. ``bytes(x)`` counts where messages can be met at all."""
    tree = ast.parse(text)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    met = any(name in ast.unparse(node) for node in imports for name in MESSAGES)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        slow = called.endswith((".SerializeToString", "Any.pack"))
        if slow or (called == "bytes" and node.args and met):
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_no_module_serialises_the_slow_way() -> None:
    found = {str(path): list(slow_calls(path.read_text())) for path in sources()}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("from envoy_data_plane.envoy.config.cluster.v3 import Cluster\nbytes(Cluster())", 1),
        ("message.SerializeToString()", 1),
        ("ProtoAny.pack(message)", 1),
        ("bytes(4)", 0),
        ("pack(message)", 0),
    ],
)
def test_the_rule_finds_what_it_looks_for(text: str, count: int) -> None:
    assert len(list(slow_calls(text))) == count
