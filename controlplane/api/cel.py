"""Evaluates the models' CEL rules, the very text that the API server evaluates from the CRD.

As there, rules see the stored document (JSON names, unknown fields pruned), only of objects whose
schema is valid, with the libraries strings, math and optional. ``self`` is untyped here and typed
in the server, so a rule must not rely on either: tests run each on a passing and a failing case.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

from controlplane.api.base import Model
from controlplane.api.paths import FieldPath, parse_relative
from controlplane.api.shape import instances


@cache
def _environment() -> Any:
    """One environment a process; imported at first use, since the library takes 15 MB."""
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_math, ext_optional, ext_strings

    return cel.NewEnv(
        variables={"self": cel.Type.DYN},
        extensions=[ext_math.ExtMath(), ext_strings.ExtStrings(), ext_optional.ExtOptional()],
    )


@cache
def _program(expression: str) -> Any:
    """Compiled rules, kept for the life of the process: there are as many as models have."""
    return _environment().compile(expression)


def evaluate(expression: str, value: Any) -> bool:
    """Whether ``value`` as ``self`` satisfies the rule; an evaluation error counts as no.

    Raises RuntimeError when the expression does not compile.
    """
    return _program(expression).eval(data={"self": value}).plain_value() is True


def model_rules(model: type[Model]) -> list[dict[str, str]]:
    """The rules that stand on one model."""
    extra = model.model_config.get("json_schema_extra")
    if not isinstance(extra, dict):
        return []
    found: Any = extra.get("x-kubernetes-validations", [])
    return list(found)


def violations(
    value: dict[str, Any], model: type[Model], path: FieldPath = ()
) -> Iterator[tuple[FieldPath, str, str]]:
    """(path, message, remedy) of each rule that a valid, pruned document breaks."""
    for nested, where, part in instances(value, model, path):
        for entry in model_rules(nested):
            if not evaluate(entry["rule"], part):
                message, _, remedy = entry["message"].partition(". ")
                at = where + parse_relative(entry.get("fieldPath", ""))
                yield at, message, remedy
