"""What the API server asks webhooks, and what they answer: reviews of admission and of conversion
(admission.k8s.io/v1 and apiextensions.k8s.io/v1).

A body that holds no review raises msgspec.DecodeError or the like, which `webhook` answers with
400.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from tiphys.api import admission_v1, apiextensions_v1
from tiphys.api.base import decode, encode
from tiphys.api.meta_v1 import Status, StatusCause, StatusDetails
from tiphys.machinery.fielderrors import FieldError, first

_LONGEST = 500  # characters of the message for an object that cannot be converted


class Refused(Exception):
    """The request is refused; `status` is the reason for its client."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


class Verdict(NamedTuple):
    """`operations` are those of a JSON patch (RFC 6902) for the object under review,
    `warnings` are for its author."""

    operations: Sequence[dict[str, Any]] = ()
    warnings: Sequence[str] = ()


Judge = Callable[[admission_v1.AdmissionRequest], Verdict]
"""Raises Refused."""
Convert = Callable[[dict[str, Any], str], dict[str, Any]]
"""From an object and an apiVersion to the object in that version. Raises Refused."""


def refusal(message: str, code: int = 422, reason: str = "Invalid") -> Refused:
    return Refused(Status(message=message, code=code, reason=reason))


def invalid(group: str, kind: str, name: str, errors: Sequence[FieldError]) -> Refused:
    """Of fields that may not be so, with their paths, as the API server reports it of its own."""
    errors = first(errors)
    details = ", ".join(map(str, errors))
    causes = [
        StatusCause(reason=error.reason, message=error.detail, field=error.field)
        for error in errors
    ]
    return Refused(
        Status(
            message=details if len(errors) == 1 else f"[{details}]",
            code=422,
            reason="Invalid",
            details=StatusDetails(name=name, group=group, kind=kind, causes=causes),
        )
    )


def denied(errors: Sequence[FieldError]) -> Refused:
    """The same as operators in Go say it, whose library (controller-runtime) knows no better."""
    details = ", ".join(dict.fromkeys(map(str, errors)))
    return refusal(details if len(errors) == 1 else f"[{details}]", 403, "Forbidden")


# --- admission ---


def reviewed(body: bytes, judge: Judge) -> bytes:
    """The answer to an AdmissionReview."""
    asked = request_of(body)
    try:
        return allowed(asked, judge(asked))
    except Refused as error:
        return refused(asked, error)


def request_of(body: bytes) -> admission_v1.AdmissionRequest:
    """What an AdmissionReview asks. Raises msgspec.DecodeError for what is none."""
    asked = decode(body, admission_v1.AdmissionReview).request
    if asked is None:
        raise msgspec.DecodeError("a review holds a request")
    return asked


def object_of(asked: admission_v1.AdmissionRequest) -> dict[str, Any]:
    """The object under review; a deletion has none. Raises msgspec.DecodeError."""
    if not isinstance(asked.object, dict):
        raise msgspec.DecodeError("a review holds a request with an object")
    return asked.object


def allowed(asked: admission_v1.AdmissionRequest, verdict: Verdict) -> bytes:
    response = admission_v1.AdmissionResponse(uid=asked.uid, allowed=True)
    response.warnings = list(verdict.warnings)
    if verdict.operations:
        response.patch_type = "JSONPatch"
        response.patch = msgspec.json.encode(verdict.operations)
    return encode(admission_v1.AdmissionReview(response=response))


def refused(asked: admission_v1.AdmissionRequest, error: Refused) -> bytes:
    response = admission_v1.AdmissionResponse(uid=asked.uid, allowed=False, status=error.status)
    return encode(admission_v1.AdmissionReview(response=response))


# --- conversion ---


def converted(body: bytes, convert: Convert) -> bytes:
    """The answer to a ConversionReview: all of its objects, or none. Raises msgspec.DecodeError for
    what is no review."""
    asked = decode(body, apiextensions_v1.ConversionReview).request
    if asked is None:
        raise msgspec.DecodeError("a review holds a request")
    response = apiextensions_v1.ConversionResponse(uid=asked.uid)
    try:
        response.converted_objects = [
            convert(obj, asked.desired_api_version) for obj in asked.objects
        ]
        response.result = Status(status="Success")
    except (Refused, AttributeError, TypeError) as error:
        # An object of the wrong shape was stored before its definition had this schema.
        response.result = Status(status="Failure", message=str(error)[:_LONGEST])
    return encode(apiextensions_v1.ConversionReview(response=response))
