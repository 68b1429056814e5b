"""Bodies of requests: their encoding, the object they hold, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http import HttpVersion11

from tiphys.api.base import encode, to_builtins
from tiphys.api.catalog import Resource
from tiphys.api.custom import CustomObject
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.request import Call
from tiphys.apiserver.registry import ownership
from tiphys.apiserver.registry.conversion import to_storage
from tiphys.apiserver.registry.kinds import FieldValidation, Strict, check_kind
from tiphys.apiserver.registry.patches import APPLY, JSONPatch, Patch, offered
from tiphys.machinery import decoding, errors, fieldvalidation, gowords, protobuf
from tiphys.machinery.decoding import DecodeError, Unread
from tiphys.machinery.structural import Schema, unreadable_embedded

_MAP = "map[string]interface {}"  # what upstream reads applied objects into


async def invite(request: web.BaseRequest) -> None:
    """Has a client send its body that waits to be asked for it (``Expect: 100-continue``)."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return
    if request.version == HttpVersion11:
        writer = request._payload_writer
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.output_size = 0  # it is no part of the answer


async def body(call: Call) -> bytes:
    data: bytes = await call.http.read()
    return data


def plain_body(call: Call, data: bytes) -> Any:
    """Plain dicts and lists of a body in JSON, or in YAML that has been read already.

    Raises DecodeError.
    """
    document = call.document
    if document is None:
        return decoding.plain(data)
    if document.error:
        raise Unread(f"couldn't get version/kind; json parse error: {document.error}")
    return decoding.plain(document.json)


def _problems(call: Call) -> list[str]:
    return call.document.problems if call.document is not None else []


def media_type(call: Call) -> str:
    return str(call.http.headers.get("Content-Type", "application/json")).partition(";")[0].strip()


def check_patch_type(call: Call, resource: Resource) -> None:
    """Raises 415 for a patch that is of no kind. Upstream's router looks, but for custom resources
    it has no part in."""
    media = media_type(call)
    if media == APPLY:
        return
    media_types = offered(strategic=resource.built_in)
    if media in media_types:
        return
    if resource.built_in:
        raise errors.not_routed(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    raise errors.unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(media_types)
    )


_MOST_PARAMETERS = 16  # of a media type that are read
_READ = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)


def input_type(call: Call) -> str:
    """The media type of an object's body. Raises 415."""
    header = str(call.http.headers.get("Content-Type", "")) or _READ[0]
    media, *parameters = [part.strip() for part in header.split(";", _MOST_PARAMETERS)]
    media = media.lower()
    if media not in _READ or not all("=" in parameter for parameter in parameters if parameter):
        raise errors.unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: "
            f"{respond.OFFERED}"
        )
    return media


def read_object(call: Call, data: bytes, kind: Any, resource: Resource) -> Any:
    """A typed object of the request's body, checked as fieldValidation asks. Raises 400 or 415."""
    obj = _read_object(call, data, kind, resource)
    if call.record is not None:
        call.record.posted(obj, lambda: _as_json(call, data, obj))
    return obj


def _as_json(call: Call, data: bytes, obj: Any) -> bytes:
    """What was posted, in JSON, whatever form it came in."""
    if call.document is not None:
        return call.document.json
    return data if data[:1] == b"{" else encode(obj)


def _read_object(call: Call, data: bytes, kind: Any, resource: Resource) -> Any:
    media = input_type(call)
    if media == protobuf.MEDIA_TYPE:
        return _from_protobuf(data, kind)
    custom = issubclass(kind, CustomObject)
    try:
        if "yaml" in media:
            value = plain_body(call, data)
            value = {} if value is None else value
            obj = decoding.convert(value, kind)
        else:
            obj = decoding.typed(data, kind)
            value = None
    except DecodeError as error:
        raise _unreadable(str(error), data, kind, resource, error.unread) from None
    if custom and not obj.kind:
        raise _unreadable(
            f"Object 'Kind' is missing in '{data.decode(errors='replace')}'",
            data,
            kind,
            resource,
            True,
        )
    check_kind(obj, kind)
    schema = _schema_of(resource, kind)
    if schema is not None and (problem := unreadable_embedded(obj.content, schema)):
        raise _unreadable(problem, data, kind, resource)
    try:
        _check_fields(call, data, value, kind, resource)
    except Strict as error:
        raise _unreadable(str(error), data, kind, resource) from None
    return obj


def _unreadable(
    reason: str, data: bytes, kind: Any, resource: Resource, unread: bool = False
) -> errors.StatusError:
    """400 that says which object could not be read, or the start of the body if not even that is
    known.
    """
    if unread:
        shown = data.decode(errors="replace") if data[:1] == b"{" else data[:_SHOWN].hex()
        summary = (shown[:_SHOWN] if data[:1] == b"{" else shown) + (
            " ..." if len(data) > _SHOWN else ""
        )
        return errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.__name__}): {reason} "
            f"({summary or '<empty>'})"
        )
    name = kind.__name__
    return errors.bad_request(
        f'{name} in version "{resource.version}" cannot be handled as a {name}: {reason}'
    )


_SHOWN = 30  # bytes of an unreadable body that are shown


def _from_protobuf(data: bytes, kind: Any) -> Any:
    try:
        api_version, name, message = protobuf.unwrap(data)
        obj = protobuf.decode(message, kind)
    except protobuf.WireError as error:
        raise errors.bad_request(str(error)) from None
    obj.api_version = api_version or obj.api_version
    obj.kind = name or obj.kind
    check_kind(obj, kind)
    return decoding.convert(to_builtins(obj), kind)


def _check_fields(call: Call, data: bytes, value: Any, kind: Any, resource: Resource) -> None:
    validation = field_validation(call)
    if validation.ignored:
        return
    duplicates: list[str] = []
    if value is None:
        value = msgspec.json.decode(data)
    else:  # of YAML, duplicate fields were found when it was read
        duplicates = _problems(call)
        data = b""
    schema = _schema_of(resource, kind)
    validation.report(duplicates + fieldvalidation.field_problems(data, value, kind, schema))


def field_validation(call: Call) -> FieldValidation:
    """What a request wants to happen to unknown and duplicate fields."""
    return FieldValidation(call.query.get("fieldValidation") or "Warn")


def _schema_of(resource: Resource, kind: Any) -> Schema | None:
    """The schema of a custom resource's objects; its subresources take built-in types."""
    schema: Schema | None = resource.schema
    return schema if schema is not None and kind is resource.type else None


def patch_problems(validation: FieldValidation, patch: Patch, data: bytes) -> list[str]:
    """The duplicate and unknown fields of a patch as it was sent."""
    if validation.ignored or data[:1] not in b"{[":
        return []
    if isinstance(patch, JSONPatch):
        return fieldvalidation.json_patch_problems(data)
    if data.count(b'":') == fieldvalidation.count_keys(patch.body):
        return []
    return [f'duplicate field "{path}"' for path in fieldvalidation.duplicate_fields(data)]


def configuration(call: Call, resource: Resource, data: bytes) -> dict[str, Any]:
    """The applied object, plain, in the stored version. Raises 400."""
    try:
        config = plain_body(call, data)
    except DecodeError as error:
        reason = call.document.error if call.document is not None else str(error)
        raise errors.bad_request(f"error decoding YAML: {reason or error}") from None
    if not isinstance(config, dict | None):
        problem = f"json: cannot unmarshal {gowords.name_of(config)} into Go value of type {_MAP}"
        raise errors.bad_request(
            f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {problem}"
        )
    config = config or {}
    version = config.get("apiVersion") or ""
    kind = config.get("kind") or ""
    if (version, kind) != (resource.api_version, resource.kind):
        group = "" if "/" in str(version) else "/"
        raise errors.bad_request(f"invalid object type: {group}{version}, Kind={kind}")
    if not isinstance(config.setdefault("metadata", {}), dict):
        raise errors.bad_request("error decoding YAML: metadata must be an object")
    meta = config["metadata"]
    if meta.get("managedFields") is not None:
        raise errors.bad_request("metadata.managedFields must be nil")
    if meta.setdefault("name", call.info.name) != call.info.name:
        reason = (
            f"the name of the object ({meta['name']}) does not match the name on the URL "
            f"({call.info.name})"
        )
        raise errors.bad_request(reason)
    namespace = meta.get("namespace") or ""
    if (
        resource.namespaced
        and meta.setdefault("namespace", call.info.namespace) != call.info.namespace
    ):
        reason = (
            f"the namespace of the object ({meta['namespace']}) does not match the namespace on "
            f"the URL ({call.info.namespace})"
        )
        raise errors.bad_request(reason)
    unknown = fieldvalidation.field_problems(b"", config, resource.type, resource.schema)
    if unknown:
        paths = [problem.removeprefix('unknown field "').rstrip('"') for problem in unknown]
        problems = [f".{path}: field not declared in schema" for path in paths]
        where = f"{namespace}/{call.info.name}; {resource.api_version}, Kind={resource.kind}"
        reason = problems[0] if len(problems) == 1 else "\n  ".join(["errors:", *problems])
        raise errors.bad_request(f"failed to create typed patch object ({where}): {reason}")
    double = _problems(call)
    if double:
        validation = field_validation(call)
        if validation.strict:
            raise errors.bad_request(
                f"error strict decoding YAML: error converting YAML to JSON: {double[0]}"
            )
        validation.report(double)
    if resource.is_storage_version:
        return config
    ownership.check_shape(resource, config)
    return to_storage(resource, config)
