"""What the documents say exists: metrics, commands with their options, make targets, links, and
manifests that are accepted."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from controlplane.api.problem import Severity
from controlplane.app.cli import app as plait
from controlplane.meshctl.cli import ListByDefault, build
from controlplane.sources.manifests import load
from controlplane.telemetry import metrics
from controlplane.telemetry.metrics import Metric

ROOT = Path(__file__).parents[2]
UNITS = {"1": "", "s": "_seconds", "By": "_bytes"}
SUFFIXES = ("", "_total", "_bucket", "_count", "_sum")


def documents() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in sorted(listed.stdout.splitlines()) if (ROOT / name).is_file()]


DOCUMENTS = documents()
each_document = pytest.mark.parametrize(
    "page", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)


def fenced(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of each fenced block."""
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S):
        yield match[1], match[2]


def code(page: Path) -> list[str]:
    """Every line of code: fenced, indented, or in backticks."""
    lines = [line for _, block in fenced(page) for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    lines += [line.strip() for line in prose.splitlines() if line.startswith("    ")]
    return lines + re.findall(r"`([^`\n]+)`", prose)


def calls(page: Path, program: str) -> list[list[str]]:
    """The arguments of each call of ``program`` in code, up to a pipe, comment or ``--``."""
    found = []
    for line in code(page):
        for part in re.split(r"\s#|[|;&>]", line.replace("\\|", "/")):
            match = re.match(rf"\s*(?:\w+=\S+ )*{program}((?:\s.*)?)$", part)
            if match:
                words = re.findall(r"'[^']*'?|\"[^\"]*\"?|\S+", match[1])
                found.append(words[: words.index("--")] if "--" in words else words)
    return found


# --- metrics ------------------------------------------------------------------------------------


def exposed(metric: Metric) -> set[str]:
    """Names under which a metric may stand on the Prometheus page."""
    stem = metric.name.replace(".", "_")
    unit = UNITS[metric.unit]
    stem = stem if stem.endswith(unit) else stem + unit
    return {stem + suffix for suffix in SUFFIXES}


METRICS = [each for each in vars(metrics).values() if isinstance(each, Metric)]


def test_the_metrics_page_names_every_metric() -> None:
    listed = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.M))
    assert [each.name for each in METRICS if not exposed(each) & listed] == []


@each_document
def test_no_page_names_a_metric_that_is_not_there(page: Path) -> None:
    known = set().union(*map(exposed, METRICS))
    named = {name for line in code(page) for name in re.findall(r"\bplait_[a-z_]+\b", line)}
    assert named - known == set()


# --- commands -----------------------------------------------------------------------------------


def wrong(command: TyperGroup | TyperCommand, words: list[str]) -> str:
    """What is wrong with a call as documents write it; empty when nothing is.

    ``list|config`` stands for both; a name of a group alone is fine in prose.
    """
    path = command.name or ""
    while isinstance(command, TyperGroup):
        words = [word for word in words if word != "..."]
        if not words or words[0] in ("--help", "-h"):
            return ""
        named = words[0].split("/")
        unknown = [name for name in named if name not in command.commands]
        if unknown and isinstance(command, ListByDefault):
            named = ["list"]
        elif unknown:
            return f"{path}: no command {unknown[0]}"
        else:
            words = words[1:]
        found = command.commands[named[0]]
        assert isinstance(found, TyperGroup | TyperCommand)
        path, command = f"{path} {named[0]}", found
    options = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    return "".join(f"{path}: no option {name} " for name in sorted(given - options))


@each_document
@pytest.mark.parametrize(("program", "app"), [("meshctl", build()), ("plait", plait)])
def test_commands_and_options_exist(page: Path, program: str, app: object) -> None:
    root = get_command(app)  # type: ignore[arg-type]
    assert isinstance(root, TyperGroup)
    mistakes = [wrong(root, words) for words in calls(page, program)]
    assert [mistake for mistake in mistakes if mistake] == []


def test_a_mistake_in_a_command_is_found() -> None:
    root = get_command(build())
    assert isinstance(root, TyperGroup)
    assert wrong(root, ["stauts"]) == "meshctl: no command stauts"
    assert wrong(root, ["proxy", "lists"]) == "meshctl proxy: no command lists"
    assert wrong(root, ["status", "--problem"]) == "meshctl status: no option --problem "
    assert wrong(root, ["certs", "web.shop", "-o", "json"]) == ""


@each_document
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {words[0] for words in calls(page, "make") if words and re.match(r"[a-z]", words[0])}
    assert named - targets == set()


def test_contributing_names_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", text, re.M)) - {"help"}
    named = {words[0] for words in calls(ROOT / "CONTRIBUTING.md", "make") if words}
    assert targets - named == set()


# --- links and files ----------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Anchors of headings as Git forges make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@each_document
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.M | re.S)
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert dead == []


@each_document
def test_paths_that_are_named_exist(page: Path) -> None:
    folders = ("xds", "controlplane", "sidecar", "tests", "docs", "examples", "helm")
    pattern = rf"(?:{'|'.join(folders)})/[\w./-]+"
    named = {span for line in code(page) for span in re.findall(rf"^{pattern}$", line)}
    made = (ROOT / ".gitignore").read_text().split()  # by runs: not there in a fresh clone
    named -= {path for path in named if f"{path.rstrip('/')}/" in made}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs/decisions"
    listed = (folder / "README.md").read_text()
    pages = sorted(folder.glob("[0-9]*.md"))
    assert [page.name for page in pages if f"({page.name})" not in listed] == []
    untitled = [
        page.name
        for number, page in enumerate(pages, 1)
        if not page.read_text().startswith(f"# {number}. ") or int(page.name[:4]) != number
    ]
    assert untitled == []


def test_the_image_is_made_of_files_that_exist() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copies = [shlex.split(line)[1:] for line in lines if line.startswith("COPY ")]
    copied = [path for words in copies if "--from" not in words[0] for path in words[:-1]]
    assert copied
    assert [path for path in copied if not (ROOT / path).exists()] == []
    let_in = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.M)
    assert set(copied) == set(let_in)


# --- manifests ----------------------------------------------------------------------------------


def manifests(page: Path) -> list[str]:
    """Manifests in fenced blocks: whole ones, and those that a shell reads from <<'MANIFESTS'."""
    found = [block for language, block in fenced(page) if language == "yaml"]
    for _, block in fenced(page):
        found += re.findall(r"<<'MANIFESTS'\n(.*?)^MANIFESTS$", block, re.M | re.S)
    return found


@each_document
def test_manifests_are_accepted(page: Path) -> None:
    loaded = [load(text, page.name) for text in manifests(page)]
    problems = [str(p) for each in loaded for p in each.problems]
    assert problems == []
    assert all(each.rows for each in loaded)


def test_a_mistake_in_a_manifest_is_found() -> None:
    text = (
        "kind: TrafficShift\napiVersion: mesh.plait.dev/v1alpha1\nmetadata: {name: a}\nspec: {}\n"
    )
    assert [p for p in load(text, "x").problems if p.severity is Severity.ERROR]
