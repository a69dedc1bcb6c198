"""Paths of fields in a document: tuples of keys and indexes, printed as kubectl prints them."""

import re
from collections.abc import Callable

from controlplane.api.problem import Source

FieldPath = tuple[str | int, ...]
Locate = Callable[[FieldPath], Source | None]
"""Where the field stands that a path names; of an absent field, where its parent stands."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def nowhere(path: FieldPath) -> Source | None:
    """A `Locate` for documents that come from no file."""
    return None


def format_path(path: FieldPath) -> str:
    """``spec.rules[0].backendRefs[1].port``; keys that are no plain word are bracketed, quoted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


_STEP = re.compile(r'\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\["?([^"\]]*)"?\]')


def parse_path(text: str) -> FieldPath:
    """What `format_path` printed, keys also without quotes; of any other text the steps before
    that which is none."""
    steps: list[str | int] = []
    at = 0
    while found := _STEP.match(text, at):
        word, index, quoted = found.groups()
        steps.append(int(index) if index is not None else quoted if word is None else word)
        at = found.end()
    return tuple(steps)


def parse_relative(text: str) -> FieldPath:
    """The steps of a CEL rule's ``fieldPath``, such as ``.weights``."""
    return tuple(step for step in text.split(".") if step)
