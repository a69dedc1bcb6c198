"""What a route does: forward, redirect, or answer by itself (envoy.config.route.v3)."""

import re
from datetime import timedelta
from typing import Any, Final

from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    RedirectAction,
    RedirectActionRedirectResponseCode,
    RetryPolicy,
    RetryPolicyRetryBackOff,
    RetryPolicyRetryHostPredicate,
    RouteAction,
    RouteActionHashPolicy,
    RouteActionHashPolicyConnectionProperties,
    RouteActionHashPolicyCookie,
    RouteActionHashPolicyHeader,
    WeightedCluster,
    WeightedClusterClusterWeight,
)
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatchAndSubstitute, RegexMatcher

from xds.build.headers import edits
from xds.build.matches import prefix_of
from xds.ir.route import (
    Backend,
    Forward,
    HashOn,
    HeaderEdits,
    PathMatch,
    PathReplacement,
    Redirect,
    Respond,
    Retry,
)
from xds.wire.encode import pack

NO_LIMIT: Final = timedelta(0)
"""Envoy's spelling of "no timeout"; leaving the field out means 15 s."""

_STATUS: Final = {
    301: RedirectActionRedirectResponseCode.MOVED_PERMANENTLY,
    302: RedirectActionRedirectResponseCode.FOUND,
    303: RedirectActionRedirectResponseCode.SEE_OTHER,
    307: RedirectActionRedirectResponseCode.TEMPORARY_REDIRECT,
    308: RedirectActionRedirectResponseCode.PERMANENT_REDIRECT,
}
_OTHER_HOST: Final = RetryPolicyRetryHostPredicate(
    name="envoy.retry_host_predicates.previous_hosts", typed_config=pack(PreviousHostsPredicate())
)
_HOST_ATTEMPTS: Final = 3


def action(source: Forward | Redirect | Respond, path: PathMatch) -> dict[str, Any]:
    """The action field of a Route, as a keyword argument. ``path`` is what the route matches.

    Raises `ValueError` for a redirect status that Envoy does not know.
    """
    match source:
        case Respond():
            return {"direct_response": respond(source)}
        case Redirect():
            return {"redirect": _redirect(source, path)}
        case Forward():
            used = tuple(backend for backend in source.backends if backend.weight > 0)
            if not used:
                # Envoy rejects weights that sum to 0; Gateway API asks for a 500.
                return {"direct_response": respond(Respond(500, "no backend has a weight"))}
            return {"route": _forward(source, used, path)}


def respond(source: Respond) -> DirectResponseAction:
    """A reply with a plain text, made by the sidecar."""
    body = DataSource(inline_string=source.body) if source.body else None
    return DirectResponseAction(status=source.status, body=body)


def _forward(source: Forward, used: tuple[Backend, ...], path: PathMatch) -> RouteAction:
    return RouteAction(
        **_target(used),
        timeout=NO_LIMIT if source.timeout is None else source.timeout,
        retry_policy=None if source.retry is None else _retry(source.retry),
        host_rewrite_literal=source.rewrite_host or None,
        hash_policy=[_hash(each) for each in source.hash_on],
        **_rewrite(source.rewrite_path, path),
    )


def _target(used: tuple[Backend, ...]) -> dict[str, Any]:
    """One plain cluster, or a weighted choice; the weights may have any sum."""
    none = HeaderEdits()
    first = used[0]
    if len(used) == 1 and first.request_headers == none and first.response_headers == none:
        return {"cluster": first.cluster}
    clusters = [
        WeightedClusterClusterWeight(
            name=backend.cluster,
            weight=backend.weight,
            **edits(backend.request_headers, backend.response_headers),
        )
        for backend in used
    ]
    return {"weighted_clusters": WeightedCluster(clusters=clusters)}


def _retry(source: Retry) -> RetryPolicy:
    """Retries go to another host than the one that failed, while there is one."""
    conditions = list(source.conditions)
    if source.status_codes and "retriable-status-codes" not in conditions:
        conditions.append("retriable-status-codes")
    return RetryPolicy(
        retry_on=",".join(conditions),
        num_retries=source.attempts,
        per_try_timeout=source.per_try_timeout,
        retriable_status_codes=list(source.status_codes),
        retry_back_off=RetryPolicyRetryBackOff(
            base_interval=source.backoff_base, max_interval=source.backoff_max
        ),
        retry_host_predicate=[_OTHER_HOST],
        host_selection_retry_max_attempts=_HOST_ATTEMPTS,
    )


def _hash(source: HashOn) -> RouteActionHashPolicy:
    match source.kind:
        case "header":
            return RouteActionHashPolicy(
                header=RouteActionHashPolicyHeader(header_name=source.name)
            )
        case "cookie":
            return RouteActionHashPolicy(cookie=RouteActionHashPolicyCookie(name=source.name))
        case "source-address":
            properties = RouteActionHashPolicyConnectionProperties(source_ip=True)
            return RouteActionHashPolicy(connection_properties=properties)


def _rewrite(source: PathReplacement | None, path: PathMatch) -> dict[str, Any]:
    if source is None:
        return {}
    if source.kind == "full":
        return {"regex_rewrite": _substitute("^.*$", source.value)}
    return _replace_prefix(source.value, path)


def _replace_prefix(value: str, path: PathMatch) -> dict[str, Any]:
    """Replace the matched prefix on whole segments, as Gateway API's ReplacePrefixMatch.

    Envoy replaces text, so "/" needs care on both sides: "/a" by "/" must turn "/a/b" into "/b" and
    "/a" into "/", and "/" by "/a" must turn "/b" into "/a/b".
    """
    prefix, target = prefix_of(path), value.rstrip("/")
    if prefix == "":
        return {"prefix_rewrite": f"{target}/"}
    if prefix is not None and not target:
        return {"regex_rewrite": _substitute(f"^{re.escape(prefix)}/*", "/")}
    return {"prefix_rewrite": target or "/"}


def _substitute(pattern: str, value: str) -> RegexMatchAndSubstitute:
    # A backslash in a substitution refers to a group of the pattern.
    escaped = value.replace("\\", "\\\\")
    return RegexMatchAndSubstitute(pattern=RegexMatcher(regex=pattern), substitution=escaped)


def _redirect(source: Redirect, path: PathMatch) -> RedirectAction:
    if source.status not in _STATUS:
        raise ValueError(f"{source.status} is no redirect status")
    rewrite: dict[str, Any] = {}
    if source.path is not None and source.path.kind == "full":
        rewrite = {"path_redirect": source.path.value}
    elif source.path is not None:
        rewrite = _replace_prefix(source.path.value, path)
    return RedirectAction(
        scheme_redirect=source.scheme or None,
        host_redirect=source.host,
        port_redirect=source.port or 0,
        response_code=_STATUS[source.status],
        **rewrite,
    )
