"""HTTPRoute filters to IR. A filter that cannot be honoured is never skipped: its requests get an
error (Gateway API, HTTPRouteFilter), so faults are told apart from an absent filter. What Envoy
would refuse is a fault too: one such header would take the whole route configuration with it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from controlplane.api.gateway import (
    FilterType,
    HeaderModifier,
    PathMatchType,
    PathModifier,
    PathModifierType,
    RequestRedirect,
    RouteFilter,
    RouteRule,
)
from xds.ir.route import HeaderEdits, PathReplacement, Redirect

Fault = tuple[str, str]
"""(field below the rule, message)"""


NONE: Final = HeaderEdits()
_LINE_END: Final = re.compile(r"[\0\r\n]")
_NO_LINE_END: Final = "contains a line break or a zero byte, which no message can carry"


@dataclass(slots=True)
class Filters:
    """The filters of one rule, being put together."""

    request: HeaderEdits = NONE
    response: HeaderEdits = NONE
    host: str = ""
    path: PathReplacement | None = None
    redirect: RequestRedirect | None = None
    faults: list[Fault] = field(default_factory=list)


def header_edits(modifier: HeaderModifier | None) -> HeaderEdits:
    """Header names are folded to lower case, as HTTP/2 wants them."""
    if modifier is None:
        return HeaderEdits()
    return HeaderEdits(
        set=tuple((header.name.lower(), header.value) for header in modifier.set),
        add=tuple((header.name.lower(), header.value) for header in modifier.add),
        remove=tuple(name.lower() for name in modifier.remove),
    )


def header_faults(modifier: HeaderModifier | None, request: bool) -> Iterator[Fault]:
    """What Envoy refuses of a modifier: names it keeps to itself, and values that end a line
    (HeaderUtility::isModifiableHeader, HeaderValue's well_known_regex)."""
    if modifier is None:
        return
    names = [(f"set[{i}].name", header.name) for i, header in enumerate(modifier.set)]
    names += [(f"add[{i}].name", header.name) for i, header in enumerate(modifier.add)]
    names += [(f"remove[{i}]", name) for i, name in enumerate(modifier.remove)]
    for where, name in names:
        if name.lower() == "host":
            message = "host cannot be changed as a header"
            yield where, f"{message}; urlRewrite.hostname does that" if request else message
        elif name.startswith(":"):
            yield where, f"{name} is no header but a part of the message, and cannot be changed"
    for kind, headers in (("set", modifier.set), ("add", modifier.add)):
        for i, header in enumerate(headers):
            if _LINE_END.search(header.value):
                yield f"{kind}[{i}].value", _NO_LINE_END


def path_replacement(modifier: PathModifier | None) -> PathReplacement | None:
    if modifier is None:
        return None
    if modifier.type is PathModifierType.FULL:
        return PathReplacement("full", modifier.replace_full_path or "/")
    return PathReplacement("prefix", modifier.replace_prefix_match or "/")


def rule_filters(rule: RouteRule) -> Filters:
    """The filters of a rule, and what is wrong with them."""
    result = Filters()
    for i, entry in enumerate(rule.filters):
        _take(result, entry, f"filters[{i}]", rule)
    if result.redirect and (result.host or result.path):
        result.faults.append(("filters", "a redirect and a URL rewrite exclude each other"))
    return result


def _take(result: Filters, entry: RouteFilter, where: str, rule: RouteRule) -> None:
    match entry.type:
        case FilterType.REQUEST_HEADER:
            result.request = header_edits(entry.request_header_modifier)
            result.faults += _header_faults(entry, where)
        case FilterType.RESPONSE_HEADER:
            result.response = header_edits(entry.response_header_modifier)
            result.faults += _header_faults(entry, where)
        case FilterType.REWRITE if entry.url_rewrite:
            result.host = entry.url_rewrite.hostname or ""
            result.path = path_replacement(entry.url_rewrite.path)
            _check_path(result, f"{where}.urlRewrite.path", result.path, rule)
        case FilterType.REDIRECT if entry.request_redirect:
            result.redirect = entry.request_redirect
            path = path_replacement(entry.request_redirect.path)
            _check_path(result, f"{where}.requestRedirect.path", path, rule)
        case _:
            result.faults.append((where, f"the settings of filter {entry.type} are missing"))


def _header_faults(entry: RouteFilter, where: str) -> list[Fault]:
    """Faults of a header filter, with their place below the rule or backend."""
    if entry.type is FilterType.REQUEST_HEADER:
        name, modifier = "requestHeaderModifier", entry.request_header_modifier
    else:
        name, modifier = "responseHeaderModifier", entry.response_header_modifier
    found = header_faults(modifier, entry.type is FilterType.REQUEST_HEADER)
    return [(f"{where}.{name}.{field}", message) for field, message in found]


def _check_path(result: Filters, where: str, path: PathReplacement | None, rule: RouteRule) -> None:
    if path is not None and _LINE_END.search(path.value):
        result.faults.append((where, _NO_LINE_END))
    if path is None or path.kind == "full":
        return
    if any(match.path.type is not PathMatchType.PREFIX for match in rule.matches):
        message = "ReplacePrefixMatch needs matches of type PathPrefix alone"
        result.faults.append((where, message))


def redirect(spec: RequestRedirect, service_port: int) -> Redirect:
    """A redirect in IR. A new scheme without a port means the scheme's own port, which has to be
    said where the client's authority carries another one."""
    port = spec.port
    if port is None and spec.scheme and service_port != 80:
        port = 443 if spec.scheme == "https" else 80
    return Redirect(
        status=spec.status_code,
        scheme=spec.scheme or "",
        host=spec.hostname or "",
        port=port,
        path=path_replacement(spec.path),
    )


def backend_filters(
    filters: tuple[RouteFilter, ...],
) -> tuple[HeaderEdits, HeaderEdits, list[Fault]]:
    """Request and response edits of one backend; other filters work on whole rules only."""
    request, response = HeaderEdits(), HeaderEdits()
    found: list[Fault] = []
    for i, entry in enumerate(filters):
        match entry.type:
            case FilterType.REQUEST_HEADER:
                request = header_edits(entry.request_header_modifier)
                found += _header_faults(entry, f"filters[{i}]")
            case FilterType.RESPONSE_HEADER:
                response = header_edits(entry.response_header_modifier)
                found += _header_faults(entry, f"filters[{i}]")
            case _:
                message = f"filter {entry.type} works on a whole rule, not on one backend"
                found.append((f"filters[{i}]", message))
    return request, response, found
