"""Objects inside of objects, with a kind and metadata of their own."""

from __future__ import annotations

from typing import Any

import msgspec

from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery import gowords
from tiphys.machinery.errors import FieldError, invalid_value, required
from tiphys.machinery.fielderrors import field_path
from tiphys.machinery.names import label_key_errors, label_value_errors
from tiphys.machinery.structural.schema import Schema


def embedded_errors(value: dict[str, Any], path: str) -> list[FieldError]:
    errors = []
    for name in ("apiVersion", "kind"):
        if name not in value:
            errors.append(required(field_path(path, name)))
        elif not value[name]:
            errors.append(invalid_value(field_path(path, name), value[name], "must not be empty"))
    meta = value.get("metadata")
    if isinstance(meta, dict):
        errors += embedded_meta_errors(meta, field_path(path, "metadata"))
    return errors


def unreadable_embedded(value: Any, schema: Schema, path: str = "") -> str:
    """Why the kind or the metadata of an embedded object cannot be read at all; the empty string if
    all can."""
    if not schema.has_embedded:
        return ""
    if isinstance(value, list) and schema.items is not None:
        for index, item in enumerate(value):
            problem = unreadable_embedded(item, schema.items, f"{path}[{index}]")
            if problem:
                return problem
    elif isinstance(value, dict):
        for key, item in value.items():
            problem = _unreadable_field(key, item, schema, field_path(path, key))
            if problem:
                return problem
    return ""


def _unreadable_field(key: str, item: Any, schema: Schema, path: str) -> str:
    if schema.embedded and key in ("apiVersion", "kind") and not isinstance(item, str):
        return str(invalid_value(path, item, "must be a string"))
    if schema.embedded and key == "metadata":
        try:
            from_builtins(item, ObjectMeta)
        except msgspec.ValidationError as error:
            return str(invalid_value(path, item, gowords.mismatch(error, item, ObjectMeta)))
        return ""
    inner = schema.child(key)
    return unreadable_embedded(item, inner, path) if inner is not None else ""


def embedded_meta_errors(meta: dict[str, Any], path: str) -> list[FieldError]:
    """What is wrong with labels and annotations in the metadata of an embedded object."""
    labels = f"{path}.labels"
    annotations = f"{path}.annotations"
    errors = []
    for key, value in (meta.get("labels") or {}).items():
        errors += [invalid_value(labels, key, text) for text in label_key_errors(key)]
        errors += [invalid_value(labels, value, text) for text in label_value_errors(str(value))]
    for key in meta.get("annotations") or {}:
        errors += [invalid_value(annotations, key, text) for text in label_key_errors(key.lower())]
    return errors
