"""Matches: precedence, regular expressions that RE2 refuses, and evaluation."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.api.gateway import RouteMatch
from controlplane.translate.evaluate import Request, matches, taken
from controlplane.translate.matches import faults, regex_fault, specificity, to_ir
from xds.ir.route import (
    Match,
    PathExact,
    PathPrefix,
    PathRegex,
    Respond,
    Route,
    ValueMatch,
    VirtualHost,
)


def ir(**spec: object) -> Match:
    return to_ir(RouteMatch.model_validate(spec))


def path(kind: str, value: str) -> dict[str, str]:
    return {"type": kind, "value": value}


QUERY = {"name": "q", "value": "1"}
HEADER = {"name": "X-User", "value": "ann"}
IN_ORDER = [
    ir(path=path("Exact", "/a/b")),
    ir(path=path("Exact", "/a")),
    ir(path=path("RegularExpression", "/a.*")),
    ir(path=path("PathPrefix", "/a/b/c")),
    ir(path=path("PathPrefix", "/a/b"), method="GET"),
    ir(path=path("PathPrefix", "/a/b"), headers=[HEADER, {"name": "y", "value": "1"}]),
    ir(path=path("PathPrefix", "/a/b"), headers=[HEADER], queryParams=[QUERY]),
    ir(path=path("PathPrefix", "/a/b"), headers=[HEADER]),
    ir(path=path("PathPrefix", "/a/b"), queryParams=[QUERY]),
    ir(path=path("PathPrefix", "/a/b")),
    ir(headers=[HEADER]),
    ir(),
]


def test_the_order_of_gateway_api() -> None:
    backwards = IN_ORDER[::-1]
    assert sorted(backwards, key=specificity) == IN_ORDER


def test_a_prefix_ends_without_slash_and_names_of_headers_fold() -> None:
    found = ir(path=path("PathPrefix", "/a/"), headers=[HEADER, {"name": "x-user", "value": "bob"}])
    assert found.path == PathPrefix("/a")
    assert found.headers == (ValueMatch("x-user", "ann"),)
    assert ir(path=path("PathPrefix", "/")).path == PathPrefix("/")


@pytest.mark.parametrize(
    "text",
    ["a(?=b)", "(?!a)", "(?<=a)b", "(?<!a)", r"(a)\1", "a++", "a*+", "(?>a)", "(", "[", "*a"],
)
def test_regular_expressions_that_re2_refuses(text: str) -> None:
    assert regex_fault(text)
    assert faults(RouteMatch.model_validate({"path": path("RegularExpression", text)}))


@pytest.mark.parametrize(
    "text", ["/a.*", r"\d+", "(?i)abc", r"\pL", "(?P<x>a)", "a{2,3}", r"\\1", "[[:alpha:]]", "a|b"]
)
def test_regular_expressions_that_re2_takes(text: str) -> None:
    assert regex_fault(text) == ""


@pytest.mark.parametrize(
    ("match", "request_path", "expected"),
    [
        (Match(PathPrefix("/")), "/anything", True),
        (Match(PathPrefix("/a")), "/a", True),
        (Match(PathPrefix("/a")), "/a/b?q=1", True),
        (Match(PathPrefix("/a")), "/ab", False),
        (Match(PathExact("/a")), "/a?q=1", True),
        (Match(PathExact("/a")), "/a/", False),
        (Match(PathRegex("/a[0-9]+")), "/a12", True),
        (Match(PathRegex("/a[0-9]+")), "/a12/b", False),
        (Match(query=(ValueMatch("q", "1"),)), "/?q=1", True),
        (Match(query=(ValueMatch("q", "1"),)), "/?q=2", False),
        (Match(query=(ValueMatch("q", "", False),)), "/?q", True),
    ],
)
def test_evaluation_of_paths(match: Match, request_path: str, expected: bool) -> None:
    assert matches(match, Request("GET", request_path, ())) is expected


@pytest.mark.parametrize("text", ["/a{4294967295}", "/" + "(" * 500 + ")" * 500])
def test_regular_expressions_that_are_too_much_for_the_compiler(text: str) -> None:
    assert regex_fault(text)


def test_evaluation_of_a_regular_expression_takes_no_longer_than_its_text() -> None:
    match = ir(path=path("RegularExpression", "/(a+)+"))
    assert not matches(match, Request("GET", "/" + "a" * 60 + "!", ()))
    assert matches(match, Request("GET", "/" + "a" * 60, ()))
    # Syntax that RE2 has and Python has not.
    assert matches(ir(path=path("RegularExpression", r"/\pL+")), Request("GET", "/é", ()))


def test_evaluation_of_methods_and_headers() -> None:
    wanted = Match(headers=(ValueMatch("x", "a,b"), ValueMatch("y", "[0-9]+", True)), method="POST")
    given_headers = (("x", "a"), ("x", "b"), ("y", "17"))
    assert matches(wanted, Request("POST", "/", given_headers))
    assert not matches(wanted, Request("GET", "/", given_headers))
    assert not matches(wanted, Request("POST", "/", given_headers[:2]))
    assert matches(Match(method="CONNECT"), Request("CONNECT", "", ()))
    assert not matches(Match(), Request("CONNECT", "", ()))


def test_a_share_goes_on_to_the_next_route() -> None:
    part = Route("part", Match(share=1), Respond(500, ""))
    rest = Route("rest", Match(), Respond(200, ""))
    never = Route("never", Match(), Respond(404, ""))
    host = VirtualHost("h", ("h",), (part, rest, never))
    assert tuple(taken(host, Request("GET", "/", ()))) == (part, rest)


@settings(deadline=None)
@given(st.permutations(IN_ORDER))
def test_the_order_does_not_depend_on_where_matches_stood(shuffled: list[Match]) -> None:
    assert sorted(shuffled, key=specificity) == IN_ORDER
