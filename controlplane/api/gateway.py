"""The part of Gateway API's HTTPRoute (v1) that Plait reads, for routes whose parent is a Service.

Rules are Gateway API's own, in our words: its CRD enforces them on a cluster, we enforce them on
files. Source: https://gateway-api.sigs.k8s.io/reference/spec/ and GEP-1324 (mesh routes).
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from controlplane.api.base import (
    GATEWAY_GROUP,
    Duration,
    HeaderName,
    Model,
    Name,
    Text,
    rule,
    rules,
)

Port = Annotated[int, Field(ge=1, le=65535)]
HeaderValue = Annotated[str, Field(min_length=1, max_length=4096)]
Hostname = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]


class ParentRef(Model):
    """What the route is attached to: for a mesh a Service."""

    group: Text = GATEWAY_GROUP
    """API group; empty for a Service."""
    kind: Text = "Gateway"
    """Kind: Service for a mesh."""
    namespace: Text | None = None
    """Namespace; absent: the route's own."""
    name: Name
    """Name of the Service."""
    section_name: Text | None = None
    """Name of a port; absent: all ports."""
    port: Port | None = None
    """Number of a port; absent: all ports."""


class PathMatchType(StrEnum):
    EXACT = "Exact"
    PREFIX = "PathPrefix"
    REGEX = "RegularExpression"


class PathMatch(Model):
    """Matches the path of a request."""

    model_config = rules(
        rule(
            "!has(self.value) || self.value.startsWith('/')"
            " || (has(self.type) && self.type == 'RegularExpression')",
            "a path does not begin with '/'. Put '/' in front",
            ".value",
        ),
        rule(
            "!has(self.value) || !self.value.contains('//')"
            " || (has(self.type) && self.type == 'RegularExpression')",
            "a path contains '//', which no request has after normalisation. Write one '/'",
            ".value",
        ),
    )

    type: PathMatchType = PathMatchType.PREFIX
    """Exact, PathPrefix or RegularExpression (RE2, the whole path). Default: PathPrefix."""
    value: Annotated[str, Field(max_length=1024)] = "/"
    """The path, prefix or expression. Default: /."""


class ValueMatchType(StrEnum):
    EXACT = "Exact"
    REGEX = "RegularExpression"


class HeaderMatch(Model):
    """Matches a header of a request."""

    type: ValueMatchType = ValueMatchType.EXACT
    """Exact or RegularExpression (RE2, the whole value). Default: Exact."""
    name: HeaderName
    """Name of the header, in any case."""
    value: HeaderValue
    """The value or expression."""


class QueryParamMatch(Model):
    """Matches a parameter of the query string."""

    type: ValueMatchType = ValueMatchType.EXACT
    """Exact or RegularExpression (RE2, the whole value). Default: Exact."""
    name: HeaderName
    """Name of the parameter."""
    value: Annotated[str, Field(min_length=1, max_length=1024)]
    """The value or expression."""


Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class RouteMatch(Model):
    """Matches a request that has all of these properties."""

    path: PathMatch = Field(default_factory=PathMatch)
    """Path; absent: every path."""
    headers: Annotated[tuple[HeaderMatch, ...], Field(max_length=16)] = ()
    """Headers; all must match."""
    query_params: Annotated[tuple[QueryParamMatch, ...], Field(max_length=16)] = ()
    """Query parameters; all must match."""
    method: Method | None = None
    """Method; absent: every method."""


class Header(Model):
    """A header and its value."""

    name: HeaderName
    """Name of the header."""
    value: HeaderValue
    """Value of the header."""


class HeaderModifier(Model):
    """Changes headers."""

    set: Annotated[tuple[Header, ...], Field(max_length=16)] = ()
    """Headers that are set, replacing what is there."""
    add: Annotated[tuple[Header, ...], Field(max_length=16)] = ()
    """Headers that are added to what is there."""
    remove: Annotated[tuple[HeaderName, ...], Field(max_length=16)] = ()
    """Headers that are removed."""


class PathModifierType(StrEnum):
    FULL = "ReplaceFullPath"
    PREFIX = "ReplacePrefixMatch"


class PathModifier(Model):
    """Changes the path of a request."""

    model_config = rules(
        rule(
            "self.type != 'ReplaceFullPath' || has(self.replaceFullPath)",
            "ReplaceFullPath has no path. Set replaceFullPath",
            ".replaceFullPath",
        ),
        rule(
            "self.type != 'ReplacePrefixMatch' || has(self.replacePrefixMatch)",
            "ReplacePrefixMatch has no prefix. Set replacePrefixMatch",
            ".replacePrefixMatch",
        ),
    )

    type: PathModifierType
    """ReplaceFullPath or ReplacePrefixMatch."""
    replace_full_path: Annotated[str, Field(max_length=1024)] | None = None
    """The new path."""
    replace_prefix_match: Annotated[str, Field(max_length=1024)] | None = None
    """What stands in the place of the prefix that matched."""


class RequestRedirect(Model):
    """Answers with a redirect."""

    scheme: Literal["http", "https"] | None = None
    """Scheme of the new location; absent: the request's."""
    hostname: Hostname | None = None
    """Host of the new location; absent: the request's."""
    path: PathModifier | None = None
    """Path of the new location; absent: the request's."""
    port: Port | None = None
    """Port of the new location."""
    status_code: Literal[301, 302, 303, 307, 308] = 302
    """Status of the answer. Default: 302."""


class UrlRewrite(Model):
    """Changes a request before it is forwarded."""

    hostname: Hostname | None = None
    """The new Host header."""
    path: PathModifier | None = None
    """The new path."""


class FilterType(StrEnum):
    REQUEST_HEADER = "RequestHeaderModifier"
    RESPONSE_HEADER = "ResponseHeaderModifier"
    REDIRECT = "RequestRedirect"
    REWRITE = "URLRewrite"


_FILTER_FIELDS = {
    FilterType.REQUEST_HEADER: "requestHeaderModifier",
    FilterType.RESPONSE_HEADER: "responseHeaderModifier",
    FilterType.REDIRECT: "requestRedirect",
    FilterType.REWRITE: "urlRewrite",
}


class RouteFilter(Model):
    """Changes requests or answers of a rule."""

    UNSUPPORTED: ClassVar = frozenset({"requestMirror", "cors", "externalAuth", "extensionRef"})
    model_config = rules(
        *(
            rule(
                f"self.type != '{kind}' || has(self.{field})",
                f"a {kind} filter says nothing. Set {field}",
                f".{field}",
            )
            for kind, field in _FILTER_FIELDS.items()
        ),
        *(
            rule(
                f"self.type == '{kind}' || !has(self.{field})",
                f"{field} belongs to a filter of another type. Set type to {kind}, or remove"
                f" {field}",
                f".{field}",
            )
            for kind, field in _FILTER_FIELDS.items()
        ),
    )

    type: FilterType
    """Which of the filters this is."""
    request_header_modifier: HeaderModifier | None = None
    """Changes of the request's headers."""
    response_header_modifier: HeaderModifier | None = None
    """Changes of the answer's headers."""
    request_redirect: RequestRedirect | None = None
    """A redirect instead of forwarding."""
    url_rewrite: UrlRewrite | None = None
    """Changes of host and path."""


class BackendRef(Model):
    """Where matched requests go."""

    model_config = rules(
        rule(
            "(has(self.kind) && self.kind != 'Service') || (has(self.group) && self.group != '')"
            " || has(self.port)",
            "a Service as backend has no port. Set port to one of the Service's ports",
            ".port",
        )
    )

    group: Text = ""
    """API group; empty for a Service. Default: empty."""
    kind: Text = "Service"
    """Kind. Default: Service."""
    namespace: Text | None = None
    """Namespace; absent: the route's own."""
    name: Name
    """Name of the Service."""
    port: Port | None = None
    """Port of the Service."""
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    """Its share, in relation to the sum of all weights. Default: 1."""
    filters: Annotated[tuple[RouteFilter, ...], Field(max_length=16)] = ()
    """Filters for requests that go to this backend."""


class RouteTimeouts(Model):
    """Timeouts of a rule."""

    model_config = rules(
        rule(
            "!has(self.request) || !has(self.backendRequest)"
            " || duration(self.request) == duration('0s')"
            " || duration(self.backendRequest) <= duration(self.request)",
            "one try may take longer than the whole request. Lower backendRequest, or raise"
            " request",
            ".backendRequest",
        )
    )

    request: Duration | None = None
    """Whole request; 0s: none."""
    backend_request: Duration | None = None
    """One try."""


def _once(kind: FilterType) -> dict[str, str]:
    return rule(
        f"!has(self.filters) || self.filters.filter(f, f.type == '{kind}').size() <= 1",
        f"{kind} stands more than once among the filters. Put the changes into one filter",
        ".filters",
    )


class RouteRule(Model):
    """What happens to requests that match."""

    UNSUPPORTED: ClassVar = frozenset({"retry", "sessionPersistence"})
    model_config = rules(
        *(_once(kind) for kind in FilterType),
        rule(
            "!has(self.filters) || !self.filters.exists(f, f.type == 'RequestRedirect')"
            " || !self.filters.exists(f, f.type == 'URLRewrite')",
            "a rule both redirects and rewrites. Keep one of the two filters",
            ".filters",
        ),
        rule(
            "!has(self.filters) || !self.filters.exists(f, f.type == 'RequestRedirect')"
            " || !has(self.backendRefs) || size(self.backendRefs) == 0",
            "a rule that redirects has backends, which are never reached. Remove backendRefs",
            ".backendRefs",
        ),
        rule(
            "!has(self.filters) || !self.filters.exists(f,"
            " (has(f.urlRewrite) && has(f.urlRewrite.path)"
            " && f.urlRewrite.path.type == 'ReplacePrefixMatch')"
            " || (has(f.requestRedirect) && has(f.requestRedirect.path)"
            " && f.requestRedirect.path.type == 'ReplacePrefixMatch'))"
            " || !has(self.matches) || self.matches.all(m,"
            " !has(m.path) || !has(m.path.type) || m.path.type == 'PathPrefix')",
            "ReplacePrefixMatch needs a prefix to replace. Match the path with type PathPrefix",
            ".matches",
        ),
    )

    name: Text | None = None
    """Name of the rule, for policies and access logs."""
    matches: Annotated[tuple[RouteMatch, ...], Field(max_length=64)] = Field(
        default_factory=lambda: (RouteMatch(),)
    )
    """A request must match one of them; absent: every request."""
    filters: Annotated[tuple[RouteFilter, ...], Field(max_length=16)] = ()
    """Changes of the request or answer."""
    backend_refs: Annotated[tuple[BackendRef, ...], Field(max_length=16)] = ()
    """Backends, by weight."""
    timeouts: RouteTimeouts | None = None
    """Timeouts."""


class HTTPRouteSpec(Model):
    """Routes HTTP requests to a Service (the parent) by path, headers, query and method."""

    UNSUPPORTED: ClassVar = frozenset({"useDefaultGateways"})

    parent_refs: Annotated[tuple[ParentRef, ...], Field(max_length=32)] = ()
    """Services whose traffic is routed."""
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16)] = ()
    """Hosts; without effect for a Service as parent."""
    rules: Annotated[tuple[RouteRule, ...], Field(max_length=16)] = Field(
        default_factory=lambda: (RouteRule(),)
    )
    """Rules; the most specific match decides."""
