"""HTTPRoute matches: to IR, and in the order that Gateway API demands.

Source: HTTPRouteRule.matches. Exact paths first, then regular expressions (their place is the
implementation's choice), then prefixes; longer before shorter; then a method, more headers, more
query parameters; then the older route, its name, and the order of rules and matches.
"""

import re
from typing import Final

from controlplane.api.gateway import (
    HeaderMatch,
    PathMatchType,
    QueryParamMatch,
    RouteMatch,
    ValueMatchType,
)
from xds.ir.route import Match, PathExact, PathMatch, PathPrefix, PathRegex, ValueMatch

_NOT_RE2: Final = re.compile(r"\(\?(?:=|!|<=|<!|>|\(|#)|\\[1-9]|\\g<|\(\?P=|[*+?}]\+")
"""Constructs of other dialects that RE2 has not: look-around, back references, possessive and
atomic groups, conditionals, comments. Source: https://github.com/google/re2/wiki/Syntax"""


_RE2_ONLY: Final = re.compile(r"\\[pPCQEz]|\(\?|\[\[|--|&&|\|\||~~")
"""What Python's own compiler refuses, or warns about, and RE2 takes."""


def regex_fault(text: str) -> str:
    """Why RE2 would refuse a regular expression; empty when it would not, as far as can be seen."""
    if found := _NOT_RE2.search(text.replace("\\\\", "")):
        return f"{found.group()} is no RE2 syntax"
    if _RE2_ONLY.search(text):
        return ""
    try:
        # Finds what both dialects refuse: an unbalanced bracket, a bad repetition or range.
        re.compile(text)
    except re.error as error:
        return str(error)
    except (RecursionError, OverflowError):
        return "it nests or repeats too much"
    return ""


def faults(match: RouteMatch) -> tuple[tuple[str, str], ...]:
    """What is wrong with a match, as (field, message): then it is left out."""
    found: list[tuple[str, str]] = []
    if match.method == "CONNECT":
        found.append(("method", "CONNECT is answered by the sidecar and cannot be routed"))
    if match.path.type is PathMatchType.REGEX:
        if fault := regex_fault(match.path.value):
            found.append(("path.value", f"{match.path.value!r} is no regular expression: {fault}"))
    elif not match.path.value.startswith("/"):
        found.append(("path.value", f"{match.path.value!r} does not begin with /"))
    elif "?" in match.path.value or "#" in match.path.value:
        # Envoy refuses them in a prefix (path_separated_prefix); no path has them anyway.
        message = f"{match.path.value!r} contains ? or #, which no path does"
        found.append(("path.value", message))
    lists: tuple[tuple[str, tuple[HeaderMatch | QueryParamMatch, ...]], ...] = (
        ("headers", match.headers),
        ("queryParams", match.query_params),
    )
    for name, values in lists:
        for i, value in enumerate(values):
            if value.type is ValueMatchType.REGEX and (fault := regex_fault(value.value)):
                message = f"{value.value!r} is no regular expression: {fault}"
                found.append((f"{name}[{i}].value", message))
    return tuple(found)


def to_ir(match: RouteMatch) -> Match:
    """A valid match as IR. Of several entries with one name, the first counts."""
    return Match(
        path=_path(match),
        headers=_values(match.headers, fold=True),
        query=_values(match.query_params, fold=False),
        method=match.method or "",
    )


def _path(match: RouteMatch) -> PathMatch:
    value = match.path.value
    match match.path.type:
        case PathMatchType.EXACT:
            return PathExact(value)
        case PathMatchType.REGEX:
            return PathRegex(value)
        case _:
            # "/abc/" and "/abc" are the same prefix (PathMatchType.PathPrefix).
            return PathPrefix(value.rstrip("/") or "/")


def _values(
    values: tuple[HeaderMatch | QueryParamMatch, ...], *, fold: bool
) -> tuple[ValueMatch, ...]:
    found: dict[str, ValueMatch] = {}
    for value in values:
        name = value.name.lower() if fold else value.name
        found.setdefault(name, ValueMatch(name, value.value, value.type is ValueMatchType.REGEX))
    return tuple(found.values())


def specificity(match: Match) -> tuple[int, int, int, int, int]:
    """Sort key: the more specific match is the smaller."""
    rank = {PathExact: 0, PathRegex: 1, PathPrefix: 2}[type(match.path)]
    return (
        rank,
        -len(match.path.value),
        0 if match.method else 1,
        -len(match.headers),
        -len(match.query),
    )
