"""Changes of headers on routes and backends (envoy.config.core.v3.HeaderValueOption)."""

from typing import Any

from envoy_data_plane.envoy.config.core.v3 import (
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
)

from xds.ir.route import HeaderEdits

_SET = HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
_ADD = HeaderValueOptionHeaderAppendAction.APPEND_IF_EXISTS_OR_ADD


def edits(request: HeaderEdits, response: HeaderEdits) -> dict[str, Any]:
    """The four header fields that routes and weighted clusters share, as keyword arguments."""
    return {
        "request_headers_to_add": _options(request),
        "request_headers_to_remove": list(request.remove),
        "response_headers_to_add": _options(response),
        "response_headers_to_remove": list(response.remove),
    }


def _options(source: HeaderEdits) -> list[HeaderValueOption]:
    pairs = [(_SET, pair) for pair in source.set] + [(_ADD, pair) for pair in source.add]
    return [
        HeaderValueOption(
            # A percent sign would start a substitution command (%REQ(...)% and the like).
            header=HeaderValue(key=name, value=value.replace("%", "%%")),
            append_action=action,
            keep_empty_value=not value,
        )
        for action, (name, value) in pairs
    ]
