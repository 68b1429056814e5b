"""The v2 document in the protobuf form that older kubectl asks for (openapi.v2.Document of
gnostic)."""

from __future__ import annotations

from typing import Any

from tiphys.machinery.protobuf import varint


def _bytes(tag: int, data: bytes) -> bytes:
    return varint(tag << 3 | 2) + varint(len(data)) + data


def _text(tag: int, value: str) -> bytes:
    return _bytes(tag, value.encode()) if value else b""


def v2(document: dict[str, Any]) -> bytes:
    """The document's bytes."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    shared = document.get("parameters") or {}
    paths = b"".join(
        _bytes(2, _text(1, path) + _bytes(2, _path(item, shared)))
        for path, item in document["paths"].items()
    )
    definitions = b"".join(
        _bytes(1, _named_schema(name, schema)) for name, schema in document["definitions"].items()
    )
    return _text(1, "2.0") + _bytes(2, info) + _bytes(8, paths) + _bytes(9, definitions)


def _named_schema(name: str, schema: dict[str, Any]) -> bytes:
    return _text(1, name) + _bytes(2, _schema(schema))


def _schema(schema: dict[str, Any]) -> bytes:
    out = (
        _text(1, schema.get("$ref", ""))
        + _text(2, schema.get("format", ""))
        + _text(4, schema.get("description", ""))
    )
    out += b"".join(_text(19, name) for name in schema.get("required", ()))
    if "additionalProperties" in schema:
        out += _bytes(21, _additional_properties(schema["additionalProperties"]))
    if "type" in schema:
        out += _bytes(22, _text(1, schema["type"]))
    if "items" in schema:
        out += _bytes(23, _bytes(1, _schema(schema["items"])))
    if "properties" in schema:
        properties = schema["properties"].items()
        named = [_bytes(1, _named_schema(name, inner)) for name, inner in properties]
        out += _bytes(25, b"".join(named))
    return out + _extensions(31, schema)


def _additional_properties(others: dict[str, Any] | bool) -> bytes:
    if isinstance(others, bool):
        return varint(2 << 3) + varint(others)
    return _bytes(1, _schema(others))


def _extensions(tag: int, holder: dict[str, Any]) -> bytes:
    import yaml

    out = b""
    for key, value in holder.items():
        if key.startswith("x-"):
            out += _bytes(tag, _text(1, key) + _bytes(2, _text(2, yaml.safe_dump(value))))
    return out


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}


def _path(item: dict[str, Any], shared: dict[str, Any]) -> bytes:
    operations = ((method, operation) for method, operation in item.items() if method in _METHODS)
    return b"".join(
        _bytes(_METHODS[method], _operation(operation, shared)) for method, operation in operations
    )


def _operation(operation: dict[str, Any], shared: dict[str, Any]) -> bytes:
    """Parameters are written out: readers of this form look for their names."""
    # Documents of other servers, which are joined to ours, may lack some of this.
    out = _text(3, operation.get("description", "")) + _text(5, operation.get("operationId", ""))
    for parameter in operation.get("parameters") or ():
        parameter = shared.get(parameter.get("$ref", "").removeprefix("#/parameters/"), parameter)
        if parameter.get("in") == "query":
            out += _bytes(8, _bytes(1, _bytes(2, _bytes(3, _query_parameter(parameter)))))
    return out + _extensions(13, operation)


def _query_parameter(parameter: dict[str, Any]) -> bytes:
    place = _text(2, "query")
    description = _text(3, parameter.get("description", ""))
    name = _text(4, parameter["name"])
    kind = _text(6, parameter.get("type", "string"))
    return place + description + name + kind
