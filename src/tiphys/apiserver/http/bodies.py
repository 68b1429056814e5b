"""Bodies of requests: what they are written in, what object they hold, and what is wrong with them."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from tiphys.api.base import to_builtins
from tiphys.api.catalog import RESOURCES, Resource
from tiphys.api.custom import CustomObject
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.request import Call, add_warning
from tiphys.apiserver.registry.conversion import to_storage
from tiphys.machinery import decoding, errors, gowords, protobuf
from tiphys.machinery.decoding import DecodeError, Unread
from tiphys.machinery.structural import Schema, unreadable_embedded

_MAP = "map[string]interface {}"  # what upstream reads applied objects into


async def body(call: Call) -> bytes:
    data: bytes = await call.http.read()
    return data


def plain_body(call: Call, data: bytes) -> Any:
    """Plain dicts and lists of a body in JSON, or in YAML that has been read already. Raises DecodeError."""
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


_READ = ("application/json", "application/yaml", protobuf.MEDIA_TYPE)


def input_type(call: Call) -> str:
    """The media type of an object's body. Raises 415."""
    header = str(call.http.headers.get("Content-Type", "")) or _READ[0]
    media, *parameters = [part.strip() for part in header.split(";")]
    if media not in _READ or not all("=" in parameter for parameter in parameters if parameter):
        raise errors.unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {respond.OFFERED}"
        )
    return media


def read_object(call: Call, data: bytes, kind: Any, resource: Resource) -> Any:
    """A typed object of the request's body, checked as fieldValidation asks. Raises 400 or 415."""
    media = input_type(call)
    if media == protobuf.MEDIA_TYPE:
        return _from_protobuf(data, kind)
    custom = issubclass(kind, CustomObject)
    try:
        if "yaml" in media:
            value = plain_body(call, data)
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
    if (schema := schema_of(resource, kind)) and (
        problem := unreadable_embedded(obj.content, schema)
    ):
        raise _unreadable(problem, data, kind, resource)
    try:
        _check_fields(call, data, value, kind, resource)
    except Strict as error:
        raise _unreadable(str(error), data, kind, resource) from None
    return obj


def _unreadable(
    why: str, data: bytes, kind: Any, resource: Resource, unread: bool = False
) -> errors.StatusError:
    """400 that says which object could not be read, or how the body begins if not even that is known."""
    if unread:
        shown = data.decode(errors="replace") if data[:1] == b"{" else data[:_SHOWN].hex()
        summary = (shown[:_SHOWN] if data[:1] == b"{" else shown) + (
            " ..." if len(data) > _SHOWN else ""
        )
        return errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.__name__}): {why} ({summary or '<empty>'})"
        )
    name = kind.__name__
    return errors.bad_request(
        f'{name} in version "{resource.version}" cannot be handled as a {name}: {why}'
    )


_SHOWN = 30  # bytes of an unreadable body that are told


class Strict(ValueError):
    """What strict decoding refuses."""


def schema_of(resource: Resource, kind: Any) -> Schema | None:
    """The schema that objects of a custom resource are checked against."""
    return (
        resource.schema if isinstance(resource, CustomResource) and kind is resource.type else None
    )


def _from_protobuf(data: bytes, kind: Any) -> Any:
    try:
        api_version, name, message = protobuf.unwrap(data)
        obj = protobuf.decode(message, kind)
    except (protobuf.WireError, UnicodeDecodeError) as error:
        raise errors.bad_request(str(error)) from None
    obj.api_version, obj.kind = api_version or obj.api_version, name or obj.kind
    check_kind(obj, kind)
    return decoding.convert(to_builtins(obj), kind)


def _check_fields(call: Call, data: bytes, value: Any, kind: Any, resource: Resource) -> None:
    if call.query.get("fieldValidation") == "Ignore":
        return
    problems = []
    if value is None:
        value = msgspec.json.decode(data)
    else:
        problems, data = _problems(call), b""
    object_to(
        call, problems + decoding.field_problems(data, value, kind, schema_of(resource, kind))
    )


def object_to(call: Call, problems: list[str]) -> None:
    """An error or warnings, as fieldValidation asks."""
    mode = call.query.get("fieldValidation") or "Warn"
    if problems and mode == "Strict":
        raise Strict("strict decoding error: " + ", ".join(problems))
    if mode == "Warn":
        for problem in problems:
            add_warning(call.warnings, problem)


@functools.lru_cache(2048)
def _name_of(kind: Any) -> tuple[str, str]:
    """(apiVersion, kind) of a type."""
    made = kind()
    return made.api_version, made.kind


def check_kind(obj: Any, kind: Any) -> None:
    version, name = _name_of(kind)
    if obj.kind == name and obj.api_version == version:
        return
    custom = issubclass(kind, CustomObject)
    if custom and obj.api_version == version:
        why = [errors.invalid_value("kind", obj.kind, f"must be {name}")]
        raise errors.invalid(obj.kind, version.rpartition("/")[0], obj.metadata.name, why)
    if custom or (obj.kind == name and (obj.api_version, name) in _served_kinds()):
        raise errors.bad_request(
            f"the API version in the data ({obj.api_version}) does not match the expected API version ({version})"
        )
    told = f'{obj.kind} in version "{obj.api_version.rpartition("/")[2]}" cannot be handled as a {name}: '
    if (obj.api_version, obj.kind) in _served_kinds():
        theirs, ours = (
            obj.api_version.rpartition("/")[2],
            version.partition(".")[0].partition("/")[0],
        )
        inner = f"{ours if '/' in version else 'core'}.{name}"
        raise errors.bad_request(
            f"{told}converting ({theirs}.{obj.kind}) to ({inner}): unknown conversion"
        )
    raise errors.bad_request(
        f'{told}no kind "{obj.kind}" is registered for version "{obj.api_version}" in scheme "tiphys"'
    )


@functools.cache
def _served_kinds() -> frozenset[tuple[str, str]]:
    return frozenset((resource.api_version, resource.kind) for resource in RESOURCES)


def patch_problems(call: Call, media: str, data: bytes, wish: Any) -> list[str]:
    """What is doubtful in a patch as it was sent."""
    if call.query.get("fieldValidation") == "Ignore" or data[:1] not in b"{[":
        return []
    if "json-patch" in media:
        return decoding.json_patch_problems(data)
    if data.count(b'":') == decoding.count_keys(wish):
        return []
    return [f'duplicate field "{path}"' for path in decoding.duplicate_fields(data)]


def configuration(call: Call, resource: Resource, data: bytes) -> dict[str, Any]:
    """The applied object, plain, in the stored version. Raises 400."""
    try:
        config = plain_body(call, data)
    except DecodeError as error:
        why = call.document.error if call.document is not None else str(error)
        raise errors.bad_request(f"error decoding YAML: {why or error}") from None
    if not isinstance(config, dict | None):
        problem = f"json: cannot unmarshal {gowords.name_of(config)} into Go value of type {_MAP}"
        raise errors.bad_request(
            f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {problem}"
        )
    config = config or {}
    version, kind = config.get("apiVersion") or "", config.get("kind") or ""
    if (version, kind) != (resource.api_version, resource.kind):
        group = "" if "/" in str(version) else "/"
        raise errors.bad_request(f"invalid object type: {group}{version}, Kind={kind}")
    if not isinstance(config.setdefault("metadata", {}), dict):
        raise errors.bad_request("error decoding YAML: metadata must be an object")
    meta = config["metadata"]
    if meta.get("managedFields") is not None:
        raise errors.bad_request("metadata.managedFields must be nil")
    if meta.setdefault("name", call.info.name) != call.info.name:
        why = f"the name of the object ({meta['name']}) does not match the name on the URL ({call.info.name})"
        raise errors.bad_request(why)
    said = meta.get("namespace") or ""
    if (
        resource.namespaced
        and meta.setdefault("namespace", call.info.namespace) != call.info.namespace
    ):
        why = f"the namespace of the object ({meta['namespace']}) does not match the namespace on the URL ({call.info.namespace})"
        raise errors.bad_request(why)
    unknown = decoding.field_problems(
        b"", config, resource.type, schema_of(resource, resource.type)
    )
    if unknown:
        paths = [problem.removeprefix('unknown field "').rstrip('"') for problem in unknown]
        told = [f".{path}: field not declared in schema" for path in paths]
        where = f"{said}/{call.info.name}; {resource.api_version}, Kind={resource.kind}"
        why = told[0] if len(told) == 1 else "\n  ".join(["errors:", *told])
        raise errors.bad_request(f"failed to create typed patch object ({where}): {why}")
    double = _problems(call)
    if double:
        if call.query.get("fieldValidation") == "Strict":
            raise errors.bad_request(
                f"error strict decoding YAML: error converting YAML to JSON: {double[0]}"
            )
        object_to(call, double)
    return config if resource.is_storage_version else to_storage(resource, config)


def patched_object(call: Call, resource: Resource, after: Any, doubtful: list[str]) -> Any:
    """The object that a patch has made. Raises DecodeError or what strict decoding raises."""
    new = decoding.convert(after, resource.type)
    if call.query.get("fieldValidation") != "Ignore":
        schema = schema_of(resource, resource.type)
        object_to(call, doubtful + decoding.field_problems(b"", after, resource.type, schema))
    check_kind(new, resource.type)
    return new
