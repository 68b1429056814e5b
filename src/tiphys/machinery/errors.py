"""Errors as the API answers them: one exception that carries a Status, builders in upstream's
words, and predicates.

Whoever calls the API asks what an error is by the predicates (`is_not_found` and so on), as with
apimachinery's `errors` package, and compares no numbers: 409 alone is two different answers, and
webhooks and proxies answer with numbers of their own. Broken rules of single fields are in
`fielderrors`, and can be had from here, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tiphys.api.meta_v1 import Status, StatusCause, StatusDetails
from tiphys.machinery.fielderrors import (
    FieldError,
    drop,
    duplicate,
    field_not_found,
    first,
    forbidden_field,
    invalid_value,
    not_one_of,
    not_supported,
    required,
    too_long,
    too_many,
)
from tiphys.machinery.goformat import quoted

__all__ = [
    "MODIFIED",
    "FieldError",
    "StatusError",
    "already_exists",
    "bad_request",
    "conflict",
    "duplicate",
    "field_not_found",
    "forbidden",
    "forbidden_field",
    "gone",
    "internal",
    "invalid",
    "invalid_value",
    "is_already_exists",
    "is_conflict",
    "is_expired",
    "is_forbidden",
    "is_invalid",
    "is_not_found",
    "is_too_many_requests",
    "is_unauthorized",
    "is_write_overtaken",
    "method_not_allowed",
    "method_refused",
    "not_acceptable",
    "not_found",
    "not_one_of",
    "not_supported",
    "page_not_found",
    "required",
    "store_read",
    "timeout",
    "too_large",
    "too_large_version",
    "too_long",
    "too_many",
    "too_many_requests",
    "too_old",
    "unauthorized",
    "unavailable",
    "unspecified",
    "unsupported_media_type",
]

_MOST_CAUSES = 100  # of a list that cannot be read
_KNOWN_REASONS = frozenset(
    (
        "Unauthorized",
        "Forbidden",
        "NotFound",
        "AlreadyExists",
        "Conflict",
        "Gone",
        "Invalid",
        "ServerTimeout",
        "StorageReadError",
        "Timeout",
        "TooManyRequests",
        "BadRequest",
        "MethodNotAllowed",
        "NotAcceptable",
        "RequestEntityTooLarge",
        "UnsupportedMediaType",
        "InternalError",
        "Expired",
        "ServiceUnavailable",
    )
)


class StatusError(Exception):
    """A request failed: `status` is what the client gets, its message is the error's text."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status

    @property
    def code(self) -> int:
        """The HTTP status."""
        return self.status.code

    @property
    def reason(self) -> str:
        return self.status.reason


# --- what an error is ---


def _is(error: BaseException, reason: str, code: int) -> bool:
    """Whether an error has a reason; the code counts if the reason is none that the API defines, as
    for upstream."""
    if not isinstance(error, StatusError):
        return False
    return error.reason == reason or (error.reason not in _KNOWN_REASONS and error.code == code)


def is_not_found(error: BaseException) -> bool:
    return _is(error, "NotFound", 404)


def is_already_exists(error: BaseException) -> bool:
    """A create met an object of that name. By reason alone, as upstream: a 409 without one is a
    conflict."""
    return isinstance(error, StatusError) and error.reason == "AlreadyExists"


def is_conflict(error: BaseException) -> bool:
    """An update was based on an older version of the object, or met another field manager's
    field."""
    return _is(error, "Conflict", 409)


def is_write_overtaken(error: BaseException) -> bool:
    """A concurrent change came first: the object was deleted, has changed, or exists already.

    A controller does nothing about it: the change that overtook its write reaches it by its watch.
    """
    return is_not_found(error) or is_conflict(error) or is_already_exists(error)


def is_expired(error: BaseException) -> bool:
    """The requested history is no longer kept: list again. Upstream's IsResourceExpired and IsGone,
    which its reflector does not distinguish either."""
    return _is(error, "Expired", 410) or _is(error, "Gone", 410)


def is_unauthorized(error: BaseException) -> bool:
    """The request is not authenticated."""
    return _is(error, "Unauthorized", 401)


def is_forbidden(error: BaseException) -> bool:
    """The user is not allowed to do it, or admission denied it."""
    return _is(error, "Forbidden", 403)


def is_invalid(error: BaseException) -> bool:
    """The object breaks rules of its kind; the causes name them."""
    return _is(error, "Invalid", 422)


def is_too_many_requests(error: BaseException) -> bool:
    """The server, or a disruption budget, asks to come again later."""
    return _is(error, "TooManyRequests", 429)


def is_server_busy(error: BaseException) -> bool:
    """It has too much to do, or is in trouble: the same may pass later."""
    return isinstance(error, StatusError) and (error.code == 429 or error.code >= 500)


# --- answers ---


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
    return _error(404, "NotFound", f"{resource} {quoted(name)} not found", _details(resource, name))


def already_exists(resource: str, name: str) -> StatusError:
    message = f"{resource} {quoted(name)} already exists"
    return _error(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: str, name: str, explanation: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource} "{name}": {explanation}'
    return _error(409, "Conflict", message, _details(resource, name))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def forbidden(resource: str, name: str, explanation: str) -> StatusError:
    subject = f'{resource} "{name}"' if name else resource
    message = f"{subject} is forbidden: {explanation}"
    return _error(403, "Forbidden", message, _details(resource, name))


def path_forbidden(user: str, verb: str, path: str) -> StatusError:
    """The 403 for a path that is no resource."""
    message = f'forbidden: User "{user}" cannot {verb} path "{path}"'
    return _error(403, "Forbidden", message)


def unauthorized() -> StatusError:
    return _error(401, "Unauthorized", "Unauthorized")


def bad_request(message: str) -> StatusError:
    return _error(400, "BadRequest", message)


def gone(message: str) -> StatusError:
    return _error(410, "Expired", message)


def too_old(requested: int, current: int) -> StatusError:
    """The history asked for is no longer kept."""
    return gone(f"too old resource version: {requested} ({current})")


def method_not_allowed(resource: str, verb: str) -> StatusError:
    message = f'{verb} is not supported on resources of kind "{resource}"'
    return _error(405, "MethodNotAllowed", message, _details(resource, ""))


def method_refused() -> StatusError:
    """The path is served, the method is not: what a router answers that knows no resource."""
    message = "the server does not allow this method on the requested resource"
    return _error(405, "MethodNotAllowed", message, StatusDetails())


def not_acceptable(message: str) -> StatusError:
    return _error(406, "NotAcceptable", message)


def unsupported_media_type(message: str) -> StatusError:
    return _error(415, "UnsupportedMediaType", message)


def too_large(message: str) -> StatusError:
    return _error(413, "RequestEntityTooLarge", message)


def too_many_requests(message: str, retry_after: int = 1) -> StatusError:
    """`retry_after` in seconds."""
    return _error(429, "TooManyRequests", message, StatusDetails(retry_after_seconds=retry_after))


def timeout(message: str, retry_after: int = 0) -> StatusError:
    """`retry_after` in seconds."""
    return _error(504, "Timeout", message, StatusDetails(retry_after_seconds=retry_after))


def too_large_version(requested: int, current: int) -> StatusError:
    """The client has seen a revision that this server has not reached; it should ask again soon."""
    cause = StatusCause(reason="ResourceVersionTooLarge", message="Too large resource version")
    details = StatusDetails(causes=[cause], retry_after_seconds=1)
    message = f"Timeout: Too large resource version: {requested}, current: {current}"
    return _error(504, "Timeout", message, details)


def internal(message: str) -> StatusError:
    details = StatusDetails(causes=[StatusCause(message=message)])
    return _error(500, "InternalError", f"Internal error occurred: {message}", details)


def unspecified(message: str) -> StatusError:
    """What upstream answers for an error that it has no reason for: the store's own, for one."""
    return _error(500, "", message)


def store_read(resource: str, problems: Iterable[tuple[str, str]]) -> StatusError:
    """A list that cannot be read in whole. `problems` are keys and what is wrong with each; the
    first 100 are named."""
    causes = [
        StatusCause(reason="UnexpectedServerResponse", field=key, message=text)
        for key, text in problems
    ]
    if len(causes) > _MOST_CAUSES:
        truncated = "too many errors, the list is truncated"
        causes[_MOST_CAUSES:] = [StatusCause(reason="FieldValueTooMany", message=truncated)]
    message = f"failed to read one or more {resource} from the storage"
    return _error(500, "StorageReadError", message, _details(resource, "list", causes=causes))


def unavailable(message: str) -> StatusError:
    return _error(503, "ServiceUnavailable", message)


def not_routed(code: int, reason: str, message: str) -> StatusError:
    """What a router says of a request that none of its routes fits."""
    return _error(code, reason, message, StatusDetails())


def page_not_found() -> StatusError:
    message = "the server could not find the requested resource"
    return _error(404, "NotFound", message, StatusDetails())


def invalid(kind: str, group: str, name: str, errors: list[FieldError]) -> StatusError:
    """422 with every broken rule in one answer, as far as they fit (`first`). Of very many, the
    last are taken out of the list."""
    qualified = f"{kind}.{group}" if group else kind
    shown = first(errors)
    drop(errors)
    texts = list(dict.fromkeys(str(error) for error in shown))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    causes = [StatusCause(reason=e.reason, message=e.detail, field=e.field) for e in shown]
    details = StatusDetails(name=name, group=group, kind=kind, causes=causes)
    return _error(422, "Invalid", f'{qualified} "{name}" is invalid: {joined}', details)
