"""The repository's own rules: sizes, names, exact versions, nothing of any one machine."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("xds", "controlplane", "sidecar")
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


def tracked() -> list[Path]:
    """Files that belong to the repository: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def sources() -> list[Path]:
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in SOURCE_ROOTS
    ]


def test_no_source_file_is_over_the_limit() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text().splitlines())) > MAX_FILE_LINES
    }
    assert long == {}


def test_no_function_is_over_the_limit() -> None:
    long = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {lines}")
    assert long == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_room_without_a_name_of_its_own() -> None:
    vague = re.compile(r"(^|/)(utils?|helpers?|common|manager|misc)(\.py|/)")
    assert [str(p) for p in sources() if vague.search(str(p.relative_to(ROOT)))] == []


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("notes to oneself", r"\b(TODO|FIXME|XXX|HACK)\b"),
        ("skipped tests", r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)\b"),
        ("machine paths", r"(?<![\w.])/(work|root|home/\w+)/"),
        ("patched modules", r"unittest\.mock|MagicMock|mocker\."),
    ],
)
def test_none_of(what: str, pattern: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix in (".py", ".md", ".toml", ".yaml", ".yml", ".sh") or path.name == "Makefile"
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert found == [], what


def test_constraints_are_exact_and_name_no_registry() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    exact = re.compile(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!]+( ; .+)?$")
    assert [line for line in pins if not exact.match(line)] == []
    assert "://" not in "\n".join(lines)
