"""From a validation error to words: what is wrong, and what to write instead."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` was probably meant to be, or empty.

    A name that contains the other counts as near (``on`` and ``retryOn``), then the spelling.
    """
    names = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in reversed(names)}
    wanted = name.lower()
    close = difflib.get_close_matches(wanted, lowered, n=1, cutoff=0.6)
    if close:
        return lowered[close[0]]
    inside = [candidate for low, candidate in lowered.items() if len(wanted) > 1 and wanted in low]
    return min(inside, key=len, default="")


def shown(value: Any, limit: int = 60) -> str:
    """A value as a short literal for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


_TYPES = {
    "string_type": ("text", 'Put it in quotes: "{}"'),
    "int_type": ("a whole number", "Write a whole number, without quotes"),
    "int_from_float": ("a whole number", "Write a whole number, without a fraction"),
    "bool_type": ("true or false", "Write true or false, without quotes"),
    "tuple_type": ("a list", "Write a list: begin each item with a dash"),
    "dict_type": ("a map", "Write a map: one `key: value` a line"),
    "model_type": ("a map", "Write a map: one `key: value` a line"),
    "model_attributes_type": ("a map", "Write a map: one `key: value` a line"),
}


def explain(error: ErrorDetails) -> tuple[str, str]:
    """(message, remedy) of a pydantic error."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind in _TYPES:
        wanted, remedy = _TYPES[kind]
        if kind == "string_type" and isinstance(given, bool):
            remedy = "Put it in quotes: YAML takes yes, no, on, off, y and n for booleans"
        return f"must be {wanted}, not {shown(given)}", remedy.format(given)
    match kind:
        case "missing":
            return "is required", "Add it"
        case "enum" | "literal_error":
            expected = str(context["expected"]).replace("'", "")
            close = nearest(str(given), expected.replace(" or ", ", ").split(", "))
            hint = f"Did you mean {close}? " if close else ""
            return f"{shown(given)} is not supported", f"{hint}Write one of {expected}"
        case "string_pattern_mismatch":
            return _pattern(given, str(context["pattern"]))
        case "string_too_long":
            limit = context["max_length"]
            return f"has {len(given)} characters", f"Use at most {limit}"
        case "string_too_short":
            return "is empty", "Write at least one character"
        case "too_long":
            return f"has {context['actual_length']} entries", f"Use at most {context['max_length']}"
        case "too_short":
            return (
                f"has {context['actual_length']} entries",
                f"Use at least {context['min_length']}",
            )
        case "greater_than_equal":
            return f"{given} is too small", f"Use at least {context['ge']}"
        case "less_than_equal":
            return f"{given} is too large", f"Use at most {context['le']}"
        case "value_error":
            message, _, remedy = str(context["error"]).partition("; ")
            return message, (remedy[:1].upper() + remedy[1:]) or "Correct it"
    return error["msg"][:1].lower() + error["msg"][1:], "Correct the value"


_PATTERNS = {
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": (
        "is not a name",
        "Use lower-case letters, digits, '-' and '.', with a letter or digit at both ends",
    ),
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": (
        "is not a label",
        "Use lower-case letters, digits and '-', with a letter or digit at both ends",
    ),
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$": (
        "is not a namespace's name",
        "Use lower-case letters, digits and '-', with a letter or digit at both ends",
    ),
    r"^[A-Za-z0-9!#$%&'*+\-.^_|~`]+$": (
        "is not a header's name",
        "Use letters, digits and '-', without a colon",
    ),
}


def _pattern(given: Any, pattern: str) -> tuple[str, str]:
    if pattern in _PATTERNS:
        message, remedy = _PATTERNS[pattern]
        return f"{shown(given)} {message}", remedy
    alternatives = pattern.removeprefix("^(").removesuffix(")$")
    if alternatives.replace("|", "").isalnum():
        return (
            f"{shown(given)} is not supported",
            f"Write one of {', '.join(alternatives.split('|'))}",
        )
    if pattern.strip("^$").isalnum():
        return f"{shown(given)} is not supported", f"Write {pattern.strip('^$')}"
    return f"{shown(given)} does not match {pattern}", "Correct the value"
