"""Texts of manifests: cut into documents, decoded with lines, and judged offline."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.api.problem import ObjectRef, Problem, Reason, Severity
from controlplane.sources.claims import TREE, Claims, FileId
from controlplane.sources.lines import FieldLines
from controlplane.sources.manifests import load, read_text, split
from controlplane.sources.validate import validate, validate_texts
from controlplane.world.intake import Taken
from controlplane.world.rows import Key
from tests.unit.sources.recorder import service, shift, write


def test_split() -> None:
    text = (
        "# head\n---\na: 1\n---\n# only a comment\n--- \nb: |\n  ---\n  x\n---   # c\nc: 3\n...\n"
    )
    assert [(piece.line, piece.text.splitlines()[-1]) for piece in split(text)] == [
        (1, "a: 1"),
        (5, "  x"),
        (9, "..."),
    ]
    assert split("") == split("---\n---\n") == split("%YAML 1.1\n# x\n") == []
    assert [piece.line for piece in split("--- {a: 1}\n---\tb")] == [0, 1]
    assert len(split("a: --- b\n----\n")) == 1


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.text("ab-", min_size=1), st.text("-\n ab'")), min_size=1))
def test_splitting_loses_nothing(documents: list[dict[str, str]]) -> None:
    text = yaml.safe_dump_all(documents)
    assert [yaml.safe_load(piece.text) for piece in split(text)] == documents


def test_problems_carry_the_line_of_the_field() -> None:
    text = service("a") + "---\n" + shift("b", 1).replace("weight: 1", "weight: -1")
    loaded = load(text, "mesh.yaml")
    assert [str(problem) for problem in loaded.problems] == [
        "mesh.yaml:11: TrafficShift shop/b: spec.weights[0].weight: -1 is too small. Use at least 0"
    ]
    assert [taken.key for taken in loaded.rows] == [Key("default", "shop", "a")]


def test_a_dump_of_kubectl() -> None:
    items = [yaml.safe_load(service(name)) for name in "ab"]
    items[1]["spec"]["prots"] = []
    dump = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
    loaded = load(dump, "dump.yaml", cluster="east")
    assert [taken.key for taken in loaded.rows] == [
        Key("east", "shop", "a"),
        Key("east", "shop", "b"),
    ]
    line = dump.split("\n").index("    prots: []") + 1
    assert [str(problem) for problem in loaded.problems] == [
        f"dump.yaml:{line}: Service shop/b: spec.prots: unknown field; it is ignored. "
        "Did you mean ports?"
    ]


def test_documents_that_were_parsed_elsewhere() -> None:
    loaded = load([yaml.safe_load(service("a")), yaml.safe_load(shift("b", 0))])
    assert [taken.table.name for taken in loaded.rows] == ["Service"]
    assert [problem.source for problem in loaded.problems] == [None]
    assert load([]) == load("")


@pytest.mark.parametrize("text", ["just text", "- a\n- b\n", "3"])
def test_what_is_no_object(text: str) -> None:
    assert [str(problem) for problem in load(text, "a.yaml").problems] == [
        "a.yaml:1: File a.yaml: is not an object. Write a map with apiVersion, kind and metadata"
    ]


def test_validate_collects_everything_in_order() -> None:
    problems = validate_texts(
        {
            "b.yaml": service("a"),
            "a.yaml": "kind: [\n---\n" + service("a").replace("ports", "prots"),
        }
    )
    assert [str(problem) for problem in problems] == [
        "a.yaml:1: File a.yaml: is not YAML: did not find expected node content while parsing a "
        "flow node. Check the indentation, colons and quotes at this line",
        "a.yaml:6: Service shop/a: spec.prots: unknown field; it is ignored. Did you mean ports?",
        "b.yaml:1: Service shop/a: stands in b.yaml:1 and in a.yaml:3; the latter is used. "
        "Remove one of the two, or give it another name",
    ]


def test_validate_calls_the_check_with_all_rows_and_adds_lines() -> None:
    seen: list[str] = []

    def check(rows: Sequence[Taken]) -> Iterable[Problem]:
        seen.extend(taken.key.name for taken in rows)
        ref = ObjectRef("Service", "shop", "b")
        yield Problem(ref, Reason.BACKEND_NOT_FOUND, "is broken", "Mend it")

    problems = validate_texts({"a.yaml": service("a") + "---\n" + service("b")}, check=check)
    assert seen == ["a", "b"]
    assert [str(p) for p in problems] == ["a.yaml:6: Service shop/b: is broken. Mend it"]


def test_a_check_in_rows_is_placed_at_the_line_of_its_field() -> None:
    items = [yaml.safe_load(service(name)) for name in "ab"]
    dump = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items})
    text = "# first\n---\n" + service("c") + "---\n" + dump

    def check(rows: Sequence[Taken]) -> Iterable[Problem]:
        for name, field in (
            ("a", "spec.ports[0].port"),
            ("b", "spec.ports[0].port"),
            ("b", 'metadata.labels["example.org/app"]'),  # absent: its parent's line
            ("c", "spec.ports"),
        ):
            ref = ObjectRef("Service", "shop", name)
            yield Problem(ref, Reason.INVALID, "is bad", "Mend it", field)

    lines = text.split("\n")
    ports = [at for at, line in enumerate(lines, 1) if "port:" in line and at > 8]
    metadata = [at for at, line in enumerate(lines, 1) if line == "  metadata:"]
    placed = [p.source for p in validate_texts({"x.yaml": text}, check=check)]
    assert [source.line for source in placed if source] == [
        ports[0],
        ports[1],
        metadata[1],
        6,
    ]


def test_a_look_parses_no_more_than_its_budget_and_the_next_goes_on() -> None:
    texts = [service(name) for name in "ab"]
    claims = Claims()
    for name, text in zip("ab", texts, strict=True):
        (document,), _ = read_text(text, f"{name}.yaml")
        claims.replace(FileId(TREE, f"{name}.yaml"), document.entries)
    found = [
        Problem(ObjectRef("Service", "shop", name), Reason.INVALID, "is bad", "Mend it", "spec")
        for name in "ab"
    ]
    lines = FieldLines(claims, budget=len(texts[0]) + 10)
    looks = [[p.source.line for p in lines.placed(found) if p.source] for _ in range(3)]
    assert looks == [[4, 1], [4, 4], [4, 4]]
    # A text that has changed is parsed again.
    (document,), _ = read_text("# moved\n" + texts[0], "a.yaml")
    claims.replace(FileId(TREE, "a.yaml"), document.entries)
    assert [p.source.line for p in lines.placed(found) if p.source] == [5, 4]


def test_validate_files_and_directories(tmp_path: Path) -> None:
    write(tmp_path, {"tree/a.yaml": "kind: [", "tree/x/b.yml": service("b"), "one.txt": "kind: ["})
    problems = validate([tmp_path / "tree", tmp_path / "one.txt"])
    assert [str(problem.source) for problem in problems] == [
        f"{tmp_path}/one.txt:1",
        f"{tmp_path}/tree/a.yaml:1",
    ]
    with pytest.raises(FileNotFoundError):
        validate([tmp_path / "absent.yaml"])


def test_strict_makes_unknown_fields_errors(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": service("a").replace("ports", "prots")})
    assert [p.severity for p in validate([tmp_path])] == [Severity.WARNING]
    assert [p.severity for p in validate([tmp_path], strict=True)] == [Severity.ERROR]
