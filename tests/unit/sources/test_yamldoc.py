"""YAML as kubectl reads it, the line of every field, and bounds on what hostile text may cost."""

import contextlib
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controlplane.sources.yamldoc import MAX_DEPTH, NotYaml, parse

SCALARS = {
    "yes": True,
    "on": True,
    "N": False,
    "true": True,
    "~": None,
    "": None,
    "Null": None,
    "12": 12,
    "-5": -5,
    "+1_000": 1000,
    "0755": 493,
    "0o17": 15,
    "0x1F": 31,
    "0b101": 5,
    "0x_1": 1,
    "0_": 0,
    "-0_": 0,
    "0x_": "0x_",
    "0b_": "0b_",
    "0o_": "0o_",
    "0x" + "f" * 5000: "0x" + "f" * 5000,
    "08": 8.0,
    "1.5": 1.5,
    "1e3": 1000.0,
    ".5": 0.5,
    "1e400": "1e400",
    "2026-01-01": "2026-01-01",
    "12:30:00": "12:30:00",
    "1.2.3": "1.2.3",
    "e5": "e5",
    ".": ".",
    "+": "+",
    "'yes'": "yes",
    '"12"': "12",
    "!!str 12": "12",
    "!!int 12": 12,
    "0s": "0s",
}


@pytest.mark.parametrize("text", SCALARS)
def test_a_scalar(text: str) -> None:
    value = parse(f"a: {text}\n").value["a"]
    assert value == SCALARS[text]
    assert type(value) is type(SCALARS[text])


def test_keys_are_text() -> None:
    assert parse("on: 1\n2: 3\ntrue: 4\n").value == {"on": 1, "2": 3, "true": 4}


def test_anchors_and_merges() -> None:
    text = "base: &b {x: 1, y: 2}\nmine: {<<: *b, y: 3}\nlist: {<<: [{z: 0}, *b], x: 9}\n"
    found = parse(text).value
    assert found["mine"] == {"x": 1, "y": 3}
    assert found["list"] == {"z": 0, "x": 9, "y": 2}


REFUSED = {
    "a: [1,2\nb: 3\n": (2, "is not YAML: did not find expected ',' or ']'"),
    "a: 1\n\tb: 2\n": (2, "is not YAML: found a tab character that violates indentation"),
    "a: 1\n b: 2\n": (2, "is not YAML: mapping values are not allowed in this context"),
    "a: 'x\n": (1, "is not YAML: found unexpected end of stream"),
    "a: 1\nb: 2\na: 3\n": (3, "has the key 'a' twice in one map"),
    "a: *nowhere\n": (1, "is not YAML: found undefined alias"),
    "!!python/object/apply:os.system [id]\n": (1, "has the tag !!python/object/apply:os.system"),
    "a:\n- !secret x\n": (2, "has the tag !secret"),
    "a: !!binary aGk=\n": (1, "has the tag !!binary"),
    "a: !!int x\n": (1, "has the tag !!int"),
    "? [a]\n: b\n": (1, "has a key that is not text"),
    "a: {<<: 3}\n": (1, "merges (<<) what is no map"),
    "a: .inf\n": (1, "has the number .inf, which JSON has not"),
    "a: &a [*a]\n": (1, f"is nested deeper than {MAX_DEPTH}"),
    "a: \x00\n": (1, "is not YAML: "),
    "a: 1\n---\nb: 2\n": (2, "is not YAML: but found another document"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    line, message = REFUSED[text]
    with pytest.raises(NotYaml) as caught:
        parse(text)
    assert caught.value.line == line
    assert caught.value.message.startswith(message)
    assert caught.value.remedy


@pytest.mark.parametrize("open_", ["[", "{a: ", "- ", "? "])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 999, 5_000, 1_000_000])
def test_deep_nesting_is_refused(open_: str, depth: int) -> None:
    with pytest.raises(NotYaml):
        parse(open_ * depth)


def test_an_alias_bomb_is_refused() -> None:
    rows = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    rows += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(NotYaml, match="has more than 1000000 values"):
        parse("\n".join(rows))


def test_lines() -> None:
    text = (
        "# above\n"
        "metadata: {name: a}\n"
        "spec:\n"
        "  rules:\n"
        "  - name: x\n"
        "  - backendRefs:\n"
        "    - {name: a, port: 80}\n"
        "    - name: b\n"
        "      port: 81\n"
    )
    found = parse(text)
    lines = {
        (): 2,
        ("spec",): 3,
        ("metadata", "name"): 2,
        ("spec", "rules", 0): 5,
        ("spec", "rules", 1, "backendRefs", 0, "port"): 7,
        ("spec", "rules", 1, "backendRefs", 1): 8,
        ("spec", "rules", 1, "backendRefs", 1, "port"): 9,
        ("spec", "rules", 1, "backendRefs", 1, "weight"): 8,
        ("spec", "rules", 7): 4,
        ("status",): 2,
        ("spec", 3): 3,
    }
    assert {path: found.line(path) for path in lines} == lines


def test_lines_of_merged_fields() -> None:
    found = parse("base: &b\n  x: 1\nmine:\n  <<: *b\n  y: 2\n")
    assert found.line(("mine", "x")) == 2
    assert found.line(("mine", "y")) == 5


def test_nothing() -> None:
    assert parse("# a comment\n").value is None
    assert parse("").line(("a",)) == 1


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_json_is_yaml(value: object) -> None:
    assert parse(json.dumps({"a": value}, ensure_ascii=False)).value == {"a": value}


@given(JSON)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    """Quoted: what PyYAML takes for text, kubectl may take for a number or a boolean."""
    text = yaml.safe_dump({"a": value}, allow_unicode=True, default_style='"')
    assert parse(text).value == {"a": value}


@given(st.text(max_size=60) | st.text("{}[]:-?&*!<>|'\"% \n\tab1", max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(NotYaml):
        parse(text)
