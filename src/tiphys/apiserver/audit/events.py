"""Audit events as they are written: one line of JSON each, the fields in upstream's order."""

from __future__ import annotations

import functools
import time
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from tiphys.api.meta_v1 import StatusDetails
from tiphys.apiserver.http.request import User
from tiphys.machinery import timestamps

TRUNCATED = "audit.k8s.io/truncated"


class UserInfo(msgspec.Struct, omit_defaults=True, gc=False):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = {}


class ObjectReference(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_group: str = ""
    api_version: str = ""
    resource_version: str = ""
    subresource: str = ""


class _Metadata(msgspec.Struct, gc=False):
    """That of a Status, which upstream writes even if there is none."""


class ResponseStatus(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    status: str = ""
    message: str = ""
    reason: str = ""
    details: StatusDetails | None = None
    code: int = 0


class AuthenticationMetadata(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    impersonation_constraint: str = ""


class Event(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """One stage of one request."""

    level: str
    audit_id: str = msgspec.field(name="auditID")
    stage: str
    request_uri: str = msgspec.field(name="requestURI")
    verb: str
    user: UserInfo
    impersonated_user: UserInfo | None = None
    authentication_metadata: AuthenticationMetadata | None = None
    source_ips: list[str] = msgspec.field(name="sourceIPs", default_factory=list)
    user_agent: str = ""
    object_ref: ObjectReference | None = None
    response_status: ResponseStatus | None = None
    request_object: Raw | UnsetType = UNSET
    response_object: Raw | UnsetType = UNSET
    request_received_timestamp: str = ""
    stage_timestamp: str = ""
    annotations: dict[str, str] = {}


def user_info(user: User) -> UserInfo:
    return UserInfo(user.name, user.uid, user.groups, user.extra)


_HEAD = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'


def written(event: Event) -> bytes:
    """The line of an event, without its end."""
    try:
        return _HEAD + msgspec.json.encode(event)[1:]
    except UnicodeEncodeError:  # bytes of a head that are no UTF-8
        bare = msgspec.structs.replace(event, request_object=UNSET, response_object=UNSET)
        plain = _cleaned(msgspec.to_builtins(bare))
        objects = {"requestObject": event.request_object, "responseObject": event.response_object}
        plain |= {name: value for name, value in objects.items() if value is not UNSET}
        return _HEAD + msgspec.json.encode(plain)[1:]


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_cleaned(name): _cleaned(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    return value


def truncated(event: Event) -> Event:
    """The event without its objects."""
    annotations = {**event.annotations, TRUNCATED: "true"}
    return msgspec.structs.replace(
        event, request_object=UNSET, response_object=UNSET, annotations=annotations
    )


def now() -> str:
    """The time in microseconds, as events have it."""
    moment = time.time()
    second = int(moment)
    return f"{_second(second)}.{int((moment - second) * 1e6):06d}Z"


@functools.lru_cache(4)
def _second(seconds: int) -> str:
    return timestamps.rfc3339(seconds)[:-1]


# --- objects ---


def compact(data: bytes, omit_managed_fields: bool) -> Raw | UnsetType:
    """JSON as a line may have it; unset when it is none."""
    try:
        if omit_managed_fields and b'"managedFields"' in data:
            return Raw(msgspec.json.encode(without_managed_fields(msgspec.json.decode(data))))
        if b"\n" in data or b"\r" in data:
            data = msgspec.json.format(data, indent=-1)
        else:
            msgspec.json.decode(data, type=Raw)  # whether it is JSON at all
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UNSET
    return Raw(data)


def without_managed_fields(body: Any) -> Any:
    """A decoded object, list or table without them; it is changed."""
    if not isinstance(body, dict):
        return body
    _drop(body)
    for item in body.get("items") or ():
        _drop(item)
    for row in body.get("rows") or ():
        if isinstance(row, dict):
            _drop(row.get("object"))
    return body


def _drop(obj: Any) -> None:
    if isinstance(obj, dict) and isinstance(obj.get("metadata"), dict):
        obj["metadata"].pop("managedFields", None)
