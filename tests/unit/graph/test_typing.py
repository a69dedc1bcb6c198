"""What mypy sees of queries: values, rows and buckets are typed, wrong arguments are errors."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SNIPPET = """
from controlplane.graph import Graph, Overlay, Reader
from tests.unit.graph.shop import ROUTES_OF, SERVICES, WEB, cluster, routes

def reads(q: Reader, graph: Graph, overlay: Overlay) -> None:
    reveal_type(cluster(q, WEB))
    reveal_type(q.get(SERVICES, WEB))
    reveal_type(q.find(ROUTES_OF, WEB))
    reveal_type(graph.read(routes, WEB))
    reveal_type(graph.subscribe("s", cluster, WEB).value)
    reveal_type(overlay.read(cluster, WEB))
    q.get(SERVICES, "web")
    q.find(ROUTES_OF, 1)
    cluster(q)
    cluster(q, 1)
    graph.read(cluster)
    graph.subscribe("s", cluster, WEB, "more")
"""

EXPECTED = [
    (6, 'note: Revealed type is "bytes | None"'),
    (7, 'note: Revealed type is "tests.unit.graph.shop.Service | None"'),
    (8, 'note: Revealed type is "tuple[tests.unit.graph.shop.Route, ...]"'),
    (9, 'note: Revealed type is "bytes"'),
    (10, 'note: Revealed type is "bytes | None"'),
    (11, 'note: Revealed type is "bytes | None"'),
    (12, "error: Cannot infer value of type parameter"),
    (13, "error: Cannot infer value of type parameter"),
    (14, "[call-arg]"),
    (15, "[arg-type]"),
    (16, "[call-arg]"),
    (17, "[call-arg]"),
]


def test_queries_are_typed(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET, encoding="utf-8")
    command = (sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"))
    options = ("--cache-dir", str(tmp_path / "cache"), "--follow-imports=silent", "--no-pretty")
    done = subprocess.run(
        [*command, *options, str(snippet)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    found = [line for line in done.stdout.splitlines() if "snippet.py:" in line]
    for number, text in EXPECTED:
        lines = [line for line in found if f"snippet.py:{number}:" in line]
        assert any(text in line for line in lines), (number, text, done.stdout)
