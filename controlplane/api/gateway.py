"""The part of Gateway API's HTTPRoute (v1) that Plait reads, for routes whose parent is a Service.

Source: https://gateway-api.sigs.k8s.io/reference/spec/ and GEP-1324 (mesh routes).
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from controlplane.api.base import GATEWAY_GROUP, Duration, Model

Port = Annotated[int, Field(ge=1, le=65535)]


class ParentRef(Model):
    group: str = GATEWAY_GROUP
    kind: str = "Gateway"
    namespace: str | None = None
    name: str
    section_name: str | None = None
    port: Port | None = None


class PathMatchType(StrEnum):
    EXACT = "Exact"
    PREFIX = "PathPrefix"
    REGEX = "RegularExpression"


class PathMatch(Model):
    type: PathMatchType = PathMatchType.PREFIX
    value: str = "/"


class ValueMatchType(StrEnum):
    EXACT = "Exact"
    REGEX = "RegularExpression"


class HeaderMatch(Model):
    type: ValueMatchType = ValueMatchType.EXACT
    name: str
    value: str


class QueryParamMatch(Model):
    type: ValueMatchType = ValueMatchType.EXACT
    name: str
    value: str


Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class RouteMatch(Model):
    path: PathMatch = Field(default_factory=PathMatch)
    headers: tuple[HeaderMatch, ...] = ()
    query_params: tuple[QueryParamMatch, ...] = ()
    method: Method | None = None


class Header(Model):
    name: str
    value: str


class HeaderModifier(Model):
    set: tuple[Header, ...] = ()
    add: tuple[Header, ...] = ()
    remove: tuple[str, ...] = ()


class PathModifierType(StrEnum):
    FULL = "ReplaceFullPath"
    PREFIX = "ReplacePrefixMatch"


class PathModifier(Model):
    type: PathModifierType
    replace_full_path: str | None = None
    replace_prefix_match: str | None = None


class RequestRedirect(Model):
    scheme: Literal["http", "https"] | None = None
    hostname: str | None = None
    path: PathModifier | None = None
    port: Port | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class UrlRewrite(Model):
    hostname: str | None = None
    path: PathModifier | None = None


class FilterType(StrEnum):
    REQUEST_HEADER = "RequestHeaderModifier"
    RESPONSE_HEADER = "ResponseHeaderModifier"
    REDIRECT = "RequestRedirect"
    REWRITE = "URLRewrite"


class RouteFilter(Model):
    type: FilterType
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None


class BackendRef(Model):
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    name: str
    port: Port | None = None
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    filters: tuple[RouteFilter, ...] = ()


class RouteTimeouts(Model):
    request: Duration | None = None
    """Whole request; 0s: none."""
    backend_request: Duration | None = None
    """One try."""


class RouteRule(Model):
    name: str | None = None
    matches: tuple[RouteMatch, ...] = Field(default_factory=lambda: (RouteMatch(),))
    filters: tuple[RouteFilter, ...] = ()
    backend_refs: tuple[BackendRef, ...] = ()
    timeouts: RouteTimeouts | None = None


class HTTPRouteSpec(Model):
    parent_refs: tuple[ParentRef, ...] = ()
    hostnames: tuple[str, ...] = ()
    rules: tuple[RouteRule, ...] = Field(default_factory=lambda: (RouteRule(),))
