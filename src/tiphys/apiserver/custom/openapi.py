"""A custom resource's schema as OpenAPI publishes it: v3 as it is declared, v2 without what Swagger
cannot say.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import docs
from tiphys.api.catalog import Resource
from tiphys.apiserver.custom.resource import CustomResource

_REF = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."


def model_name(resource: Resource, kind: str) -> str:
    """``com.example.stable.v1.CronTab``: the group's domain the other way round."""
    return ".".join([*reversed(resource.group.split(".")), resource.version, kind])


def custom_definitions(resource: Resource, definitions: dict[str, dict[str, Any]]) -> None:
    """Adds the models of a resource and of its list."""
    name = model_name(resource, resource.kind)
    schema: dict[str, Any] = published(resource.schema.facts) or {"type": "object"}
    properties = dict(schema.get("properties") or {})
    properties["apiVersion"] = {
        "type": "string",
        "description": docs.of_field(CustomResource, "apiVersion"),
    }
    properties["kind"] = {"type": "string", "description": docs.of_field(CustomResource, "kind")}
    properties["metadata"] = {
        "allOf": [{"$ref": f"{_REF}{_META}ObjectMeta"}],
        "description": docs.of_field(CustomResource, "metadata"),
    }
    schema["properties"] = properties
    schema["x-kubernetes-group-version-kind"] = [_gvk(resource, resource.kind)]
    definitions[name] = schema
    definitions[model_name(resource, resource.list_kind)] = {
        "type": "object",
        "description": f"{resource.list_kind} is a list of {resource.kind}.",
        "required": ["items"],
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": "The group and version of this list's schema.",
            },
            "kind": {"type": "string", "description": "The kind of this list."},
            "items": {
                "type": "array",
                "description": f"The {resource.plural}.",
                "items": {"$ref": _REF + name},
            },
            "metadata": {
                "allOf": [{"$ref": f"{_REF}{_META}ListMeta"}],
                "description": "Standard list metadata.",
            },
        },
        "x-kubernetes-group-version-kind": [_gvk(resource, resource.list_kind)],
    }


def _gvk(resource: Resource, kind: str) -> dict[str, str]:
    return {"group": resource.group, "version": resource.version, "kind": kind}


def published(schema: Any) -> Any:
    """Embedded resources declare the fields of every object."""
    if isinstance(schema, list):
        return [published(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: published(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-embedded-resource"):
        inner = dict(result.get("properties") or {})
        inner.setdefault("apiVersion", {"type": "string"})
        inner.setdefault("kind", {"type": "string"})
        inner["metadata"] = {"allOf": [{"$ref": f"{_REF}{_META}ObjectMeta"}]}
        result["properties"] = inner
    return result


def swagger_model(schema: dict[str, Any]) -> dict[str, Any]:
    """A published model in Swagger 2.0.

    One that keeps unknown fields at its root is any object: of a model with properties, clients
    refuse all others.
    """
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        named = "x-kubernetes-group-version-kind"
        return {"type": "object", **({named: schema[named]} if named in schema else {})}
    return swagger(schema)


def swagger(schema: dict[str, Any]) -> dict[str, Any]:
    """A published schema in Swagger 2.0, without the keywords that it lacks.

    What may be null, is of several types or keeps unknown fields says neither type nor what is in
    it: clients must not refuse what they do not find there.
    """
    if "$ref" in schema:
        return {**schema, "$ref": schema["$ref"].replace(_REF, "#/definitions/")}
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("anyOf", "oneOf", "not", "nullable"):
            continue
        if key == "allOf":
            result |= swagger(value[0]) if "$ref" in value[0] else {}
        elif key == "properties":
            result[key] = {name: swagger(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = swagger(value)
        else:
            result[key] = value
    keeps = schema.get("x-kubernetes-preserve-unknown-fields")
    if schema.get("nullable") or keeps:
        result.pop("properties", None)
        result.pop("items", None)
    untyped = schema.get("nullable") or schema.get("x-kubernetes-int-or-string")
    if (
        untyped
        or (result.get("type") == "array" and "items" not in result)
        or (keeps and result.get("type") == "object")
    ):
        result.pop("type", None)
    nullable = {
        name for name, inner in (schema.get("properties") or {}).items() if inner.get("nullable")
    }
    values = schema.get("additionalProperties")
    if isinstance(values, dict) and values.get("nullable"):
        nullable |= set(schema.get("required") or ())
    if nullable & set(result.get("required") or ()):
        result["required"] = [name for name in result["required"] if name not in nullable]
    return result
