"""What labels, annotations and selectors of labels may be, wherever they stand: the field errors of
each, in upstream's words."""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.api.core_v1 import NodeSelectorRequirement
from tiphys.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from tiphys.machinery.fielderrors import FieldError, forbidden_field, invalid_value, required
from tiphys.machinery.names import label_key_errors, label_value_errors

LABEL_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_ANNOTATIONS_LIMIT = 256 * 1024  # bytes, of all keys and values together


def validate_labels(labels: Mapping[str, str], path: str) -> list[FieldError]:
    problems = []
    for key, value in labels.items():
        problems += [invalid_value(path, key, problem) for problem in label_key_errors(key)]
        problems += [invalid_value(path, value, problem) for problem in label_value_errors(value)]
    return problems


def validate_annotations(annotations: Mapping[str, str], path: str) -> list[FieldError]:
    problems = []
    size = 0
    for key, value in annotations.items():
        problems += [invalid_value(path, key, problem) for problem in label_key_errors(key.lower())]
        size += len(key.encode()) + len(value.encode())
    if size > _ANNOTATIONS_LIMIT:
        detail = f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes"
        problems.append(FieldError("FieldValueTooLong", path, detail))
    return problems


def label_name(value: str, path: str) -> list[FieldError]:
    """The key of a label, which has to be there; one that is absent is wrong in every way."""
    return [invalid_value(path, value, problem) for problem in label_key_errors(value)]


# --- selectors ---


def label_selector(selector: LabelSelector | None, path: str) -> list[FieldError]:
    """What is absent is no error."""
    if selector is None:
        return []
    violations = validate_labels(selector.match_labels, f"{path}.matchLabels")
    for index, wanted in enumerate(selector.match_expressions):
        violations += requirement(wanted, LABEL_OPERATORS, f"{path}.matchExpressions[{index}]")
    return violations


def requirement(
    wanted: LabelSelectorRequirement | NodeSelectorRequirement,
    operators: tuple[str, ...],
    path: str,
    strict: bool = True,
) -> list[FieldError]:
    """One requirement of a selector that may use the `operators`; `strict`: its values must be
    such as labels have."""
    violations = _operator(wanted, operators, path)
    violations += label_name(wanted.key, f"{path}.key")
    for index, value in enumerate(wanted.values if strict else ()):
        field = f"{path}.values[{index}]"
        violations += [
            invalid_value(field, value, message) for message in label_value_errors(value)
        ]
    return violations


def _operator(
    wanted: LabelSelectorRequirement | NodeSelectorRequirement,
    operators: tuple[str, ...],
    path: str,
) -> list[FieldError]:
    """Whether the operator is known, and there are as many values as it takes."""
    operator = wanted.operator
    if operator not in operators:
        detail = "not a valid selector operator"
        return [invalid_value(f"{path}.operator", operator, detail)]
    field = f"{path}.values"
    if operator in ("In", "NotIn") and not wanted.values:
        detail = "must be specified when `operator` is 'In' or 'NotIn'"
        return [required(field, detail)]
    if operator in ("Exists", "DoesNotExist") and wanted.values:
        detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        return [forbidden_field(field, detail)]
    if operator in ("Gt", "Lt") and len(wanted.values) != 1:
        detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        return [required(field, detail)]
    return []
