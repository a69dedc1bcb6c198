"""What a route matches (envoy.config.route.v3.RouteMatch)."""

from typing import Any

from envoy_data_plane.envoy.config.core.v3 import RuntimeFractionalPercent
from envoy_data_plane.envoy.config.route.v3 import (
    HeaderMatcher,
    QueryParameterMatcher,
    RouteMatch,
    RouteMatchConnectMatcher,
)
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
from envoy_data_plane.envoy.type.v3 import FractionalPercent, FractionalPercentDenominatorType

from xds.ir.route import Match, PathExact, PathMatch, PathPrefix, PathRegex, ValueMatch


def route_match(match: Match) -> RouteMatch:
    """All conditions of a match must hold. CONNECT has no path: Envoy has a matcher of its own."""
    if match.method == "CONNECT":
        return RouteMatch(connect_matcher=RouteMatchConnectMatcher())
    headers = [HeaderMatcher(name=each.name, string_match=_text(each)) for each in match.headers]
    if match.method:
        exact = StringMatcher(exact=match.method)
        headers.insert(0, HeaderMatcher(name=":method", string_match=exact))
    return RouteMatch(
        **_path(match.path),
        headers=headers,
        query_parameters=[
            QueryParameterMatcher(name=each.name, string_match=_text(each)) for each in match.query
        ],
        runtime_fraction=_share(match.share),
    )


def _share(millionths: int | None) -> RuntimeFractionalPercent | None:
    if millionths is None:
        return None
    share = FractionalPercent(
        numerator=millionths, denominator=FractionalPercentDenominatorType.MILLION
    )
    return RuntimeFractionalPercent(default_value=share)


def prefix_of(path: PathMatch) -> str | None:
    """The matched prefix without its trailing slash ("" for every path); ``None`` for others."""
    return path.value.rstrip("/") if isinstance(path, PathPrefix) else None


def _path(path: PathMatch) -> dict[str, Any]:
    match path:
        case PathExact(value):
            return {"path": value}
        case PathRegex(value):
            return {"safe_regex": RegexMatcher(regex=value)}
        case PathPrefix():
            # path_separated_prefix may not end with a slash, so "/" needs the plain prefix.
            prefix = prefix_of(path)
            return {"path_separated_prefix": prefix} if prefix else {"prefix": "/"}


def _text(match: ValueMatch) -> StringMatcher:
    if match.regex:
        return StringMatcher(safe_regex=RegexMatcher(regex=match.value))
    return StringMatcher(exact=match.value)
