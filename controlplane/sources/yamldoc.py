"""One YAML document: its value as JSON would have it, and the line of every field.

The rules are kubectl's: YAML 1.1 scalars (so an unquoted ``yes`` is true), no timestamps, JSON
types only, text keys, merge keys. Explicit tags other than the JSON ones are refused, nothing is
ever constructed from a tag; repeated keys are refused. Aliases expand, within a bound.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from controlplane.api.paths import FieldPath

MAX_DEPTH = 64
MAX_VALUES = 1_000_000
"""Values in one document after aliases are expanded."""
MAX_DIGITS = 40
"""Characters of an integer; a longer one, which no field of a manifest takes, stays text."""

_TAG = "tag:yaml.org,2002:"
_IMPLICIT = "?"
_QUOTED = f"{_TAG}str"

_WORDS: dict[str, Any] = {
    word: value
    for value, text in (
        (None, "~ null Null NULL"),
        (True, "true True TRUE y Y yes Yes YES on On ON"),
        (False, "false False FALSE n N no No NO off Off OFF"),
    )
    for word in text.split()
} | {"": None}
_INTEGER = re.compile(r"[-+]?(0_*|[1-9][0-9_]*)")
_BASED = re.compile(r"[-+]?0(x_*[0-9a-fA-F][0-9a-fA-F_]*|b_*[01][01_]*|o?_*[0-7][0-7_]*)")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*)?\.?[0-9_]*([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class NotYaml(Exception):
    """Text that is not one YAML document: the 1-based line, what is wrong and what to do."""

    def __init__(self, line: int, message: str, remedy: str) -> None:
        super().__init__(f"line {line}: {message}. {remedy}")
        self.line, self.message, self.remedy = line, message, remedy


class _Parser(yaml.CSafeLoader):
    """libyaml's parser with its nodes' tags left as written."""

    def resolve(self, kind: type[Node], value: str | None, implicit: Any) -> str:
        if kind is ScalarNode:
            return _IMPLICIT if implicit[0] else _QUOTED
        return f"{_TAG}seq" if kind is SequenceNode else f"{_TAG}map"

    def descend_resolver(self, parent: Node | None, index: Any) -> None:
        """Paths have no resolvers of their own."""

    def ascend_resolver(self) -> None:
        """Paths have no resolvers of their own."""


@dataclass(frozen=True, slots=True)
class Yaml:
    """``value`` is made of dict, list, str, int, float, bool and None."""

    value: Any
    root: Node | None

    def line(self, path: FieldPath) -> int:
        """The 1-based line of a field; of an absent one, of the nearest that stands above it."""
        if self.root is None:
            return 1
        node, line = self.root, _line(self.root)
        for step in path:
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return line


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _child(node: Node, step: str | int) -> tuple[int, Node] | None:
    if isinstance(step, int):
        if isinstance(node, SequenceNode) and step < len(node.value):
            return _line(node.value[step]), node.value[step]
        return None
    if not isinstance(node, MappingNode):
        return None
    for key, value in node.value:
        if key.value == step:
            return _line(key), value
    for key, value in node.value:
        if _is_merge(key):
            for merged in value.value if isinstance(value, SequenceNode) else (value,):
                if (found := _child(merged, step)) is not None:
                    return found
    return None


def parse(text: str) -> Yaml:
    """Parse a text with one document, or none (then the value is None). Raises `NotYaml`."""
    parser = None
    try:
        parser = _Parser(text)
        root = parser.get_single_node()
    except yaml.YAMLError as error:
        raise _explained(error, text) from None
    except RecursionError:
        raise NotYaml(1, f"is nested deeper than {MAX_DEPTH}", "Flatten it") from None
    finally:
        if parser is not None:
            parser.dispose()
    return Yaml(None if root is None else _Construct().value(root, 0), root)


def _explained(error: yaml.YAMLError, text: str) -> NotYaml:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    last = text.rstrip().count("\n") + 1
    line = min(mark.line + 1, last) if mark is not None else 1
    message = f"is not YAML: {what}" + (f" {context}" if context else "")
    return NotYaml(line, message, "Check the indentation, colons and quotes at this line")


def _is_merge(key: Node) -> bool:
    return key.tag == _IMPLICIT and key.value == "<<"


class _Construct:
    """Makes the value of a document; one instance a document, because it counts."""

    def __init__(self) -> None:
        self.count = 0

    def value(self, node: Node, depth: int) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            remedy = "Split it into several files, and expand fewer aliases"
            raise NotYaml(_line(node), f"has more than {MAX_VALUES} values", remedy)
        if depth > MAX_DEPTH:
            remedy = "Flatten it, and look for an alias inside its own anchor"
            raise NotYaml(_line(node), f"is nested deeper than {MAX_DEPTH}", remedy)
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, SequenceNode):
            _require(node, "seq")
            return [self.value(item, depth + 1) for item in node.value]
        _require(node, "map")
        return self._mapping(node, depth)

    def _mapping(self, node: Node, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if _is_merge(key):
                merged = self._merged(value, depth) | merged
                continue
            if not isinstance(key, ScalarNode):
                raise NotYaml(_line(key), "has a key that is not text", "Write a plain key")
            if key.value in own:
                raise NotYaml(
                    _line(key), f"has the key {key.value!r} twice in one map", "Remove one of them"
                )
            own[key.value] = self.value(value, depth + 1)
        return merged | own if merged else own

    def _merged(self, node: Node, depth: int) -> dict[str, Any]:
        """The maps behind ``<<``; of several, an earlier one's keys win."""
        result: dict[str, Any] = {}
        for part in node.value if isinstance(node, SequenceNode) else (node,):
            value = self.value(part, depth + 1)
            if not isinstance(value, dict):
                raise NotYaml(_line(part), "merges (<<) what is no map", "Merge a map, or quote <<")
            result = value | result
        return result


def _require(node: Node, tag: str) -> None:
    if node.tag != f"{_TAG}{tag}":
        raise _foreign(node)


def _foreign(node: Node) -> NotYaml:
    tag = node.tag.replace(_TAG, "!!")
    return NotYaml(_line(node), f"has the tag {tag}", "Remove the tag: manifests are plain YAML")


def _scalar(node: Node) -> Any:
    text: str = node.value
    if node.tag == _QUOTED:
        return text
    if node.tag == _IMPLICIT:
        return _plain(node, text)
    wanted: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    kind = wanted.get(node.tag.removeprefix(_TAG)) if node.tag.startswith(_TAG) else None
    value = _plain(node, text)
    if kind is None or not isinstance(value, kind):
        raise _foreign(node)
    return value


def _plain(node: Node, text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _SPECIAL.fullmatch(text):
        raise NotYaml(_line(node), f"has the number {text}, which JSON has not", "Quote it")
    digits = text.replace("_", "")
    if _INTEGER.fullmatch(text):
        return int(digits) if len(digits) < MAX_DIGITS else text
    if _BASED.fullmatch(text):
        return _based(digits) if len(digits) < MAX_DIGITS else text
    if _FLOAT.fullmatch(text) and any(c.isdigit() for c in text.lower().partition("e")[0]):
        value = float(digits)
        return value if abs(value) != float("inf") else text
    return text


def _based(digits: str) -> int:
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-")
    base = {"x": 16, "b": 2, "o": 8}.get(body[1].lower(), 8)
    return sign * int(body[2:] if body[1].lower() in "xbo" else body[1:], base)
