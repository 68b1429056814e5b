"""The operations of OpenAPI documents: paths of the catalogue, with their parameters, bodies and
responses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tiphys.api.catalog import GroupVersion, Resource
from tiphys.apiserver.registry.patches import offered

# verb → (method, what `x-kubernetes-action` calls it, what it does to a kind)
_ACTIONS = {
    "get": ("get", "get", "Reads one {kind}{sub}."),
    "create": ("post", "post", "Creates a {kind}{sub}."),
    "update": ("put", "put", "Replaces one {kind}{sub}."),
    "patch": ("patch", "patch", "Changes parts of one {kind}{sub}."),
    "delete": ("delete", "delete", "Deletes one {kind}{sub}."),
    "list": ("get", "list", "Lists objects of kind {kind}, or watches them."),
    "deletecollection": (
        "delete",
        "deletecollection",
        "Deletes the objects of kind {kind} that are selected.",
    ),
}
_ON_COLLECTION = ("list", "create", "deletecollection")
_CODES = {
    "create": (200, 201, 202),
    "update": (200, 201),
    "patch": (200, 201),
    "delete": (200, 202),
}
_TEXT = {200: "OK", 201: "Created", 202: "Accepted"}

_STRING = {"type": "string"}
_BOOLEAN = {"type": "boolean"}
_INTEGER = {"type": "integer"}
# name → (schema, what it does)
_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "labelSelector": (
        _STRING,
        "Restricts the list of returned objects to those whose labels match the selector.",
    ),
    "fieldSelector": (
        _STRING,
        "Restricts the list of returned objects to those whose fields match the selector.",
    ),
    "limit": (
        _INTEGER,
        "How many objects to return at most; `continue` in the list's metadata asks for the next "
        "ones.",
    ),
    "continue": (_STRING, "The token of a list that was limited, to go on where it ended."),
    "resourceVersion": (_STRING, "How new the answer has to be at least, or where a watch begins."),
    "resourceVersionMatch": (_STRING, "How resourceVersion is meant: Exact or NotOlderThan."),
    "watch": (
        _BOOLEAN,
        "Watch for changes to the described resources: they come as a stream of events.",
    ),
    "timeoutSeconds": (_INTEGER, "Seconds after which a list or a watch ends."),
    "allowWatchBookmarks": (
        _BOOLEAN,
        "Whether a watch may tell its progress by events of type BOOKMARK.",
    ),
    "sendInitialEvents": (
        _BOOLEAN,
        "Whether a watch begins with the objects that there are, and a bookmark after them.",
    ),
    "dryRun": (_STRING, "All: everything is checked and nothing is stored."),
    "fieldManager": (_STRING, "Who makes the change, for managedFields."),
    "fieldValidation": (
        _STRING,
        "What happens to unknown and duplicate fields: Ignore, Warn or Strict.",
    ),
    "force": (_BOOLEAN, "Whether an apply takes fields from their other managers."),
    "gracePeriodSeconds": (_INTEGER, "Seconds until the object is deleted; 0 is at once."),
    "orphanDependents": (
        _BOOLEAN,
        "Deprecated, use propagationPolicy: whether what the object owns stays.",
    ),
    "propagationPolicy": (
        _STRING,
        "What becomes of what the object owns: Orphan, Background or Foreground.",
    ),
    "ignoreStoreReadErrorWithClusterBreakingPotential": (
        _BOOLEAN,
        "Deletes an object that cannot be read from the store, without finalizers and "
        "preconditions.",
    ),
    "pretty": (_STRING, "true: the answer is indented."),
    "namespace": (_STRING, "The namespace of the object."),
    "name": (_STRING, "The name of the object."),
}
_LISTED = (
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
    "sendInitialEvents",
)
_WRITTEN = ("dryRun", "fieldManager", "fieldValidation")
_DELETED = (
    "dryRun",
    "gracePeriodSeconds",
    "orphanDependents",
    "propagationPolicy",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
)
_QUERY: dict[str, tuple[str, ...]] = {
    "get": (),
    "list": (*_LISTED, "watch", "allowWatchBookmarks"),
    "create": _WRITTEN,
    "update": _WRITTEN,
    "patch": (*_WRITTEN, "force"),
    "delete": _DELETED,
    "deletecollection": (*_LISTED, *_DELETED),
}
_MEDIA = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."

# (resource, subresource's name or "", verb) → the model of what is sent or answered; "" when it has
# none
Models = Callable[[Resource, str, str], str]


def shared_parameters() -> dict[str, Any]:
    """Those of Swagger documents, which operations refer to."""
    return {name: _parameter(name, v2=True) for name in _PARAMETERS}


def paths(gv: GroupVersion, v2: bool, rows: Iterable[Resource], model: Models) -> dict[str, Any]:
    """path → method → operation of one group and version."""
    operations: dict[str, Any] = {}
    for resource in (r for r in rows if r.gv == gv):
        prefix = "namespaces/{namespace}/" if resource.namespaced else ""
        base = f"{gv.path}/{prefix}{resource.plural}"
        for verb in resource.verbs:
            if verb in _ACTIONS:
                path = base if verb in _ON_COLLECTION else base + "/{name}"
                _add(operations, path, _operation(path, verb, resource, "", gv, v2, model), verb)
        if resource.namespaced and "list" in resource.verbs:
            path = f"{gv.path}/{resource.plural}"
            _add(operations, path, _operation(path, "list", resource, "", gv, v2, model), "list")
        for sub in resource.subresources:
            target = GroupVersion(
                gv.group if sub.group is None else sub.group, sub.version or gv.version
            )
            path = f"{base}/{{name}}/{sub.name}"
            for verb in sub.verbs:
                _add(
                    operations,
                    path,
                    _operation(path, verb, resource, sub.name, target, v2, model),
                    verb,
                )
    return operations


def _add(operations: dict[str, Any], path: str, operation: dict[str, Any], verb: str) -> None:
    operations.setdefault(path, {})[_ACTIONS[verb][0]] = operation


def _operation(
    path: str, verb: str, resource: Resource, sub: str, gv: GroupVersion, v2: bool, model: Models
) -> dict[str, Any]:
    subresource = resource.subresource(sub) if sub else None
    kind = (subresource.kind if subresource is not None else "") or resource.kind
    _, action, sentence = _ACTIONS[verb]
    names = [
        *_QUERY[verb],
        "pretty",
        *(name for name in ("namespace", "name") if f"{{{name}}}" in path),
    ]
    group = resource.group.split(".")[0]
    last = path.rpartition("/")[2].strip("{}").title()
    where = f"{group.title() or 'Core'}{resource.version.title()}"
    operation: dict[str, Any] = {
        "description": sentence.format(kind=resource.kind, sub=f": its {sub}" if sub else ""),
        "operationId": f"{verb}{where}{kind}{path.count('/')}{last}",
        "tags": [f"{group or 'core'}_{resource.version}"],
        "parameters": [
            {"$ref": f"#/parameters/{name}"} if v2 else _parameter(name, v2=False) for name in names
        ],
        "responses": _responses(verb, model(resource, sub, verb), v2),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": gv.group, "version": gv.version, "kind": kind},
    }
    patches = tuple(offered(strategic=resource.built_in))
    _add_body(operation, verb, model(resource, sub, "create"), v2, patches)
    return operation


def _parameter(name: str, v2: bool) -> dict[str, Any]:
    schema, text = _PARAMETERS[name]
    place = {"in": "path", "required": True} if name in ("namespace", "name") else {"in": "query"}
    typed = schema if v2 else {"schema": {**schema, "uniqueItems": True}}
    return {
        "name": name,
        **place,
        "description": text,
        **typed,
        **({"uniqueItems": True} if v2 else {}),
    }


def _reference(model: str, v2: bool) -> dict[str, str]:
    return {"$ref": f"{'#/definitions/' if v2 else '#/components/schemas/'}{model}"}


def _responses(verb: str, model: str, v2: bool) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for code in _CODES.get(verb, (200,)):
        responses[str(code)] = {"description": _TEXT[code]}
        if model and v2:
            responses[str(code)]["schema"] = _reference(model, v2)
        elif model:
            responses[str(code)]["content"] = {
                media: {"schema": _reference(model, v2)} for media in _MEDIA
            }
    return {**responses, "401": {"description": "Unauthorized"}}


def _add_body(
    operation: dict[str, Any], verb: str, model: str, v2: bool, patches: tuple[str, ...]
) -> None:
    """What is sent: the object, a patch of it, or options of its deletion."""
    sent = {
        "patch": f"{_META}Patch",
        "delete": f"{_META}DeleteOptions",
        "deletecollection": f"{_META}DeleteOptions",
    }
    name = sent.get(verb, model if verb in ("create", "update") else "")
    if not name:
        return
    required = "delete" not in verb
    if v2:
        body = {"name": "body", "in": "body", "required": required, "schema": _reference(name, v2)}
        operation["parameters"].append(body)
        if verb == "patch":
            operation["consumes"] = list(patches)
        return
    content = {
        media: {"schema": _reference(name, v2)}
        for media in (patches if verb == "patch" else ("*/*",))
    }
    operation["requestBody"] = {"content": content, **({"required": True} if required else {})}
