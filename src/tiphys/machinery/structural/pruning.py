"""What the schema does not name is taken out, and so are nulls that it does not allow."""

from __future__ import annotations

from typing import Any

from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.fielderrors import ENOUGH, field_path
from tiphys.machinery.schema import fields_of
from tiphys.machinery.structural.schema import ANYTHING, NOTHING, ROOT, Schema


def prune(
    value: Any, schema: Schema, root: bool = False, path: str = "", pruned: list[str] | None = None
) -> None:
    """Takes out, in place, what the schema does not name.

    root:   the value is a whole object, whose kind and metadata are not the schema's concern
    pruned: collects the paths of what was taken out, `ENOUGH` of them at the most
    """
    if isinstance(value, list):
        below = schema.items or NOTHING
        for index, item in enumerate(value):
            if isinstance(item, dict | list) and not (schema.items is None and schema.preserve):
                prune(item, below, False, f"{path}[{index}]", pruned)
        return
    if not isinstance(value, dict) or schema is ANYTHING:
        return
    for key in list(value):
        if (root or schema.embedded) and key in ROOT:
            if key == "metadata" and not root and isinstance(value[key], dict):
                _prune_metadata(value[key], field_path(path, "metadata"), pruned)
            continue
        inner = schema.child(key)
        if inner is not None:
            if isinstance(value[key], dict | list):
                prune(value[key], inner, False, field_path(path, key), pruned)
        elif not schema.preserve:
            del value[key]
            if pruned is not None and len(pruned) < ENOUGH:
                pruned.append(field_path(path, key))


def _prune_metadata(meta: dict[str, Any], path: str, pruned: list[str] | None) -> None:
    """The metadata of an embedded object has the fields that every object's has."""
    known = fields_of(ObjectMeta)
    for key in [key for key in meta if key not in known]:
        del meta[key]
        if pruned is not None and len(pruned) < ENOUGH:
            pruned.append(field_path(path, key))


def drop_nulls(value: Any, schema: Schema) -> None:
    """Takes out nulls, in place, where the schema allows none and has no default for them."""
    if isinstance(value, dict):
        for key in list(value):
            inner = schema.child(key)
            if inner is None or inner is ANYTHING:
                continue
            if value[key] is None:
                if not inner.nullable and not inner.has_default:
                    del value[key]
            else:
                drop_nulls(value[key], inner)
    elif isinstance(value, list) and schema.items is not None:
        for item in value:
            drop_nulls(item, schema.items)
