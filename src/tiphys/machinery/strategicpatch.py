"""Strategic merge patch, on plain dicts and lists: merging by what the declared types say of their
lists.

Directives are fields of the patch: ``$patch`` (replace, delete), ``$retainKeys``,
``$deleteFromPrimitiveList/<field>`` and ``$setElementOrder/<field>``. Rules and messages are those
of apimachinery's `strategicpatch`.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from tiphys.api.base import Struct
from tiphys.machinery import gowords
from tiphys.machinery.mergepatch import PatchError, merge
from tiphys.machinery.schema import Field, element, fields_of, struct_of

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_LIST = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_DELETED: Any = object()


def strategic(target: Any, patch: Any, kind: type[Struct] | None) -> Any:
    """An object of `kind` with a patch applied. It is not changed; the result may share parts with
    both.

    kind: None for an object without a declared type, whose lists are replaced

    Raises PatchError.
    """
    if not isinstance(patch, dict):
        raise PatchError("strategic merge patch must be an object")
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _PATCH}
    if directive == "delete":
        return {}
    if _PATCH in patch:
        raise PatchError(_unknown_directive(patch))
    fields = fields_of(kind) if kind is not None else {}
    result = dict(target) if isinstance(target, dict) else {}
    if _RETAIN in patch:
        retained = _retained(patch)
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN) or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE_LIST):
            name = key.removeprefix(_DELETE_LIST)
            result[name] = _without_items(result.get(name) or [], value)
        elif value is None:
            result.pop(key, None)
        else:
            order = patch.get(_ORDER + key)
            if order:
                order = _as_list(order)
            result[key] = _value(result.get(key), value, fields.get(key), order)
    for key, order in patch.items():
        name = key.removeprefix(_ORDER)
        items = result.get(name)
        if key.startswith(_ORDER) and name not in patch and isinstance(items, list):
            result[name] = _ordered(items, _as_list(order), _merge_key(fields.get(name)), items)
    return result


def _without_items(items: list[Any], deleted: Any) -> list[Any]:
    """A list of plain values without some of them."""
    if not isinstance(deleted, list):
        raise PatchError("invalid patch format of primitive list")
    identities = {_identity(item) for item in deleted if not isinstance(item, dict | list)}
    return [item for item in items if _identity(item) not in identities]


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise PatchError(f"expected a []interface {{}}, but received a {gowords.type_of(value)}")
    return value


def _retained(patch: dict[str, Any]) -> set[str]:
    """The fields that stay: all that the patch sets have to be among them, as upstream demands."""
    listed = patch[_RETAIN]
    if not isinstance(listed, list):
        raise PatchError("invalid patch format of retainKeys")
    retained = {key for key in listed if isinstance(key, str)}
    for key, value in patch.items():
        if value is None or key == _RETAIN or key.startswith((_DELETE_LIST, _ORDER)):
            continue
        if key not in retained:
            raise PatchError("invalid patch format of retainKeys")
    return retained


def _unknown_directive(patch: dict[str, Any]) -> str:
    directive = gowords.formatted(patch[_PATCH])
    return f"unknown patch type: {directive} in map: {gowords.formatted(patch)}"


def _check_alike(current: list[Any], patch: list[Any]) -> None:
    """Lists that are merged hold items of one type. Raises PatchError."""
    types = [gowords.type_of(item) for item in (*current, *patch)]
    if types and types[0].startswith("[]"):
        raise PatchError("lists of lists are not supported", invalid=True)
    if len(set(types)) > 1:
        raise PatchError(
            f"list element types are not identical: {gowords.formatted([current, patch])}"
        )


def _merge_key(field: Field | None) -> str:
    return field.facts.key if field is not None else ""


def _value(current: Any, value: Any, field: Field | None, order: Any) -> Any:
    """What a field holds after a patch; `order` is the list beside it that orders its items, or
    None."""
    if isinstance(value, dict):
        return _patched_object(current, value, field)
    if isinstance(value, list) and field is not None and "merge" in field.facts.patch:
        key = field.facts.key
        if key and (field.item is None or field.item.kind == "struct"):
            return _merge_objects(current or [], value, field, key, order)
        return _merge_scalars(current or [], value, order)
    return _without_directives(value)


def _patched_object(current: Any, patch: dict[str, Any], field: Field | None) -> Any:
    if field is None:
        return strategic(current, patch, None)
    if field.kind == "dict":
        entry = element(field)
        if entry is not None and entry.kind == "struct":
            return _struct_map(current, patch, entry.item)
    if "replace" in field.facts.patch and patch.get(_PATCH) is None:
        return _without_directives(patch)
    if field.kind == "any":
        return merge(current, patch)
    return strategic(
        current, patch, struct_of(field) if field.kind in ("struct", "union") else None
    )


def _struct_map(current: Any, patch: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, kind)
    return result


def _without_directives(value: Any) -> Any:
    """A value that is taken as a whole, without directives and nulls."""
    if isinstance(value, dict):
        result = {}
        for key, item in value.items():
            is_directive = key in (_PATCH, _RETAIN) or key.startswith((_ORDER, _DELETE_LIST))
            if item is not None and not is_directive:
                result[key] = _without_directives(item)
        return result
    if isinstance(value, list):
        return [_without_directives(item) for item in value if _directive(item) != "delete"]
    return value


def _directive(item: Any) -> Any:
    return item.get(_PATCH) if isinstance(item, dict) else None


def _merge_scalars(current: list[Any], patch: list[Any], order: Any) -> list[Any]:
    _check_alike(current, patch)
    if any(isinstance(item, dict) for item in patch):
        raise PatchError("a list of plain values cannot take objects")
    _check_order(patch, order, "")
    merged = list(dict.fromkeys([*current, *patch]))
    return _ordered_by_patch(merged, patch, order, "", current)


def _merge_objects(
    current: list[Any], patch: list[Any], field: Field, key: str, order: Any
) -> list[Any]:
    _check_alike(current, patch)
    _check_directives(patch, key)
    _check_order(patch, order, key)
    named = [item for item in patch if not (isinstance(item, dict) and _PATCH in item)]
    if any(_directive(item) == "replace" for item in patch):
        return [_without_directives(item) for item in named]
    kind = struct_of(field)
    result = list(current)
    places = _places_by_key(current, key)
    for item in patch:
        _check_item(item, key, field)
        identity = _identity(item[key])
        if _directive(item) == "delete":
            for place in places.pop(identity, ()):
                result[place] = _DELETED
        elif identity in places:
            first = places[identity][0]
            result[first] = strategic(result[first], item, kind)
        else:
            places[identity] = [len(result)]
            result.append(_without_directives(item))
    result = [item for item in result if item is not _DELETED]
    return _ordered_by_patch(result, named, order, key, current)


def _places_by_key(items: list[Any], key: str) -> dict[Any, list[int]]:
    """Where the items are, by the identity of their merge key. Stored lists may have one twice."""
    places: dict[Any, list[int]] = {}
    for place, item in enumerate(items):
        if isinstance(item, dict) and not isinstance(item.get(key), dict | list):
            places.setdefault(_identity(item.get(key)), []).append(place)
    return places


def _check_item(item: Any, key: str, field: Field) -> None:
    """Raises PatchError for an item of a patch that cannot be merged by its key."""
    if not isinstance(item, dict):
        raise PatchError(f"invalid value in list of {field.name}: not an object")
    if key not in item:
        raise PatchError(_keyless(item, key))
    if isinstance(item[key], dict | list):
        raise PatchError(
            f"invalid value of merge key {key} in list of {field.name}: not a plain value"
        )


def _keyless(item: dict[str, Any], key: str) -> str:
    return f"map: {gowords.formatted(item)} does not contain declared merge key: {key}"


def _check_directives(patch: list[Any], key: str) -> None:
    """What items of a list may say of themselves: delete (by the merge key) or replace. Raises
    PatchError."""
    for item in patch:
        if not isinstance(item, dict) or _PATCH not in item:
            continue
        directive = item[_PATCH]
        if directive == "merge":
            raise PatchError("merging lists cannot yet be specified in the patch")
        if directive not in ("delete", "replace"):
            raise PatchError(_unknown_directive(item))
        if directive == "delete" and key not in item:
            raise PatchError(_keyless(item, key))


def _identity(value: Any) -> Any:
    """What plain values are compared by: 1 is not true. Others are themselves alone."""
    if isinstance(value, dict | list):
        return id(value)
    return (type(value) is bool, value)


def _check_order(patch: list[Any], order: Any, key: str) -> None:
    """What is patched has to stand in the order that is given beside it. Raises PatchError."""
    if not isinstance(order, list):
        return
    rest = iter([_key_of(item, key) for item in order])
    for item in patch:
        if isinstance(item, dict) and _PATCH in item:
            continue
        if _key_of(item, key) not in rest:  # looks on from where the item before was
            raise PatchError(
                f"The order in patch list:\n{gowords.formatted(patch)}\n"
                f" doesn't match $setElementOrder list:\n{gowords.formatted(order)}\n"
            )


def _key_of(item: Any, key: str) -> Any:
    """What names an item: its merge key if there is one, else the item itself."""
    return item.get(key) if key and isinstance(item, dict) else item


def _ordered_by_patch(
    items: list[Any], patch: list[Any], order: Any, key: str, original: list[Any]
) -> list[Any]:
    """What the patch names is ordered as it names it; an order that is given beside it is put on
    top of that."""
    items = _ordered(items, patch, key, original)
    return _ordered(items, order, key, original) if isinstance(order, list) else items


def _ordered(items: list[Any], order: list[Any], key: str, original: list[Any]) -> list[Any]:
    """The items that `order` names, in that order, and the others relative to what was before them
    originally."""
    wanted = _Places(order, key)
    named = [item for item in items if wanted.of(item) is not None]
    named.sort(key=wanted.of)
    rest = deque(item for item in items if wanted.of(item) is None)
    if not rest:
        return named
    before = _Places(original, key)
    result: list[Any] = []
    for item in named:
        place = before.of(item)
        while place is not None and rest:
            place_of_other = before.of(rest[0])
            if place_of_other is None or place_of_other >= place:
                break
            result.append(rest.popleft())
        result.append(item)
    return [*result, *rest]


class _Places:
    """Where a list has its items, by what names them; of those there twice the last."""

    def __init__(self, items: list[Any], key: str) -> None:
        self._key = key
        self._places: dict[Any, int] = {}
        for place, item in enumerate(items):
            name = _key_of(item, key)
            if not isinstance(name, dict | list):
                self._places[name] = place

    def of(self, item: Any) -> Any:
        """None for an item that is not there, or that has no plain name."""
        name = _key_of(item, self._key)
        return None if isinstance(name, dict | list) else self._places.get(name)
