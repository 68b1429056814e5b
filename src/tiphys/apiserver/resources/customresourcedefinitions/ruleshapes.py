"""Rules in CEL apart from their expressions: `x-kubernetes-validations`, as they are written down.

Source: upstream's `apiextensions/validation/validation.go`.
"""

from __future__ import annotations

import re
from typing import Any

from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.jsonpath import PathError, schema_path

_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_BREAK = re.compile(r"[\n\r]")
_NO_BREAKS = "must not contain line breaks"
_NOT_BLANK = "must be non-empty if specified"


def rule_shape_errors(rule: dict[str, Any], facts: dict[str, Any], path: str) -> list[FieldError]:
    """`facts` is the schema that the rule is about, `path` where the rule is."""
    violations = _texts(rule, path)
    expression = rule.get("messageExpression")
    if expression and not expression.strip():
        detail = f"messageExpression {_NOT_BLANK}"
        violations.append(errors.required(f"{path}.messageExpression", detail))
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        violations.append(errors.not_supported(f"{path}.reason", reason, _REASONS))
    field_path = rule.get("fieldPath", "")
    if field_path:
        violations += _field_path(field_path, facts, f"{path}.fieldPath")
    return violations


def _texts(rule: dict[str, Any], path: str) -> list[FieldError]:
    """The first fault of the rule's text and its message."""
    text = rule.get("rule", "")
    message = rule.get("message", "")
    if not text.strip():
        return [errors.required(f"{path}.rule", "rule is not specified")]
    if message and not message.strip():
        return [errors.invalid_value(f"{path}.message", message, _NOT_BLANK)]
    if _BREAK.search(message.strip()):
        return [errors.invalid_value(f"{path}.message", message, _NO_BREAKS)]
    if _BREAK.search(text.strip()) and not message.strip():
        detail = "message must be specified if rule contains line breaks"
        return [errors.required(f"{path}.message", detail)]
    return []


def _field_path(field_path: str, facts: dict[str, Any], path: str) -> list[FieldError]:
    violations = []
    if not field_path.strip():
        violations.append(errors.invalid_value(path, field_path, _NOT_BLANK))
    if _BREAK.search(field_path):
        violations.append(errors.invalid_value(path, field_path, _NO_BREAKS))
    try:
        schema_path(field_path, facts)
    except PathError:
        violations.append(errors.invalid_value(path, field_path, "must be a valid path"))
    return violations
