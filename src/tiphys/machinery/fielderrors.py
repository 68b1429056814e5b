"""Broken rules of single fields, in the words of upstream's `field.Error`.

The `field` of each function is the path as users write it, such as ``spec.containers[0].image``; a
`value` is plain data or a struct and is shown in the message.

A request of one megabyte can break a hundred thousand rules, each of which shows the megabyte.
So a sentence is written only when it is read, paths are cut (`field_path`), and an answer has the
`first` errors, not all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from tiphys.api.base import encode
from tiphys.machinery.goformat import quoted, shortest

T = TypeVar("T")
ENOUGH = 10_000  # broken rules after which validation stops
MOST_TEXT = 256 << 10  # characters of all that an answer says: more than a thousand broken rules
_AT_ONCE = 1000
_LONGEST_NAME = 256  # characters of one name in a path,
_LONGEST_PATH = 4096  # and of a path before its last name


class FieldError:
    """One broken rule: the cause's reason, the field's path and upstream's sentence for it.

    The sentence may be given as a function, which is called when it is read.
    """

    __slots__ = ("_detail", "field", "reason")

    def __init__(self, reason: str, field: str, detail: str | Callable[[], str]) -> None:
        self.reason = reason
        self.field = field
        self._detail = detail

    @property
    def detail(self) -> str:
        if not isinstance(self._detail, str):
            self._detail = self._detail()
        return self._detail

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}"

    def __repr__(self) -> str:
        return f"FieldError({self.reason!r}, {self.field!r}, {self.detail!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldError) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def _all(self) -> tuple[str, str, str]:
        return self.reason, self.field, self.detail


def first(errors: Sequence[FieldError]) -> list[FieldError]:
    """As many as fit into an answer, in their order, and after them that there are more."""
    shown = fitting(errors)
    if len(shown) < len(errors):
        detail = "too many errors, the list is truncated"
        shown.append(FieldError("FieldValueTooMany", "<nil>", detail))
    return shown


def drop(errors: list[FieldError]) -> None:
    """Frees errors that are not reported, a few at a time: freeing a million at once takes a
    second, during which the interpreter is blocked."""
    while len(errors) > ENOUGH:
        del errors[-_AT_ONCE:]


def fitting(errors: Sequence[T]) -> list[T]:
    """As many as fit into an answer by their texts, in their order, and at least one."""
    shown = list[T]()
    room = MOST_TEXT
    for error in errors:
        shown.append(error)
        room -= len(str(error))
        if room < 0:
            break
    return shown


def field_path(path: str, name: str) -> str:
    """The path of a field of what is at `path`, which is empty for the root."""
    if len(path) > _LONGEST_PATH:
        return path
    return f"{path}.{_cut(name)}" if path else _cut(name)


def key_path(path: str, key: str) -> str:
    """The path of what a map at `path` has under a key."""
    return path if len(path) > _LONGEST_PATH else f"{path}[{_cut(key)}]"


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."


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
    if not explanation:
        return FieldError("FieldValueRequired", field, "Required value")
    return FieldError("FieldValueRequired", field, lambda: f"Required value: {explanation}")


def invalid_value(field: str, value: Any, explanation: str) -> FieldError:
    return FieldError(
        "FieldValueInvalid", field, lambda: f"Invalid value: {_show(value)}: {explanation}"
    )


def not_supported(field: str, value: Any, allowed: Iterable[str]) -> FieldError:
    """Upstream lists what is allowed in order; see `not_one_of` for where it does not."""
    values = list(allowed)
    return FieldError("FieldValueNotSupported", field, lambda: _unsupported(value, sorted(values)))


def not_one_of(field: str, value: Any, allowed: Sequence[str]) -> FieldError:
    """As `not_supported`, where upstream names what is allowed in an order of its own."""
    return FieldError("FieldValueNotSupported", field, lambda: _unsupported(value, allowed))


def _unsupported(value: Any, allowed: Sequence[str]) -> str:
    values = ", ".join(f'"{item}"' for item in allowed)
    return f"Unsupported value: {_show(value)}: supported values: {values}"


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, lambda: f"Duplicate value: {_show(value)}")


def forbidden_field(field: str, explanation: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, lambda: f"Forbidden: {explanation}")


def too_long(field: str, limit: int) -> FieldError:
    unit = "byte" if limit == 1 else "bytes"
    return FieldError("FieldValueTooLong", field, f"Too long: may not be more than {limit} {unit}")


def too_many(field: str, count: int, limit: int) -> FieldError:
    unit = "item" if limit == 1 else "items"
    detail = f"Too many: {count}: must have at most {limit} {unit}"
    return FieldError("FieldValueTooMany", field, detail)


def field_not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, lambda: f"Not found: {_show(value)}")
