"""OpenAPI v2 and v3 documents, derived from the declarations: definitions from the types, paths
from the catalogue."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import importlib
from collections.abc import Iterable
from typing import Any

import msgspec

from tiphys.api import docs
from tiphys.api.base import Struct
from tiphys.api.catalog import RESOURCES, GroupVersion, Resource, Subresource
from tiphys.apiserver.custom.openapi import custom_definitions, swagger_model
from tiphys.apiserver.custom.openapi import model_name as custom_model_name
from tiphys.apiserver.documents.openapi_merge import merged
from tiphys.apiserver.documents.openapi_operations import paths as paths_of
from tiphys.apiserver.documents.openapi_operations import shared_parameters
from tiphys.apiserver.proxying.aggregation import Aggregator
from tiphys.apiserver.registry.served import ServedResources
from tiphys.machinery.schema import Field, fields_of

_PACKAGES = {
    "meta": "io.k8s.apimachinery.pkg.apis.meta",
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
_MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"
_SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {"type": "object"},
    "union": {},
}
_REF = "#/components/schemas/"


def model_name(kind: type) -> str:
    """``io.k8s.api.core.v1.Pod``."""
    group, version = kind.__module__.rpartition(".")[2].rsplit("_", 1)
    return f"{_PACKAGES.get(group, f'io.k8s.api.{group}')}.{version}.{kind.__name__}"


@functools.cache
def definition(kind: type[Struct]) -> dict[str, Any]:
    """The schema of a type, with v3 references."""
    properties = {}
    required = []
    for name, field in fields_of(kind).items():
        properties[name] = _property(kind, name, field)
        if field.facts.req:
            required.append(name)
    keywords = {"description": docs.of_type(kind), "properties": properties, "required": required}
    # No empty ones: they would not survive a client that reads the document and writes it again.
    return {"type": "object", **{key: value for key, value in keywords.items() if value}}


def _property(kind: type, name: str, field: Field) -> dict[str, Any]:
    schema = _schema(field)
    text = docs.of_field(kind, name)
    if "$ref" in schema:
        schema = (
            {"allOf": [schema], "default": {}} if field.kind == "struct" else {"allOf": [schema]}
        )
    if text:
        schema = {"description": text, **schema}
    facts = field.facts
    if facts.list:
        schema["x-kubernetes-list-type"] = facts.list
    if facts.keys:
        schema["x-kubernetes-list-map-keys"] = list(facts.keys)
    if facts.patch:
        schema["x-kubernetes-patch-strategy"] = facts.patch
    if facts.key:
        schema["x-kubernetes-patch-merge-key"] = facts.key
    if facts.atomic and field.kind != "list":
        schema["x-kubernetes-map-type"] = "atomic"
    return schema


def _schema(field: Field) -> dict[str, Any]:
    match field.kind:
        case "struct":
            return {"$ref": _REF + model_name(field.item)}
        case "list":
            return {"type": "array", "items": _schema(field.item)}
        case "dict":
            return {"type": "object", "additionalProperties": _schema(field.item)}
        case "quantity":
            return {"$ref": _REF + _QUANTITY}
        case "intorstring":
            return {"$ref": _REF + _INT_OR_STRING}
        case "time":
            return {"$ref": _REF + _TIME}
        case "microtime":
            return {"$ref": _REF + _MICRO_TIME}
        case kind:
            return dict(_SCALARS[kind])


def _referred(kind: type[Struct], definitions: dict[str, dict[str, Any]]) -> None:
    """Adds a type and everything it refers to."""
    name = model_name(kind)
    if name in definitions:
        return
    definitions[name] = definition(kind)
    for field in fields_of(kind).values():
        inner: Field | None = field
        while inner is not None and inner.kind in ("list", "dict"):
            inner = inner.item
        if inner is not None and inner.kind in ("struct", "union") and inner.item is not None:
            _referred(inner.item, definitions)


_BASIC = {
    _QUANTITY: {
        "description": "A fixed-point number with a unit suffix, such as 500m or 2Gi.",
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
    _INT_OR_STRING: {
        "description": "A whole number or a string.",
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    f"{_PACKAGES['meta']}.v1.Patch": {
        "description": "A patch, in the form that its media type names.",
        "type": "object",
    },
    _TIME: {"description": "A time in RFC 3339.", "type": "string", "format": "date-time"},
    _MICRO_TIME: {
        "description": "A time in RFC 3339 with microseconds.",
        "type": "string",
        "format": "date-time",
    },
}


def _list_type(resource: Resource) -> type[Struct]:
    return getattr(importlib.import_module(resource.module), resource.kind + "List")  # type: ignore[no-any-return]


def _definitions(gv: GroupVersion, rows: Iterable[Resource]) -> dict[str, dict[str, Any]]:
    definitions: dict[str, dict[str, Any]] = {}
    for resource in rows:
        if resource.gv != gv:
            continue
        if not resource.built_in:
            custom_definitions(resource, definitions)
            continue
        _add(definitions, resource, resource.type)
        if "list" in resource.verbs:
            _add(definitions, resource, _list_type(resource))
            _describe_items(definitions, resource)
        for sub in resource.subresources:
            if sub.kind and (kind := _subresource_type(resource, sub)) is not None:
                _referred(kind, definitions)
    from tiphys.api import meta_v1

    for kind in (meta_v1.DeleteOptions, meta_v1.Status, meta_v1.ObjectMeta, meta_v1.ListMeta):
        _referred(kind, definitions)
    definitions.update(_BASIC)  # type: ignore[arg-type]
    return definitions


def _add(definitions: dict[str, dict[str, Any]], resource: Resource, kind: type[Struct]) -> None:
    _referred(kind, definitions)
    gvk = {"group": resource.group, "version": resource.version, "kind": kind.__name__}
    definitions[model_name(kind)] = {**definition(kind), "x-kubernetes-group-version-kind": [gvk]}


def _describe_items(definitions: dict[str, dict[str, Any]], resource: Resource) -> None:
    name = model_name(_list_type(resource))
    properties = definitions[name]["properties"]
    items = {**properties["items"], "description": f"List of {resource.plural}."}
    definitions[name] = {**definitions[name], "properties": {**properties, "items": items}}


def _subresource_type(resource: Resource, sub: Subresource) -> type[Struct] | None:
    group = resource.group if sub.group is None else sub.group
    module = f"tiphys.api.{group.split('.')[0] or 'core'}_{sub.version or resource.version}"
    return getattr(importlib.import_module(module), sub.kind, None)


_RAW = frozenset(
    ("proxy", "log", "exec", "attach", "portforward")
)  # what these answer is no object
_STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"


def _model(resource: Resource, sub: str, verb: str) -> str:
    """The model that an operation answers with, or is sent for `create` and `update`; "" when it is
    no object."""
    if sub in _RAW:
        return ""
    subresource = resource.subresource(sub) if sub else None
    if subresource is not None and subresource.kind:
        kind = _subresource_type(resource, subresource)
        return model_name(kind) if kind is not None else ""
    if verb in ("delete", "deletecollection"):
        return _STATUS
    if not resource.built_in:
        return custom_model_name(resource, resource.list_kind if verb == "list" else resource.kind)
    return model_name(_list_type(resource) if verb == "list" else resource.type)


_V2, _INDEX = "v2", "index"


class OpenAPI:
    """The documents for a catalogue. Those of groups without custom resources are made once for all
    time, the others again when their own definitions change. Making one takes long: `prepare` does
    it on a thread, before a page is answered."""

    def __init__(self, served: ServedResources, aggregator: Aggregator) -> None:
        self._served = served
        self._aggregator = aggregator
        self._groups: dict[GroupVersion, tuple[tuple[Resource, ...], tuple[bytes, str]]] = {}
        self._models: dict[Resource, dict[str, Any]] = {}  # v2 models of a custom resource
        self._documents: dict[str, Any] = {}
        self._generation = (-1, -1)
        self._making = asyncio.Lock()

    def _now(self) -> tuple[int, int]:
        return (self._served.generation, self._aggregator.generation)

    async def prepare(self, proto: bool = False) -> None:
        """Has every document ready for what is served now; `proto`: that of v2 in protobuf, too."""
        if self._generation == self._now() and (not proto or "proto" in self._documents):
            return
        async with self._making:
            now = self._now()
            if self._generation != now:
                added = tuple(self._served.added)
                self._documents = await asyncio.to_thread(self._build, added)
                self._generation = now
            if proto:
                await asyncio.to_thread(self.v2_proto)

    def _build(self, added: tuple[Resource, ...]) -> dict[str, Any]:
        """The documents that are about everything. Keeps those of groups and of single resources
        whose rows are the same."""
        for gone in [resource for resource in self._models if resource not in added]:
            del self._models[gone]
        groups = dict.fromkeys(resource.gv for resource in added)
        for gv in [gv for gv in self._groups if gv not in groups]:
            del self._groups[gv]
        paths: dict[str, str] = {}
        for gv in dict.fromkeys(resource.gv for resource in (*RESOURCES, *added)):
            published = self._of_group(gv, tuple(r for r in added if r.gv == gv))
            paths[gv.path[1:]] = published[1]
        document = self._v2(added)
        return {_INDEX: paths, _V2: document, "bytes": _in_pieces(document)}

    def _of_group(self, gv: GroupVersion, added: tuple[Resource, ...]) -> tuple[bytes, str]:
        if not added:
            built_in = _builtin_v3(gv)
            assert built_in is not None
            return built_in
        known = self._groups.get(gv)
        if known is None or known[0] != added:
            rows = [*(r for r in RESOURCES if r.gv == gv), *added]
            known = self._groups[gv] = (added, _v3(gv, rows))
        return known[1]

    def v3(self, group: str, version: str) -> tuple[bytes, str] | None:
        """(document, hash) of one group and version."""
        gv = GroupVersion(group, version)
        known = self._groups.get(gv)
        return known[1] if known is not None else _builtin_v3(gv)

    def v3_index(self) -> bytes:
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={mark}"}
            for path, mark in self._documents[_INDEX].items()
        }
        for remote in self._aggregator.remotes.values():  # asked for there, and passed on
            paths.setdefault(
                remote.gv.path[1:], {"serverRelativeURL": f"/openapi/v3{remote.gv.path}"}
            )
        return msgspec.json.encode({"paths": paths})

    def v2_proto(self) -> bytes:
        """The same in protobuf."""
        from tiphys.apiserver.documents import openapi_proto

        if "proto" not in self._documents:
            self._documents["proto"] = openapi_proto.v2(self._documents[_V2])
        return self._documents["proto"]  # type: ignore[no-any-return]

    def _v2(self, added: tuple[Resource, ...]) -> dict[str, Any]:
        base = _builtin_v2()
        if not added:
            return self._with_remotes(base)
        definitions = dict(base["definitions"])
        paths = dict(base["paths"])
        for gv in dict.fromkeys(resource.gv for resource in added):
            paths.update(paths_of(gv, True, added, _model))
        for resource in added:
            definitions |= self._model(resource)
        return self._with_remotes({**base, "definitions": definitions, "paths": paths})

    def _model(self, resource: Resource) -> dict[str, Any]:
        known = self._models.get(resource)
        if known is None:
            custom: dict[str, dict[str, Any]] = {}
            if not resource.built_in:
                custom_definitions(resource, custom)
            known = self._models[resource] = {
                name: swagger_model(schema) for name, schema in custom.items()
            }
        return known

    def _with_remotes(self, document: dict[str, Any]) -> dict[str, Any]:
        documents = [
            (remote.gv.path, remote.swagger)
            for remote in self._aggregator.remotes.values()
            if remote.swagger
        ]
        return merged(document, documents) if documents else document

    def v2(self) -> bytes:
        return self._documents["bytes"]  # type: ignore[no-any-return]


def _in_pieces(document: dict[str, Any]) -> bytes:
    """JSON of a document, coded model by model: to code 10 MB at once would hold the interpreter
    for 50 ms, thread or not."""
    pieces = {
        part: {
            name: msgspec.Raw(msgspec.json.encode(value)) for name, value in document[part].items()
        }
        for part in ("paths", "definitions")
    }
    return msgspec.json.encode({**document, **pieces})


@functools.cache
def _builtin_v3(gv: GroupVersion) -> tuple[bytes, str] | None:
    rows = [r for r in RESOURCES if r.gv == gv]
    return _v3(gv, rows) if rows else None


def _v3(gv: GroupVersion, rows: list[Resource]) -> tuple[bytes, str]:
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths_of(gv, False, rows, _model),
        "components": {"schemas": _definitions(gv, rows)},
    }
    body = msgspec.json.encode(document)
    return body, hashlib.sha256(body).hexdigest().upper()


@functools.cache
def _builtin_v2() -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for gv in dict.fromkeys(r.gv for r in RESOURCES):
        for name, schema in _definitions(gv, RESOURCES).items():
            if name not in definitions or "x-kubernetes-group-version-kind" in schema:
                definitions[name] = _v2(schema)
        paths.update(paths_of(gv, True, RESOURCES, _model))
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": paths,
        "definitions": definitions,
        "parameters": shared_parameters(),
    }


def _v2(schema: Any) -> Any:
    """A v3 schema in v2's terms."""
    if isinstance(schema, list):
        return [_v2(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            result["$ref"] = value.replace(_REF, "#/definitions/")
        elif key == "allOf" and isinstance(value, list):
            result |= _v2(value[0])
        elif key == "oneOf" and isinstance(value, list):
            result["type"] = "string"
        elif key == "default" and value == {}:
            continue
        else:
            result[key] = _v2(value)
    return result
