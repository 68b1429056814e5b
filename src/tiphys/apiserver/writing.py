"""POST, PUT, PATCH and DELETE: bodies to objects, objects through the registry, entries to answers."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from tiphys.api import autoscaling_v1
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.catalog import RESOURCES, Resource, storage_of
from tiphys.api.custom import CustomObject
from tiphys.api.meta_v1 import DeleteOptions, ObjectMeta, Status, StatusDetails
from tiphys.apiserver import respond
from tiphys.apiserver.authorization import Asked, Authorizer, refusal
from tiphys.apiserver.conversion import from_storage, to_storage
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.options import check_list, check_write, complete_delete
from tiphys.apiserver.reading import listed, view_of
from tiphys.apiserver.registry import Lens, Registry
from tiphys.apiserver.request import Call
from tiphys.apiserver.strategies import written_as
from tiphys.apiserver.strategies.podresize import resized
from tiphys.machinery import decoding, errors, gowords, patch, protobuf
from tiphys.machinery.decoding import DecodeError
from tiphys.machinery.jsonpath import get_field, set_field
from tiphys.machinery.query import truth
from tiphys.machinery.selectors import from_label_selector, from_labels
from tiphys.machinery.structural import Schema, unreadable_embedded
from tiphys.store.cache import Entry

APPLY = "application/apply-patch+yaml"
_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    APPLY,
)  # fmt: skip


def manager_of(call: Call) -> str:
    """Who manages what this request writes: as it says itself, or the program's name in its User-Agent."""
    return call.query.get("fieldManager") or str(call.http.headers.get("User-Agent", "")).partition("/")[0] or "unknown"


async def body(call: Call) -> bytes:
    data: bytes = await call.http.read()
    return data


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
            value = decoding.plain(data, media)
            obj = decoding.convert(value, kind)
        else:
            obj = decoding.typed(data, kind)
            value = None
    except DecodeError as error:
        raise _unreadable(str(error), data, kind, resource, error.unread) from None
    if custom and not obj.kind:
        raise _unreadable(f"Object 'Kind' is missing in '{data.decode(errors='replace')}'", data, kind, resource, True)
    _check_kind(obj, kind)
    if (schema := schema_of(resource, kind)) and (problem := unreadable_embedded(obj.content, schema)):
        raise _unreadable(problem, data, kind, resource)
    try:
        _check_fields(call, data, value, kind, resource)
    except _Strict as error:
        raise _unreadable(str(error), data, kind, resource) from None
    return obj


def _unreadable(why: str, data: bytes, kind: Any, resource: Resource, unread: bool = False) -> errors.StatusError:
    """400 that says which object could not be read, or how the body begins if not even that is known."""
    if unread:
        shown = data.decode(errors="replace") if data[:1] == b"{" else data[:_SHOWN].hex()
        summary = (shown[:_SHOWN] if data[:1] == b"{" else shown) + (" ..." if len(data) > _SHOWN else "")
        return errors.bad_request(
            f"the object provided is unrecognized (must be of type {kind.__name__}): {why} ({summary or '<empty>'})"
        )
    name = kind.__name__
    return errors.bad_request(f'{name} in version "{resource.version}" cannot be handled as a {name}: {why}')


_SHOWN = 30  # bytes of an unreadable body that are told


class _Strict(ValueError):
    """What strict decoding refuses."""


def schema_of(resource: Resource, kind: Any) -> Schema | None:
    """The schema that objects of a custom resource are checked against."""
    return resource.schema if isinstance(resource, CustomResource) and kind is resource.type else None


def _from_protobuf(data: bytes, kind: Any) -> Any:
    try:
        api_version, name, message = protobuf.unwrap(data)
        obj = protobuf.decode(message, kind)
    except (protobuf.WireError, UnicodeDecodeError) as error:
        raise errors.bad_request(str(error)) from None
    obj.api_version, obj.kind = api_version or obj.api_version, name or obj.kind
    _check_kind(obj, kind)
    return decoding.convert(to_builtins(obj), kind)


def _check_fields(call: Call, data: bytes, value: Any, kind: Any, resource: Resource) -> None:
    if call.query.get("fieldValidation") == "Ignore":
        return
    problems = []
    if value is None:
        value = msgspec.json.decode(data)
    else:
        problems, data = decoding.yaml_problems(data), b""
    _object_to(call, problems + decoding.field_problems(data, value, kind, schema_of(resource, kind)))


def _object_to(call: Call, problems: list[str]) -> None:
    """An error or warnings, as fieldValidation asks."""
    mode = call.query.get("fieldValidation") or "Warn"
    if problems and mode == "Strict":
        raise _Strict("strict decoding error: " + ", ".join(problems))
    if mode == "Warn":
        call.warnings += [problem for problem in problems if problem not in call.warnings]


@functools.lru_cache(2048)
def _name_of(kind: Any) -> tuple[str, str]:
    """(apiVersion, kind) of a type."""
    made = kind()
    return made.api_version, made.kind


def _check_kind(obj: Any, kind: Any) -> None:
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
        theirs, ours = obj.api_version.rpartition("/")[2], version.partition(".")[0].partition("/")[0]
        inner = f"{ours if '/' in version else 'core'}.{name}"
        raise errors.bad_request(f"{told}converting ({theirs}.{obj.kind}) to ({inner}): unknown conversion")
    raise errors.bad_request(f'{told}no kind "{obj.kind}" is registered for version "{obj.api_version}" in scheme "tiphys"')


@functools.cache
def _served_kinds() -> frozenset[tuple[str, str]]:
    return frozenset((resource.api_version, resource.kind) for resource in RESOURCES)


def _patch_problems(call: Call, media: str, data: bytes, wish: Any) -> list[str]:
    """What is doubtful in a patch as it was sent."""
    if call.query.get("fieldValidation") == "Ignore" or data[:1] not in b"{[":
        return []
    if "json-patch" in media:
        return decoding.json_patch_problems(data)
    if data.count(b'":') == decoding.count_keys(wish):
        return []
    return [f'duplicate field "{path}"' for path in decoding.duplicate_fields(data)]


class Writer:
    def __init__(self, registry: Registry, authorizer: Authorizer) -> None:
        self._registry = registry
        self._authorizer = authorizer

    def _check_create(self, call: Call, resource: Resource) -> None:
        """A write that would create the object needs that right, too. Raises 403."""
        info = call.info
        asked = Asked("create", info.group, info.resource, "", info.namespace, info.name, version=info.version)
        if not self._authorizer.authorize(call.user, asked)[0]:
            raise refusal(call.user, asked)

    def _stored(self, resource: Resource, obj: Any) -> Any:
        """The object in the version it is stored in."""
        if resource.is_storage_version:
            return obj
        return decoding.convert(to_storage(resource, to_builtins(obj)), storage_of(resource).type)

    async def _answer(self, call: Call, resource: Resource, entry: Entry, code: int = 200) -> web.Response:
        converter = self._registry.converter
        shown = converter.shown(resource, entry) or (await converter.present(resource, [entry]))[0]
        return respond.one(call, resource, shown, code)

    # --- create ---

    async def create(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "CreateOptions")
        obj = self._stored(resource, read_object(call, data, resource.type, resource))
        entry = await self._registry.create(
            written_as(resource), call.info.namespace, obj, call.user, call.dry_run, manager_of(call)
        )
        return await self._answer(call, resource, entry, 201)

    # --- update ---

    async def update(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "UpdateOptions")
        obj = self._stored(resource, read_object(call, data, resource.type, resource))
        self._check_name(call, resource, obj.metadata)
        change = _fresh(obj, self._subresource_change(call.info.subresource))

        def create() -> Any:
            self._check_create(call, resource)
            return copy.deepcopy(obj)

        return await self._change(call, resource, change, None if call.info.subresource else create)

    @staticmethod
    def _check_name(call: Call, resource: Resource, meta: ObjectMeta) -> None:
        info = call.info
        namespace = info.namespace if resource.namespaced else ""
        if meta.namespace and namespace and meta.namespace != namespace:
            raise errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
        meta.namespace = namespace
        if not meta.name:
            raise errors.bad_request(
                f"the name of the object ({info.name} based on URL) was undeterminable: name must be provided"
            )
        if meta.name != info.name:
            raise errors.bad_request(
                f"the name of the object ({meta.name}) does not match the name on the URL ({info.name})"
            )

    async def _change(
        self, call: Call, resource: Resource, change: Callable[[Any], Any], create: Any = None, patching: bool = False
    ) -> web.Response:
        namespace = "" if not resource.namespaced else call.info.namespace
        entry, created = await self._registry.update(
            written_as(resource), namespace, call.info.name, change, call.user, call.dry_run,
            call.info.subresource, create, patching, manager_of(call),
        )  # fmt: skip
        return await self._answer(call, resource, entry, 201 if created else 200)

    def _subresource_change(self, name: str) -> Callable[[Any, Any], Any]:
        """(new, old) → what the path may change of old."""
        return _SUBRESOURCES.get(name, lambda new, old: new)

    # --- patch ---

    async def patch(self, call: Call, resource: Resource) -> web.Response:
        media = media_type(call)
        offered = [m for m in _PATCHES if "strategic" not in m or not isinstance(resource, CustomResource)]
        if media == APPLY:
            return await self._apply(call, resource)
        if media not in offered:
            raise errors.unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: " + ", ".join(offered)
            )
        data = await body(call)
        check_write(call, "PatchOptions")
        wish = read_patch(media, data)
        apply = patch_function(media, wish, resource.type)
        pick = self._subresource_change(call.info.subresource)
        doubtful = _patch_problems(call, media, data, wish)

        def change(old: Any) -> Any:
            before = to_builtins(old)
            if not resource.is_storage_version:
                before = from_storage(resource, before)
            after = _patched(apply, before, resource, call.info.name)
            try:
                new = self._typed(call, resource, after, doubtful)
            except (DecodeError, _Strict) as error:
                shown = gowords.formatted(wish) if "strategic" in media else gowords.marshalled(after)
                raise errors.invalid("", "", "", [errors.invalid_value("patch", shown, str(error))]) from None
            self._check_name(call, resource, new.metadata)
            return pick(self._stored(resource, new), old)

        return await self._change(call, resource, change, patching=True)

    async def _apply(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "PatchOptions", apply=True)
        config = self._configuration(call, resource, data)
        pick = self._subresource_change(call.info.subresource)
        return await self._apply_config(call, resource, config, lambda obj: pick(obj, obj))

    async def _apply_config(
        self, call: Call, resource: Resource, config: dict[str, Any], pick: Callable[[Any], Any]
    ) -> web.Response:
        manager, stored = call.query["fieldManager"], written_as(resource)

        def typed(merged: dict[str, Any]) -> Any:
            try:
                new = decoding.convert(merged, stored.type)
            except DecodeError as error:
                raise errors.bad_request(str(error)) from None
            return pick(new) if call.info.subresource else new

        namespace = call.info.namespace if resource.namespaced else ""
        entry, created = await self._registry.apply(
            stored, namespace, call.info.name, config, typed, call.user, call.dry_run, call.info.subresource, manager,
            truth(call.query.get("force")), lambda: self._check_create(call, resource),
            _scale_lens(resource) if call.info.subresource == "scale" else None,
        )  # fmt: skip
        if call.info.subresource == "scale":
            return _scale_answer(call, scale_of(resource, await self._registry.converter.read(resource, entry)))
        return await self._answer(call, resource, entry, 201 if created else 200)

    def _configuration(self, call: Call, resource: Resource, data: bytes) -> dict[str, Any]:
        """The applied object, plain, in the stored version. Raises 400."""
        try:
            config = msgspec.json.decode(data) if data[:1] == b"{" else decoding.plain(data, "yaml")
        except (msgspec.DecodeError, DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise errors.bad_request(f"error decoding YAML: {error}") from None
        if not isinstance(config, dict | None):
            problem = f"json: cannot unmarshal {gowords.name_of(config)} into Go value of type {_MAPPED}"
            raise errors.bad_request(f"error decoding YAML: error unmarshaling JSON: while decoding JSON: {problem}")
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
        if resource.namespaced and meta.setdefault("namespace", call.info.namespace) != call.info.namespace:
            why = f"the namespace of the object ({meta['namespace']}) does not match the namespace on the URL ({call.info.namespace})"
            raise errors.bad_request(why)
        unknown = decoding.field_problems(b"", config, resource.type, schema_of(resource, resource.type))
        if unknown:
            paths = [problem.removeprefix('unknown field "').rstrip('"') for problem in unknown]
            told = [f".{path}: field not declared in schema" for path in paths]
            where = f"{said}/{call.info.name}; {resource.api_version}, Kind={resource.kind}"
            why = told[0] if len(told) == 1 else "\n  ".join(["errors:", *told])
            raise errors.bad_request(f"failed to create typed patch object ({where}): {why}")
        if double := decoding.yaml_problems(data):
            if call.query.get("fieldValidation") == "Strict":
                raise errors.bad_request(f"error strict decoding YAML: error converting YAML to JSON: {double[0]}")
            _object_to(call, double)
        return config if resource.is_storage_version else to_storage(resource, config)

    def _typed(self, call: Call, resource: Resource, after: Any, doubtful: list[str]) -> Any:
        """The object that a patch has made. Raises DecodeError or what strict decoding raises."""
        new = decoding.convert(after, resource.type)
        if call.query.get("fieldValidation") != "Ignore":
            schema = schema_of(resource, resource.type)
            _object_to(call, doubtful + decoding.field_problems(b"", after, resource.type, schema))
        _check_kind(new, resource.type)
        return new

    # --- scale ---

    async def get_scale(self, call: Call, resource: Resource) -> web.Response:
        entry = self._registry.entry(resource, call.info.namespace, call.info.name)
        return _scale_answer(call, scale_of(resource, await self._registry.converter.read(resource, entry)))

    async def put_scale(self, call: Call, resource: Resource) -> web.Response:
        data = await body(call)
        check_write(call, "UpdateOptions")
        scale = read_object(call, data, autoscaling_v1.Scale, resource)
        self._check_name(call, resource, scale.metadata)
        return await self._scale(call, resource, lambda old: scale)

    async def patch_scale(self, call: Call, resource: Resource) -> web.Response:
        if media_type(call) == APPLY:
            return await self._apply_scale(call, resource)
        data = await body(call)
        check_write(call, "PatchOptions")
        wish = read_patch(media_type(call), data)
        apply = patch_function(media_type(call), wish, autoscaling_v1.Scale)

        def change(old: Any) -> Any:
            after = _patched(apply, to_builtins(scale_of(resource, old)), resource, call.info.name)
            try:
                return decoding.convert(after, autoscaling_v1.Scale)
            except DecodeError as error:
                why = errors.invalid_value("patch", gowords.marshalled(after), str(error))
                raise errors.invalid("", "", "", [why]) from None

        return await self._scale(call, resource, change)

    async def _apply_scale(self, call: Call, resource: Resource) -> web.Response:
        """An applied Scale is an applied object that says nothing but the number of replicas."""
        data = await body(call)
        check_write(call, "PatchOptions", apply=True)
        try:
            scale = decoding.convert(decoding.plain(data, "yaml"), autoscaling_v1.Scale)
        except DecodeError as error:
            raise errors.bad_request(str(error)) from None
        wanted = scale.spec.replicas
        if wanted < 0:
            why = [errors.invalid_value("spec.replicas", wanted, "must be greater than or equal to 0")]
            raise errors.invalid("Scale", "autoscaling", call.info.name, why)
        meta = {"name": call.info.name, "namespace": call.info.namespace}
        config: dict[str, Any] = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}
        path = resource.scale.replicas if isinstance(resource, CustomResource) and resource.scale else None
        set_field(config, path or ("spec", "replicas"), wanted)
        return await self._apply_config(call, resource, config, lambda obj: obj)

    async def _scale(self, call: Call, resource: Resource, wanted: Callable[[Any], Any]) -> web.Response:
        def change(old: Any) -> Any:
            scale, new = wanted(old), copy.deepcopy(old)
            if scale.spec.replicas < 0 and not isinstance(resource, CustomResource):  # they judge it themselves
                why = [errors.invalid_value("spec.replicas", scale.spec.replicas, "must be greater than or equal to 0")]
                raise errors.invalid("Scale", "autoscaling", call.info.name, why)
            if scale.metadata.resource_version and scale.metadata.resource_version != old.metadata.resource_version:
                raise errors.conflict(resource.group_resource, call.info.name, errors.MODIFIED)
            lens.put(new, scale)
            return new

        lens = _scale_lens(resource)

        entry, _ = await self._registry.update(
            resource, call.info.namespace, call.info.name, change, call.user, call.dry_run, "scale", None, True,
            manager_of(call), lens=lens,
        )  # fmt: skip
        return _scale_answer(call, scale_of(resource, await self._registry.converter.read(resource, entry)))

    # --- delete ---

    async def delete(self, call: Call, resource: Resource) -> web.Response:
        options = await self._options(call)
        namespace = call.info.namespace if resource.namespaced else ""
        entry, gone = await self._registry.delete(
            storage_of(resource), namespace, call.info.name, options, call.user, bool(options.dry_run)
        )
        if gone and resource.plural not in (
            "pods",
            "services",
            "serviceaccounts",
            "persistentvolumeclaims",
            "persistentvolumes",
            "podtemplates",
            "resourcequotas",
            "storageclasses",
            "csidrivers",
            "csinodes",
            "volumeattachments",
        ):
            meta = decode(entry.data, storage_of(resource).type).metadata
            details = StatusDetails(name=call.info.name, group=resource.group, kind=resource.plural, uid=meta.uid)
            return respond.status(call, Status(status="Success", details=details))
        return await self._answer(call, resource, entry)

    async def delete_collection(self, call: Call, resource: Resource) -> web.Response:
        want = respond.accepted(call.http.headers.get("Accept", ""), respond.is_declared(resource))
        check_list(call)
        options = await self._options(call)
        stored = storage_of(resource)
        deleted = await self._registry.delete_collection(
            stored, view_of(call, resource), options, call.user, bool(options.dry_run)
        )
        shown = await self._registry.converter.present(resource, deleted)
        meta = {"resourceVersion": str(self._registry.store.revision)}
        if isinstance(resource, CustomResource) and not want.shape:
            meta["continue"] = ""
        return listed(call, resource, want, meta, deleted, shown)

    async def _options(self, call: Call) -> DeleteOptions:
        data = await body(call)
        options = DeleteOptions()
        if data:
            try:
                media = input_type(call)
                if media == protobuf.MEDIA_TYPE:
                    options = protobuf.decode(protobuf.unwrap(data)[2], DeleteOptions)
                else:
                    value = decoding.plain(data, media)
                    options = decoding.convert(value, DeleteOptions) if value else options
            except (DecodeError, protobuf.WireError) as error:
                raise errors.bad_request(str(error)) from None
        complete_delete(options, call)
        return options


def _fresh(obj: Any, pick: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change that offers a copy of `obj` each time: the registry may change what it is given."""
    data = encode(obj)
    kind = type(obj)
    return lambda old: pick(decode(data, kind), old)


_LISTED, _MAPPED = "[]handlers.jsonPatchOp", "map[string]interface {}"  # what upstream reads patches into


def read_patch(media: str, data: bytes) -> Any:
    """The patch of a body, plain. Raises 400."""
    wanted, name = (list, _LISTED) if "json-patch" in media else (dict, _MAPPED)
    try:
        wish = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise errors.bad_request(f"error decoding patch: {gowords.syntax(data)}") from None
    if wish is None and wanted is dict:
        raise errors.bad_request("Invalid JSON Patch")
    if not isinstance(wish, wanted | None):
        told = f"json: cannot unmarshal {gowords.name_of(wish)} into Go value of type {name}"
        raise errors.bad_request(f"error decoding patch: {told}")
    return [] if wish is None else wish


def patch_function(media: str, wish: Any, kind: Any) -> Callable[[Any], Any]:
    """The function that applies a patch of the given media type to plain dicts."""
    if media == "application/json-patch+json":
        return lambda value: patch.json_patch(value, wish)
    if media == "application/strategic-merge-patch+json":
        return lambda value: patch.strategic(value, wish, kind)
    return lambda value: patch.merge(value, wish)


def _patched(apply: Callable[[Any], Any], value: Any, resource: Resource, name: str) -> Any:
    try:
        return apply(value)
    except patch.PatchError as error:
        if error.invalid:
            failure = errors.invalid(resource.kind, resource.group, name, [])
            failure.status.message = f"the server rejected our request due to an error in our request: {error}"
            raise failure from None
        raise errors.bad_request(str(error)) from None
    except (TypeError, AttributeError, KeyError, IndexError, ValueError, RecursionError) as error:
        raise errors.bad_request(f"error applying patch: the patch does not fit the object: {error!r}") from None


_SCALES = Resource("autoscaling", "v1", "scales", "Scale")  # no resource of its own, but shown like one


def _scale_answer(call: Call, scale: autoscaling_v1.Scale) -> web.Response:
    return respond.one(call, _SCALES, encode(scale))


def _scale_lens(resource: Resource) -> Lens:
    def put(obj: Any, scale: autoscaling_v1.Scale) -> None:
        if isinstance(resource, CustomResource):
            assert resource.scale is not None
            set_field(obj.content, resource.scale.replicas, scale.spec.replicas)
        else:
            obj.spec.replicas = scale.spec.replicas

    return Lens("autoscaling/v1/Scale", lambda obj: scale_of(resource, obj), put)


def scale_of(resource: Resource, obj: Any) -> autoscaling_v1.Scale:
    """The Scale of a workload or of a custom object."""
    meta = obj.metadata
    scale = autoscaling_v1.Scale()
    scale.metadata = ObjectMeta(
        name=meta.name, namespace=meta.namespace, uid=meta.uid, resource_version=meta.resource_version,
        creation_timestamp=meta.creation_timestamp,
    )  # fmt: skip
    if isinstance(resource, CustomResource):
        paths = resource.scale
        assert paths is not None
        wanted = get_field(obj.content, paths.replicas)
        if wanted is None:
            where = "." + ".".join(paths.replicas)
            raise errors.internal(f'the spec replicas field "{where}" does not exist')
        scale.spec.replicas, scale.status.replicas = int(wanted), int(get_field(obj.content, paths.observed) or 0)
        scale.status.selector = str(get_field(obj.content, paths.selector) or "") if paths.selector else ""
        return scale
    selector = obj.spec.selector
    scale.spec.replicas = obj.spec.replicas or 0
    scale.status.replicas = obj.status.replicas
    scale.status.selector = str(
        from_labels(selector) if isinstance(selector, dict) else from_label_selector(selector) or ""
    )
    return scale


def _finalize(new: Any, old: Any) -> Any:
    kept = copy.deepcopy(old)
    kept.spec.finalizers = new.spec.finalizers
    kept.metadata.resource_version = new.metadata.resource_version
    return kept


def _approval(new: Any, old: Any) -> Any:
    new.spec = old.spec
    conditions, new.status = new.status.conditions, copy.deepcopy(old.status)
    new.status.conditions = conditions
    return new


def _ephemeral(new: Any, old: Any) -> Any:
    kept = copy.deepcopy(old)
    kept.metadata.resource_version = new.metadata.resource_version
    kept.spec.ephemeral_containers = new.spec.ephemeral_containers
    before = {c.name: c for c in old.spec.ephemeral_containers}
    for name, container in before.items():
        match = next((c for c in new.spec.ephemeral_containers if c.name == name), None)
        if match is None or match.image != container.image:
            why = [
                errors.forbidden_field(
                    "spec.ephemeralContainers",
                    'existing ephemeral containers "' + name + '" may not be removed\n'
                    if match is None
                    else "existing ephemeral containers may not be changed",
                )
            ]
            raise errors.invalid("Pod", "", old.metadata.name, why)
    return kept


_SUBRESOURCES: dict[str, Callable[[Any, Any], Any]] = {
    "finalize": _finalize, "approval": _approval, "ephemeralcontainers": _ephemeral, "resize": resized,
}  # fmt: skip
