"""Which route of a virtual host a request takes, as Envoy decides it. For explanations only."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl

from controlplane.api import cel
from xds.ir.route import Match, PathExact, PathPrefix, Route, ValueMatch, VirtualHost


class Request(NamedTuple):
    """``path`` may have a query; header names are lower case."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]


def taken(host: VirtualHost, request: Request) -> Iterator[Route]:
    """The routes that a request may take: those with a share, then the one for all the rest."""
    for route in host.routes:
        if matches(route.match, request):
            yield route
            if route.match.share is None:
                return


def matches(match: Match, request: Request) -> bool:
    """Whether a request meets all conditions; its share apart."""
    if match.method == "CONNECT" or request.method == "CONNECT":
        return match.method == request.method
    path, _, query = request.path.partition("?")
    if match.method and match.method != request.method:
        return False
    if not _path(match, path):
        return False
    pairs = tuple(parse_qsl(query, keep_blank_values=True))
    return _values(match.headers, request.headers) and _values(match.query, pairs)


def _path(match: Match, path: str) -> bool:
    wanted = match.path
    if isinstance(wanted, PathExact):
        return path == wanted.value
    if isinstance(wanted, PathPrefix):
        prefix = wanted.value.rstrip("/")
        return not prefix or path == prefix or path.startswith(f"{prefix}/")
    return _full(wanted.value, path)


def _values(wanted: tuple[ValueMatch, ...], given: tuple[tuple[str, str], ...]) -> bool:
    for each in wanted:
        found = [value for name, value in given if name == each.name]
        if not found:
            return False
        # Envoy joins repeated headers before it compares.
        text = ",".join(found)
        if not (_full(each.value, text) if each.regex else text == each.value):
            return False
    return True


def _full(pattern: str, text: str) -> bool:
    """By RE2, as in Envoy: Python's own matcher can take for ever, and reads other syntax."""
    return cel.evaluate(
        "self.text.matches(self.pattern)", {"text": text, "pattern": rf"\A(?:{pattern})\z"}
    )
