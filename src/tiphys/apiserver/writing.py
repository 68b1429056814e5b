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
from tiphys.api.catalog import Resource, storage_of
from tiphys.api.meta_v1 import DeleteOptions, ObjectMeta, Status, StatusDetails
from tiphys.apiserver import respond
from tiphys.apiserver.conversion import from_storage, to_storage
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.reading import view_of
from tiphys.apiserver.registry import Lens, Registry
from tiphys.apiserver.request import Call, whole_number
from tiphys.machinery import decoding, errors, patch, protobuf
from tiphys.machinery.decoding import DecodeError
from tiphys.machinery.jsonpath import get_field, set_field
from tiphys.machinery.query import truth
from tiphys.machinery.selectors import from_label_selector, from_labels
from tiphys.machinery.structural import Schema
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


def read_object(call: Call, data: bytes, kind: Any, resource: Resource) -> Any:
    """A typed object of the request's body, checked as fieldValidation asks. Raises 400 or 415."""
    media = media_type(call)
    if media == protobuf.MEDIA_TYPE:
        return _from_protobuf(data, kind)
    if media not in ("application/json", "application/yaml", "", "text/plain", "application/x-www-form-urlencoded"):
        raise errors.unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include:"
            f" application/json, application/yaml, {protobuf.MEDIA_TYPE}"
        )
    try:
        if "yaml" in media:
            value = decoding.plain(data, media)
            obj = decoding.convert(value, kind)
        else:
            obj = decoding.typed(data, kind)
            value = None
    except DecodeError as error:
        raise errors.bad_request(
            f"{kind.__name__} in version {resource.version!r} cannot be handled as a {kind.__name__}: {error}".replace(
                "'", '"'
            )
        ) from None
    _check_fields(call, data, value, kind, resource)
    _check_kind(obj, kind)
    return obj


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
    mode = call.query.get("fieldValidation", "Warn")
    if mode == "Ignore":
        return
    problems = []
    if value is None:
        value = msgspec.json.decode(data)
    else:
        problems, data = decoding.yaml_problems(data), b""
    _object_to(call, problems + decoding.field_problems(data, value, kind, schema_of(resource, kind)))


def _object_to(call: Call, problems: list[str]) -> None:
    """An error or warnings, as fieldValidation asks."""
    mode = call.query.get("fieldValidation", "Warn")
    if problems and mode == "Strict":
        raise errors.bad_request("strict decoding error: " + ", ".join(problems))
    if mode == "Warn":
        call.warnings += [problem for problem in problems if problem not in call.warnings]


@functools.lru_cache(2048)
def _name_of(kind: Any) -> tuple[str, str]:
    """(apiVersion, kind) of a type."""
    made = kind()
    return made.api_version, made.kind


def _check_kind(obj: Any, kind: Any) -> None:
    version, name = _name_of(kind)
    if obj.kind != name or obj.api_version != version:
        raise errors.bad_request(
            f"the API version in the data ({obj.api_version}) does not match the expected API version ({version})"
            if obj.kind == name
            else f"the object provided is unrecognized (must be of type {name}): {obj.kind} ({obj.api_version})"
        )


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
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

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
        obj = self._stored(resource, read_object(call, await body(call), resource.type, resource))
        entry = await self._registry.create(
            storage_of(resource), call.info.namespace, obj, call.user, call.dry_run, manager_of(call)
        )
        return await self._answer(call, resource, entry, 201)

    # --- update ---

    async def update(self, call: Call, resource: Resource) -> web.Response:
        obj = self._stored(resource, read_object(call, await body(call), resource.type, resource))
        self._check_name(call, obj.metadata)
        change = _fresh(obj, self._subresource_change(call.info.subresource))
        create = (lambda: copy.deepcopy(obj)) if not call.info.subresource else None
        return await self._change(call, resource, change, create)

    @staticmethod
    def _check_name(call: Call, meta: ObjectMeta) -> None:
        info = call.info
        meta.name = meta.name or info.name
        if meta.name != info.name:
            raise errors.bad_request(
                f"the name of the object ({meta.name}) does not match the name on the URL ({info.name})"
            )
        meta.namespace = meta.namespace or info.namespace
        if meta.namespace != info.namespace and info.resource != "namespaces":
            raise errors.bad_request(
                f"the namespace of the object ({meta.namespace}) does not match the namespace on the URL ({info.namespace})"
            )
        if info.resource == "namespaces":
            meta.namespace = ""

    async def _change(
        self, call: Call, resource: Resource, change: Callable[[Any], Any], create: Any = None, patching: bool = False
    ) -> web.Response:
        namespace = "" if not resource.namespaced else call.info.namespace
        entry, created = await self._registry.update(
            storage_of(resource), namespace, call.info.name, change, call.user, call.dry_run,
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
        if "force" in call.query:
            why = [errors.forbidden_field("force", "may not be specified for non-apply patch")]
            raise errors.invalid("PatchOptions", "meta.k8s.io", "", why)
        if media not in offered:
            raise errors.unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: " + ", ".join(offered)
            )
        data = await body(call)
        try:
            wish = msgspec.json.decode(data) if data[:1] in b"{[" else decoding.plain(data, "yaml")
        except (msgspec.DecodeError, DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise errors.bad_request(f"error decoding patch: {error}") from None
        apply = patch_function(media, wish, resource.type)
        pick = self._subresource_change(call.info.subresource)
        doubtful = _patch_problems(call, media, data, wish)

        def change(old: Any) -> Any:
            before = to_builtins(old)
            if not resource.is_storage_version:
                before = from_storage(resource, before)
            after = _patched(apply, before, resource, call.info.name)
            new = self._typed(call, resource, after, doubtful)
            return pick(self._stored(resource, new), old)

        return await self._change(call, resource, change, patching=True)

    async def _apply(self, call: Call, resource: Resource) -> web.Response:
        config = self._configuration(call, resource, await body(call))
        pick = self._subresource_change(call.info.subresource)
        return await self._apply_config(call, resource, config, lambda obj: pick(obj, obj))

    async def _apply_config(
        self, call: Call, resource: Resource, config: dict[str, Any], pick: Callable[[Any], Any]
    ) -> web.Response:
        manager, stored = call.query.get("fieldManager", ""), storage_of(resource)
        if not manager:
            why = [errors.required("fieldManager", "is required for apply patch")]
            raise errors.invalid("PatchOptions", "meta.k8s.io", "", why)

        def typed(merged: dict[str, Any]) -> Any:
            try:
                new = decoding.convert(merged, stored.type)
            except DecodeError as error:
                raise errors.bad_request(str(error)) from None
            return pick(new) if call.info.subresource else new

        namespace = call.info.namespace if resource.namespaced else ""
        entry, created = await self._registry.apply(
            stored, namespace, call.info.name, config, typed, call.user, call.dry_run, call.info.subresource, manager,
            truth(call.query.get("force")), _scale_lens(resource) if call.info.subresource == "scale" else None,
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
        if not isinstance(config, dict) or not isinstance(config.get("metadata"), dict):
            raise errors.bad_request("error decoding YAML: an object with metadata is needed")
        found = (config.get("apiVersion"), config.get("kind"))
        if found != (resource.api_version, resource.kind):
            raise errors.bad_request(
                f"error decoding: the object ({found[0]}, Kind={found[1]}) does not match the resource ({resource.api_version}, Kind={resource.kind})"
            )
        meta = config["metadata"]
        if meta.get("managedFields") is not None:
            raise errors.bad_request("metadata.managedFields must be nil")
        if meta.setdefault("name", call.info.name) != call.info.name:
            why = f"the name of the object ({meta['name']}) does not match the name on the URL ({call.info.name})"
            raise errors.bad_request(why)
        if resource.namespaced and meta.setdefault("namespace", call.info.namespace) != call.info.namespace:
            why = f"the namespace of the object ({meta['namespace']}) does not match the namespace on the URL ({call.info.namespace})"
            raise errors.bad_request(why)
        unknown = decoding.field_problems(b"", config, resource.type, schema_of(resource, resource.type))
        if unknown:
            paths = [problem.removeprefix('unknown field "').rstrip('"') for problem in unknown]
            told = [f".{path}: field not declared in schema" for path in paths]
            where = f"{call.info.namespace}/{call.info.name}; {resource.api_version}, Kind={resource.kind}"
            why = told[0] if len(told) == 1 else "\n  ".join(["errors:", *told])
            raise errors.bad_request(f"failed to create typed patch object ({where}): {why}")
        if double := decoding.yaml_problems(data):
            if call.query.get("fieldValidation") == "Strict":
                raise errors.bad_request(f"error strict decoding YAML: error converting YAML to JSON: {double[0]}")
            _object_to(call, double)
        return config if resource.is_storage_version else to_storage(resource, config)

    def _typed(self, call: Call, resource: Resource, after: Any, doubtful: list[str]) -> Any:
        try:
            new = decoding.convert(after, resource.type)
        except DecodeError as error:
            raise errors.bad_request(str(error)) from None
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
        scale = read_object(call, await body(call), autoscaling_v1.Scale, resource)
        return await self._scale(call, resource, lambda old: scale)

    async def patch_scale(self, call: Call, resource: Resource) -> web.Response:
        if media_type(call) == APPLY:
            return await self._apply_scale(call, resource)
        try:
            wish = msgspec.json.decode(await body(call))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise errors.bad_request(f"error decoding patch: {error}") from None
        apply = patch_function(media_type(call), wish, autoscaling_v1.Scale)

        def change(old: Any) -> Any:
            after = _patched(apply, to_builtins(scale_of(resource, old)), resource, call.info.name)
            try:
                return decoding.convert(after, autoscaling_v1.Scale)
            except DecodeError as error:
                raise errors.bad_request(str(error)) from None

        return await self._scale(call, resource, change)

    async def _apply_scale(self, call: Call, resource: Resource) -> web.Response:
        """An applied Scale is an applied object that says nothing but the number of replicas."""
        try:
            scale = decoding.convert(decoding.plain(await body(call), "yaml"), autoscaling_v1.Scale)
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
            if scale.spec.replicas < 0:
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
            storage_of(resource), namespace, call.info.name, options, call.user, call.dry_run
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
        options = await self._options(call)
        stored = storage_of(resource)
        deleted = await self._registry.delete_collection(
            stored, view_of(call, resource), options, call.user, call.dry_run
        )
        items = b",".join(entry.data for entry in deleted)
        head = f'{{"kind":"{resource.kind}List","apiVersion":"{resource.api_version}","metadata":{{"resourceVersion":"{self._registry.store.revision}"}},"items":['
        return respond.answer(head.encode() + items + b"]}")

    async def _options(self, call: Call) -> DeleteOptions:
        data = await body(call)
        options = DeleteOptions()
        if data:
            try:
                if media_type(call) == protobuf.MEDIA_TYPE:
                    options = protobuf.decode(protobuf.unwrap(data)[2], DeleteOptions)
                else:
                    value = decoding.plain(data, media_type(call))
                    options = decoding.convert(value, DeleteOptions) if value else options
            except (DecodeError, protobuf.WireError) as error:
                raise errors.bad_request(str(error)) from None
        query = call.query
        if "gracePeriodSeconds" in query and options.grace_period_seconds is None:
            options.grace_period_seconds = whole_number(query["gracePeriodSeconds"], "gracePeriodSeconds")
        if "propagationPolicy" in query and options.propagation_policy is None:
            options.propagation_policy = query["propagationPolicy"]
        if "orphanDependents" in query and options.orphan_dependents is None:
            options.orphan_dependents = truth(query["orphanDependents"])
        _check_options(options)
        return options


def _check_options(options: DeleteOptions) -> None:
    found = []
    if options.propagation_policy is not None and options.orphan_dependents is not None:
        found.append(
            errors.invalid_value(
                "propagationPolicy",
                options.propagation_policy,
                "orphanDependents and deletionPropagation cannot be both set",
            )
        )
    allowed = ("Background", "Foreground", "Orphan")
    if options.propagation_policy is not None and options.propagation_policy not in allowed:
        found.append(errors.not_supported("propagationPolicy", options.propagation_policy, [*allowed, "nil"]))
    if options.grace_period_seconds is not None and options.grace_period_seconds < 0:
        options.grace_period_seconds = 1
    if found:
        raise errors.invalid("DeleteOptions", "meta.k8s.io", "", found)


def _fresh(obj: Any, pick: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change that offers a copy of `obj` each time: the registry may change what it is given."""
    data = encode(obj)
    kind = type(obj)
    return lambda old: pick(decode(data, kind), old)


def patch_function(media: str, wish: Any, kind: Any) -> Callable[[Any], Any]:
    """The function that applies a patch of the given media type to plain dicts."""
    if media == "application/json-patch+json":
        return lambda value: patch.json_patch(value, wish)
    if media == "application/strategic-merge-patch+json":
        return lambda value: patch.strategic(value, wish, kind)
    if not isinstance(wish, dict):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
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


def _resize(new: Any, old: Any) -> Any:
    kept = copy.deepcopy(old)
    kept.metadata.resource_version = new.metadata.resource_version
    wanted = {c.name: c for c in new.spec.containers}
    for container in kept.spec.containers:
        if container.name in wanted:
            container.resources = wanted[container.name].resources
            container.resize_policy = wanted[container.name].resize_policy
    return kept


_SUBRESOURCES: dict[str, Callable[[Any, Any], Any]] = {
    "finalize": _finalize, "approval": _approval, "ephemeralcontainers": _ephemeral, "resize": _resize,
}  # fmt: skip
