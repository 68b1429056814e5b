"""The structural schema of a struct: what a CustomResourceDefinition says of its fields.

Source of the rules: upstream's documentation of structural schemas. A field without a default is
required, one whose default is not empty has that default in the schema, constraints and
descriptions are msgspec's `Meta`.
"""

from __future__ import annotations

import types
import typing
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from tiphys.api.apiextensions_v1 import JSONSchemaProps, ValidationRule
from tiphys.api.base import F, Quantity, Scalar, Struct, to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.operator.declare import Rule

_NONE = type(None)
_NUMBER = r"(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
_QUANTITY = rf"^(\+|-)?{_NUMBER}(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?{_NUMBER}))?$"
_INT32_MAX = 2**31 - 1
_PUBLISHED = {("ContainerPort", "protocol"): "TCP"}
"""Defaults in upstream's schemas of fields that are empty in the type itself."""
_DEEPEST = 40  # structs within structs: a type that holds itself has no structural schema


class NoSchema(TypeError):
    """A type that a structural schema cannot express."""


def schema_of(kind: type[Struct], rules: tuple[Rule, ...] = ()) -> JSONSchemaProps:
    """The schema of a whole resource. Raises NoSchema, naming the field."""
    schema = _struct(kind, (kind.__name__,), {})
    schema.x_kubernetes_validations = [*schema.x_kubernetes_validations, *map(_rule, rules)]
    for name, text in (("apiVersion", _API_VERSION), ("kind", _KIND)):
        schema.properties[name] = JSONSchemaProps(type="string", description=text)
    schema.properties["metadata"] = JSONSchemaProps(type="object")
    schema.required = [name for name in schema.required if name not in _OF_EVERY_OBJECT]
    return schema


_OF_EVERY_OBJECT = ("apiVersion", "kind", "metadata", "status")
_API_VERSION = "The version of the schema that this object is written in."
_KIND = "The kind of resource that this object is."


def _struct(
    kind: type[Struct], path: tuple[str, ...], constraints: dict[str, Any]
) -> JSONSchemaProps:
    if len(path) > _DEEPEST:
        raise NoSchema(f"{'.'.join(path[:6])}...: the type holds itself")
    if kind is ObjectMeta:
        return JSONSchemaProps(type="object", x_kubernetes_preserve_unknown_fields=True)
    hints = typing.get_type_hints(kind, include_extras=True)
    schema = JSONSchemaProps(type="object", description=_description(kind))
    for field in msgspec.structs.fields(kind):
        name = field.encode_name
        property_ = _type(hints[field.name], (*path, name))
        default = _PUBLISHED.get((kind.__name__, name), _default(field))
        if field.required or _is_required(hints[field.name]):
            schema.required.append(name)
        elif default is not None:
            property_.default = default
        schema.properties[name] = property_
    own = kind.__dict__.get("rules", ())
    if isinstance(own, tuple):  # and not a field of that name
        schema.x_kubernetes_validations = [_rule(rule) for rule in own]
    return _constrained(schema, constraints)


def _description(kind: type) -> str:
    """The docstring, unless it is inherited or made by msgspec."""
    text = kind.__dict__.get("__doc__") or ""
    return " ".join(text.split())


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """What the schema fills in: a default that is not empty. Containers and structs have none."""
    value = field.default
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value is msgspec.NODEFAULT or isinstance(value, Struct | list | dict):
        return None
    return to_builtins(value) if value else None


def _is_required(hint: Any) -> bool:
    return any(isinstance(extra, F) and extra.req for extra in _annotations(hint))


def _annotations(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _type(hint: Any, path: tuple[str, ...]) -> JSONSchemaProps:
    extras: list[Any] = []
    while get_origin(hint) is Annotated:
        extras += get_args(hint)[1:]
        hint = get_args(hint)[0]
    if get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not _NONE]
        if len(options) == 1:
            return _constrained(_type(options[0], path), _facts(extras))
        return _constrained(_union(options, path), _facts(extras))
    facts = _facts(extras)
    scalar = next((extra.kind for extra in extras if isinstance(extra, Scalar)), "")
    if scalar:
        return _constrained(_scalar(scalar), facts)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return _struct(hint, path, facts)
    return _constrained(_plain(hint, path), facts)


def _plain(hint: Any, path: tuple[str, ...]) -> JSONSchemaProps:
    origin = get_origin(hint)
    if origin is Literal:
        return JSONSchemaProps(type="string", enum=list(get_args(hint)))
    if origin is list:
        return JSONSchemaProps(type="array", items=_type(get_args(hint)[0], (*path, "[]")))
    if origin is dict:
        value = _type(get_args(hint)[1], (*path, "{}"))
        return JSONSchemaProps(type="object", additional_properties=value)
    if hint in _PLAIN:
        schema: JSONSchemaProps = _PLAIN[hint]()
        return schema
    raise NoSchema(f"{'.'.join(path)}: {hint!r} has no structural schema")


_PLAIN: dict[Any, Any] = {
    str: lambda: JSONSchemaProps(type="string"),
    bytes: lambda: JSONSchemaProps(type="string", format="byte"),
    bool: lambda: JSONSchemaProps(type="boolean"),
    int: lambda: JSONSchemaProps(type="integer", format="int64"),
    float: lambda: JSONSchemaProps(type="number"),
    Any: lambda: JSONSchemaProps(x_kubernetes_preserve_unknown_fields=True),
    Quantity: lambda: _int_or_string(_QUANTITY),
}


def _scalar(kind: str) -> JSONSchemaProps:
    if kind in ("time", "microtime"):
        return JSONSchemaProps(type="string", format="date-time")
    return JSONSchemaProps(x_kubernetes_preserve_unknown_fields=True)


def _union(options: list[Any], path: tuple[str, ...]) -> JSONSchemaProps:
    bare = {
        option if get_origin(option) is not Annotated else get_args(option)[0] for option in options
    }
    if bare == {int, str}:
        return _int_or_string()
    if bare == {int, float}:
        return JSONSchemaProps(type="number")
    raise NoSchema(f"{'.'.join(path)}: a structural schema has one type for a field")


def _int_or_string(pattern: str = "") -> JSONSchemaProps:
    arms = [JSONSchemaProps(type="integer"), JSONSchemaProps(type="string")]
    return JSONSchemaProps(any_of=arms, x_kubernetes_int_or_string=True, pattern=pattern)


def _facts(extras: list[Any]) -> dict[str, Any]:
    """Attributes of the schema that the annotations of a field stand for."""
    facts: dict[str, Any] = {}
    for extra in extras:
        if isinstance(extra, msgspec.Meta):
            facts |= _meta(extra)
        elif isinstance(extra, F) and extra.list:
            facts["x_kubernetes_list_type"] = extra.list
            facts["x_kubernetes_list_map_keys"] = list(extra.keys)
        elif isinstance(extra, F) and extra.atomic:
            facts["x_kubernetes_map_type"] = "atomic"
        elif isinstance(extra, Rule):
            facts.setdefault("rules", []).append(_rule(extra))
    return facts


def _meta(meta: msgspec.Meta) -> dict[str, Any]:
    if meta.ge == -(2**31) and meta.le == _INT32_MAX:  # api.base.Int32
        return {"format": "int32"}
    if meta.ge == -(2**63):  # api.base.Int64
        return {"format": "int64"}
    facts = {
        "format": "int32" if meta.le == _INT32_MAX else None,
        "description": meta.description,
        "pattern": meta.pattern,
        "minimum": meta.ge if meta.ge is not None else meta.gt,
        "exclusive_minimum": True if meta.gt is not None else None,
        "maximum": meta.le if meta.le not in (None, _INT32_MAX) else meta.lt,
        "exclusive_maximum": True if meta.lt is not None else None,
        "multiple_of": meta.multiple_of,
        "length": (meta.min_length, meta.max_length),
        **(meta.extra_json_schema or {}),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _complete_keys(schema: JSONSchemaProps, keys: list[str]) -> None:
    """A key of a list that is a map has a value in every item: an empty text, where it is neither
    required nor has a default."""
    items = schema.items
    if not isinstance(items, JSONSchemaProps):
        return
    for key in keys:
        property_ = items.properties.get(key)
        if property_ is None or key in items.required or property_.default is not None:
            continue
        if property_.type == "string":
            property_.default = ""


_LENGTHS = {
    "string": ("min_length", "max_length"),
    "array": ("min_items", "max_items"),
    "object": ("min_properties", "max_properties"),
}


def _constrained(schema: JSONSchemaProps, facts: dict[str, Any]) -> JSONSchemaProps:
    for name, value in facts.items():
        if name == "x_kubernetes_list_map_keys":
            _complete_keys(schema, value)
        if name == "rules":  # beside those of the struct itself
            schema.x_kubernetes_validations = [*schema.x_kubernetes_validations, *value]
            continue
        if name != "length":
            setattr(schema, name, value)
            continue
        for attribute, bound in zip(_LENGTHS.get(schema.type, ()), value, strict=False):
            if bound is not None:
                setattr(schema, attribute, bound)
    if schema.x_kubernetes_list_type == "map":
        _give_keys_defaults(schema)
    return schema


# Keys that are not empty where nothing is said: the default that upstream's types declare.
_KEY_DEFAULTS = {"protocol": "TCP"}


def _give_keys_defaults(schema: JSONSchemaProps) -> None:
    """Of a list that is a map: a key is required or has a default (upstream's
    `validateMapListKeysMapSet`)."""
    items = schema.items
    if not isinstance(items, JSONSchemaProps):
        return
    for key in schema.x_kubernetes_list_map_keys:
        property_ = items.properties.get(key)
        if property_ is None or property_.type != "string" or key in items.required:
            continue
        if property_.default is None:
            property_.default = _KEY_DEFAULTS.get(key, "")


def _rule(rule: Rule) -> ValidationRule:
    return ValidationRule(
        rule=rule.rule,
        message=rule.message,
        message_expression=rule.message_expression,
        reason=rule.reason or None,
        field_path=rule.field_path,
    )
