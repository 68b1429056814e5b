"""Whether a value has the type of its schema, in the words of upstream's library."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.errors import FieldError, invalid_value
from tiphys.machinery.formats import FORMATS
from tiphys.machinery.keywords import of_type
from tiphys.machinery.structural.schema import Schema


def without_field(explanation: str) -> FieldError:
    """An error that upstream's validator ties to no field."""
    return invalid_value("<nil>", "", explanation)


def json_type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def type_errors(value: Any, schema: Schema, path: str) -> list[FieldError]:
    have = json_type(value)
    want = schema.type
    if have == want and want != "integer" and not schema.int_or_string:  # nearly always
        return []
    is_whole = have == "integer" or (have == "number" and value.is_integer() and abs(value) < 2**63)
    if schema.int_or_string:
        if have == "string" or is_whole:
            return []
        return [wrong_type(path, have, schema, "integer,string")]
    form = schema.facts.get("format")
    is_number = have in ("integer", "number")
    if not want or (want == "number" and is_number):
        return []
    if want == "integer" and is_number:
        return _whole_number_errors(value, is_whole, form, path)
    # The rest is wrong; upstream's library names the format in place of the type where it knows the
    # format.
    if want in ("integer", "number") and form in _NUMBERS and have in ("boolean", "object"):
        return [of_type(path, "", str(form))]
    if want == "string" and form in FORMATS and is_number:
        return [of_type(path, "int64" if have == "integer" else "float64", str(form))]
    return [wrong_type(path, have, schema)]


_NUMBERS = {"int32": 2**31, "int64": 2**63, "float": 0, "double": 0}


def _whole_number_errors(
    value: Any, is_whole: bool, form: str | None, path: str
) -> list[FieldError]:
    has_size = form in ("int32", "int64")
    suffix = f"with format {form}" if has_size else "(default format)"
    not_integer = without_field(f"Checked value must be of type integer {suffix} in {path}")
    if is_whole:
        limit = _NUMBERS.get(form or "") or 2**63
        return [] if -limit <= value < limit else [not_integer]
    if has_size:
        return [of_type(path, "float64", str(form)), not_integer]
    return [of_type(path, "number", "integer"), not_integer]


def wrong_type(path: str, have: str, schema: Schema, want: str = "") -> FieldError:
    return of_type(path, have, want or schema.type)
