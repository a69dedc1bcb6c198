"""From a validation error to words: what is wrong, and what to write instead."""

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` was probably meant to be, or empty.

    The spelling counts, most of all how it begins (``retries`` is ``retry``, not ``targetRefs``);
    then a name that contains the other (``on`` and ``retryOn``).
    """
    names = sorted(known)
    lowered = {candidate.lower(): candidate for candidate in reversed(names)}
    wanted = name.lower()
    close = difflib.get_close_matches(wanted, lowered, n=5, cutoff=0.6)
    if close:
        alike = (each for each in close if each[:3] == wanted[:3])
        return lowered[next(alike, close[0])]
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
    "float_type": ("a number", "Write a number, without quotes"),
    "finite_number": ("a finite number", "Write a number"),
    "bool_type": ("true or false", "Write true or false, without quotes"),
    "tuple_type": ("a list", "Write a list: begin each item with a dash"),
    "dict_type": ("a map", "Write a map: one `key: value` a line"),
    "model_type": ("a map", "Write a map: one `key: value` a line"),
    "model_attributes_type": ("a map", "Write a map: one `key: value` a line"),
}


_BOUNDS = {
    "string_too_long": ("has {size} characters", "Use at most {max_length}"),
    "string_too_short": ("is empty", "Write at least one character"),
    "too_long": ("has {actual_length} entries", "Use at most {max_length}"),
    "too_short": ("has {actual_length} entries", "Use at least {min_length}"),
    "greater_than_equal": ("{given} is too small", "Use at least {ge}"),
    "less_than_equal": ("{given} is too large", "Use at most {le}"),
}


def explain(error: ErrorDetails) -> tuple[str, str]:
    """(message, remedy) of a pydantic error."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind in _TYPES:
        wanted, remedy = _TYPES[kind]
        if kind == "string_type" and isinstance(given, bool):
            remedy = "Put it in quotes: YAML takes yes, no, on, off, y and n for booleans"
        return f"must be {wanted}, not {shown(given)}", remedy.format(given)
    if kind in _BOUNDS:
        message, remedy = _BOUNDS[kind]
        facts = {"given": given, "size": len(given) if isinstance(given, str) else 0} | context
        return message.format(**facts), remedy.format(**facts)
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
