"""Errors as the API answers them: one exception that carries a Status, and builders in upstream's words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tiphys.api.meta_v1 import Status, StatusCause, StatusDetails


class StatusError(Exception):
    """A request failed: `status` is what the client gets."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status

    @property
    def code(self) -> int:
        return self.status.code

    @property
    def reason(self) -> str:
        return self.status.reason


def is_not_found(error: StatusError) -> bool:
    """Whether there is no object of that name."""
    return error.reason == "NotFound"


def is_already_exists(error: StatusError) -> bool:
    """Whether there is an object of that name already."""
    return error.reason == "AlreadyExists"


def is_conflict(error: StatusError) -> bool:
    """Whether the object is another than was thought: somebody wrote in between."""
    return error.reason == "Conflict"


def _error(
    code: int, reason: str, message: str, details: StatusDetails | None = None
) -> StatusError:
    return StatusError(
        Status(status="Failure", message=message, reason=reason, details=details, code=code)
    )


def _details(group_resource: str, name: str, **kwargs: Any) -> StatusDetails:
    plural, _, group = group_resource.partition(".")
    return StatusDetails(name=name, group=group, kind=plural, **kwargs)


def not_found(resource: str, name: str) -> StatusError:
    return _error(404, "NotFound", f'{resource} "{name}" not found', _details(resource, name))


def already_exists(resource: str, name: str) -> StatusError:
    return _error(
        409, "AlreadyExists", f'{resource} "{name}" already exists', _details(resource, name)
    )


def conflict(resource: str, name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource} "{name}": {why}'
    return _error(409, "Conflict", message, _details(resource, name))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def forbidden(resource: str, name: str, why: str) -> StatusError:
    message = (
        f'{resource} "{name}" is forbidden: {why}' if name else f"{resource} is forbidden: {why}"
    )
    return _error(403, "Forbidden", message, _details(resource, name))


def unauthorized() -> StatusError:
    return _error(401, "Unauthorized", "Unauthorized")


def bad_request(message: str) -> StatusError:
    return _error(400, "BadRequest", message)


def gone(message: str) -> StatusError:
    return _error(410, "Expired", message)


def too_old(requested: int, current: int) -> StatusError:
    return gone(f"too old resource version: {requested} ({current})")


def method_not_allowed(resource: str, verb: str) -> StatusError:
    return _error(
        405,
        "MethodNotAllowed",
        f'{verb} is not supported on resources of kind "{resource}"',
        _details(resource, ""),
    )


def method_refused() -> StatusError:
    """The path is one that is served, the method is not: what a router says that knows no more."""
    message = "the server does not allow this method on the requested resource"
    return _error(405, "MethodNotAllowed", message, StatusDetails())


def not_acceptable(message: str) -> StatusError:
    return _error(406, "NotAcceptable", message)


def unsupported_media_type(message: str) -> StatusError:
    return _error(415, "UnsupportedMediaType", message)


def too_large(message: str) -> StatusError:
    return _error(413, "RequestEntityTooLarge", message)


def too_many_requests(message: str, retry_after: int = 1) -> StatusError:
    return _error(429, "TooManyRequests", message, StatusDetails(retry_after_seconds=retry_after))


def timeout(message: str, retry_after: int = 0) -> StatusError:
    return _error(504, "Timeout", message, StatusDetails(retry_after_seconds=retry_after))


def too_large_version(requested: int, current: int) -> StatusError:
    """The client has seen a revision that this server has not reached; it should ask again soon."""
    cause = StatusCause(reason="ResourceVersionTooLarge", message="Too large resource version")
    details = StatusDetails(causes=[cause], retry_after_seconds=1)
    return _error(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {requested}, current: {current}",
        details,
    )


def internal(message: str) -> StatusError:
    cause = StatusDetails(causes=[StatusCause(message=message)])
    return _error(500, "InternalError", f"Internal error occurred: {message}", cause)


def store_read(resource: str, problems: Iterable[tuple[str, str]]) -> StatusError:
    """What a list says that cannot be read in whole. `problems` are keys and what is wrong with each, the first 100."""
    causes = [
        StatusCause(reason="UnexpectedServerResponse", field=key, message=text)
        for key, text in problems
    ]
    if len(causes) > _MOST_CAUSES:
        causes[_MOST_CAUSES:] = [
            StatusCause(
                reason="FieldValueTooMany", message="too many errors, the list is truncated"
            )
        ]
    message = f"failed to read one or more {resource} from the storage"
    return _error(500, "StorageReadError", message, _details(resource, "list", causes=causes))


_MOST_CAUSES = 100


def unavailable(message: str) -> StatusError:
    return _error(503, "ServiceUnavailable", message)


def page_not_found() -> StatusError:
    return _error(
        404, "NotFound", "the server could not find the requested resource", StatusDetails()
    )


@dataclass(frozen=True, slots=True)
class FieldError:
    """One broken rule: the cause's reason, the field's path and upstream's sentence for it."""

    reason: str
    field: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}"


def quoted(text: str) -> str:
    """Text as Go prints it between quotes."""
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    if text.isprintable():
        return f'"{text}"'
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) + '"'


def shortest(value: float) -> str:
    """A number as Go prints it: the fewest digits that say it, with an exponent from a million on and below 0.0001."""
    if not math.isfinite(value):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, power = "".join(map(str, digits)), len(digits) - 1 + int(exponent)
    minus = "-" if sign else ""
    if value == 0:
        return f"{minus}0"
    if power < -4 or power >= 6:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        return f"{minus}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if power < 0:
        return f"{minus}0.{'0' * (-power - 1)}{text}"
    whole, rest = text[: power + 1].ljust(power + 1, "0"), text[power + 1 :]
    return f"{minus}{whole}{'.' + rest if rest else ''}"


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
    from tiphys.api.base import encode

    # As Go writes JSON that may stand in a web page.
    return (
        encode(value)
        .decode()
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
    )


def required(field: str, why: str = "") -> FieldError:
    return FieldError("FieldValueRequired", field, "Required value" + (f": {why}" if why else ""))


def invalid_value(field: str, value: Any, why: str) -> FieldError:
    return FieldError("FieldValueInvalid", field, f"Invalid value: {_show(value)}: {why}")


def not_supported(field: str, value: Any, allowed: Iterable[str]) -> FieldError:
    return not_one_of(field, value, sorted(allowed))


def not_one_of(field: str, value: Any, allowed: Iterable[str]) -> FieldError:
    """As `not_supported`, where upstream names what is allowed in an order of its own."""
    values = ", ".join(f'"{item}"' for item in allowed)
    return FieldError(
        "FieldValueNotSupported",
        field,
        f"Unsupported value: {_show(value)}: supported values: {values}",
    )


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {_show(value)}")


def forbidden_field(field: str, why: str) -> FieldError:
    return FieldError("FieldValueForbidden", field, f"Forbidden: {why}")


def too_long(field: str, limit: int) -> FieldError:
    return FieldError(
        "FieldValueTooLong",
        field,
        f"Too long: may not be more than {limit} {'byte' if limit == 1 else 'bytes'}",
    )


def too_many(field: str, count: int, limit: int) -> FieldError:
    items = "item" if limit == 1 else "items"
    return FieldError(
        "FieldValueTooMany", field, f"Too many: {count}: must have at most {limit} {items}"
    )


def field_not_found(field: str, value: Any) -> FieldError:
    return FieldError("FieldValueNotFound", field, f"Not found: {_show(value)}")


def invalid(kind: str, group: str, name: str, errors: list[FieldError]) -> StatusError:
    """422 with every broken rule in one answer."""
    qualified = f"{kind}.{group}" if group else kind
    texts = list(dict.fromkeys(str(error) for error in errors))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    causes = [StatusCause(reason=e.reason, message=e.detail, field=e.field) for e in errors]
    details = StatusDetails(name=name, group=group, kind=kind, causes=causes)
    return _error(422, "Invalid", f'{qualified} "{name}" is invalid: {joined}', details)
