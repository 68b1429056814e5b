"""Keywords of structural schemas that judge a value by itself: ranges, lengths, patterns, formats,
enumerations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.machinery.errors import (
    FieldError,
    invalid_value,
    not_one_of,
    too_long,
    too_many,
)
from tiphys.machinery.formats import FORMATS
from tiphys.machinery.goformat import quoted
from tiphys.machinery.gowords import marshalled
from tiphys.machinery.regexp import compiled

Check = Callable[[Any, str], FieldError | None]
_OF_TEXT = ("maxLength", "minLength", "pattern")


def of_type(path: str, shown: str, want: str) -> FieldError:
    error = invalid_value(path, shown, f"{path} in body must be of type {want}: {quoted(shown)}")
    return FieldError("FieldValueTypeInvalid", error.field, error.detail)


def _in_body(path: str, value: Any, rule: str) -> FieldError:
    """`rule` may contain a pattern of a megabyte: the text is built only when it is read."""

    def detail() -> str:
        return invalid_value(path, value, f"{path} in body {rule}").detail

    return FieldError("FieldValueInvalid", path, detail)


def number_text(text: Any) -> str:
    return f"{text:g}" if isinstance(text, float) and abs(text) < 1e15 else str(text)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def checks_of(facts: dict[str, Any]) -> list[Check]:
    checks: dict[str, Check] = {}
    for keyword, make in _KEYWORDS.items():
        value = facts.get(keyword)
        if value is not None and value is not False and value not in ("", []):
            checks[keyword] = make(facts[keyword], facts)
    of_text = [checks.pop(keyword) for keyword in _OF_TEXT if keyword in checks]
    return [*checks.values(), *([_first(of_text)] if of_text else [])]


def _first(checks: list[Check]) -> Check:
    """Of these upstream's library reports the first that fails."""
    if len(checks) == 1:
        return checks[0]

    def check(value: Any, path: str) -> FieldError | None:
        return next(filter(None, (check_one(value, path) for check_one in checks)), None)

    return check


def _check_that(fits: Callable[[Any], bool], breaks: Callable[[Any], bool], rule: str) -> Check:
    def check(value: Any, path: str) -> FieldError | None:
        if fits(value) and breaks(value):
            return _in_body(path, value, rule)
        return None

    return check


def _maximum(limit: Any, facts: dict[str, Any]) -> Check:
    if facts.get("exclusiveMaximum"):
        return _check_that(
            is_number, lambda v: v >= limit, f"should be less than {number_text(limit)}"
        )
    return _check_that(
        is_number, lambda v: v > limit, f"should be less than or equal to {number_text(limit)}"
    )


def _minimum(limit: Any, facts: dict[str, Any]) -> Check:
    if facts.get("exclusiveMinimum"):
        return _check_that(
            is_number, lambda v: v <= limit, f"should be greater than {number_text(limit)}"
        )
    return _check_that(
        is_number, lambda v: v < limit, f"should be greater than or equal to {number_text(limit)}"
    )


def _multiple(step: Any, facts: dict[str, Any]) -> Check:
    def breaks(value: Any) -> bool:
        rest = value / step
        return bool(abs(rest - round(rest)) > 1e-9)

    return _check_that(is_number, breaks, f"should be a multiple of {number_text(step)}")


def _max_length(limit: int, facts: dict[str, Any]) -> Check:
    def check(value: Any, path: str) -> FieldError | None:
        if isinstance(value, str) and len(value) > limit:
            return too_long(path, limit)
        return None

    return check


def _too_many(kind: type) -> Callable[[int, dict[str, Any]], Check]:
    def make(limit: int, facts: dict[str, Any]) -> Check:
        def check(value: Any, path: str) -> FieldError | None:
            if isinstance(value, kind) and len(value) > limit:  # type: ignore[arg-type]
                return too_many(path, len(value), limit)  # type: ignore[arg-type]
            return None

        return check

    return make


def _too_few(kind: type, things: str) -> Callable[[int, dict[str, Any]], Check]:
    """Upstream's library shows how many there are, not what they are."""

    def make(limit: int, facts: dict[str, Any]) -> Check:
        def check(value: Any, path: str) -> FieldError | None:
            if isinstance(value, kind) and len(value) < limit:  # type: ignore[arg-type]
                message = f"{path} in body should have at least {limit} {things}"
                return invalid_value(path, len(value), message)  # type: ignore[arg-type]
            return None

        return check

    return make


def _pattern(text: str, facts: dict[str, Any]) -> Check:
    expression = compiled(text)
    return _check_that(
        lambda v: isinstance(v, str), lambda v: not expression.search(v), f"should match '{text}'"
    )


def enum_texts(values: list[Any]) -> list[str]:
    """Strings as they are, all else in JSON, as upstream's `validate` of apiextensions."""
    return [_enum_text(value) for value in values]


def _enum_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return number_text(value) if is_number(value) else marshalled(value)


def _enum(values: list[Any], facts: dict[str, Any]) -> Check:
    texts = enum_texts(values)
    plain = {_json_identity(value) for value in values if not isinstance(value, dict | list)}
    nested = [value for value in values if isinstance(value, dict | list)]

    def check(value: Any, path: str) -> FieldError | None:
        if isinstance(value, dict | list):
            is_allowed = value in nested
        else:
            is_allowed = _json_identity(value) in plain
        return None if is_allowed else not_one_of(path, value, texts)

    return check


def _json_identity(value: Any) -> tuple[bool, Any]:
    """Python takes 1 for true, JSON does not."""
    return isinstance(value, bool), value


def _unique(wanted: bool, facts: dict[str, Any]) -> Check:
    def breaks(value: Any) -> bool:
        return any(item in value[:index] for index, item in enumerate(value))

    return _check_that(lambda v: isinstance(v, list), breaks, "shouldn't contain duplicates")


def _format(name: str, facts: dict[str, Any]) -> Check:
    test = FORMATS.get(name)

    def check(value: Any, path: str) -> FieldError | None:
        if test is None or not isinstance(value, str):
            return None
        try:
            good = test(value)
        except ValueError:
            good = False
        if good:
            return None
        return of_type(path, value, name)

    return check


_KEYWORDS: dict[str, Callable[[Any, dict[str, Any]], Check]] = {
    "maximum": _maximum,
    "minimum": _minimum,
    "multipleOf": _multiple,
    "maxLength": _max_length,
    "minLength": lambda n, f: _check_that(
        lambda v: isinstance(v, str), lambda v: len(v) < n, f"should be at least {n} chars long"
    ),
    "pattern": _pattern,
    "format": _format,
    "enum": _enum,
    "maxItems": _too_many(list),
    "minItems": _too_few(list, "items"),
    "uniqueItems": _unique,
    "maxProperties": _too_many(dict),
    "minProperties": _too_few(dict, "properties"),
}
