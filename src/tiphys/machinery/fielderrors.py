"""Broken rules of single fields, in the words of upstream's `field.Error`.

The `field` of each function is the path as users write it, such as ``spec.containers[0].image``; a
`value` is plain data or a struct and is shown in the message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tiphys.api.base import encode
from tiphys.machinery.goformat import quoted, shortest


@dataclass(frozen=True, slots=True)
class FieldError:
    """One broken rule: the cause's reason, the field's path and upstream's sentence for it."""

    reason: str
    field: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}"


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return quoted(value)
    if value is None:
        return "null"
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, int):
        return str(value)
    # Go's JSON can stand in a web page: it escapes what HTML would read.
    text = encode(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def required(field: str, explanation: str = "") -> FieldError:
    detail = f"Required value: {explanation}" if explanation else "Required value"
    return FieldError("FieldValueRequired", field, detail)


def invalid_value(field: str, value: Any, explanation: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, f"Invalid value: {_show(value)}: {explanation}")


def not_supported(field: str, value: Any, allowed: Iterable[str]) -> FieldError:
    """Upstream lists what is allowed in order; see `not_one_of` for where it does not."""
    return not_one_of(field, value, sorted(allowed))


def not_one_of(field: str, value: Any, allowed: Iterable[str]) -> FieldError:
    """As `not_supported`, where upstream names what is allowed in an order of its own."""
    values = ", ".join(f'"{item}"' for item in allowed)
    detail = f"Unsupported value: {_show(value)}: supported values: {values}"
    return FieldError("FieldValueNotSupported", field, detail)


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {_show(value)}")


def forbidden_field(field: str, explanation: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, f"Forbidden: {explanation}")


def too_long(field: str, limit: int) -> FieldError:
    unit = "byte" if limit == 1 else "bytes"
    return FieldError("FieldValueTooLong", field, f"Too long: may not be more than {limit} {unit}")


def too_many(field: str, count: int, limit: int) -> FieldError:
    unit = "item" if limit == 1 else "items"
    detail = f"Too many: {count}: must have at most {limit} {unit}"
    return FieldError("FieldValueTooMany", field, detail)


def field_not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, f"Not found: {_show(value)}")
