"""JSON patch (RFC 6902), JSON merge patch (RFC 7386) and strategic merge patch, on plain dicts and lists."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from tiphys.api.base import Struct
from tiphys.machinery import gowords
from tiphys.machinery.schema import Field, element, fields_of, struct_of


class PatchError(ValueError):
    """The patch cannot be read or applied; `invalid` tells a bad patch (400) from one that does not fit (422)."""

    def __init__(self, message: str, invalid: bool = False) -> None:
        super().__init__(message)
        self.invalid = invalid


def merge(target: Any, patch: Any) -> Any:
    """JSON merge patch."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


# --- JSON patch ---------------------------------------------------------------------------------------------------


def json_patch(document: Any, operations: Any) -> Any:
    """Applies the operations in order to a copy; raises PatchError and changes nothing when one fails."""
    if not isinstance(operations, list) or not all(isinstance(op, dict) for op in operations):
        raise PatchError("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    document = _copied(document)
    budget = _Budget()
    for operation in operations:
        document = _apply(document, operation, budget)
    return document


def _copied(value: Any) -> Any:
    """A copy that shares nothing, forty times as fast as `copy.deepcopy`."""
    return msgspec.json.decode(msgspec.json.encode(value))


class _Budget:
    """What the copies of one patch may add to the document, all together: each may double it."""

    def __init__(self) -> None:
        self._spent = 0

    def copied(self, value: Any) -> Any:
        data = msgspec.json.encode(value)
        self._spent += len(data)
        if self._spent > _MOST_COPIED:
            raise PatchError(
                f"Unable to complete the copy, the accumulated size increase of copy is {self._spent}, "
                f"exceeding the limit {_MOST_COPIED}",
                invalid=True,
            )
        return msgspec.json.decode(data)


_MOST_COPIED = 3 << 20  # bytes of JSON: upstream's JSONPatchMaxCopyBytes


def _apply(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    op, path = operation.get("op"), operation.get("path")
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise PatchError(f"invalid path in JSON patch operation: {path!r}")
    match op:
        case "add":
            return _add(document, path, _copied(operation.get("value")))
        case "remove":
            return _remove(document, path)
        case "replace":
            _get(document, path)
            value = _copied(operation.get("value"))
            return _add(_remove(document, path), path, value) if path else value
        case "move":
            value = _get(document, _source(operation))
            return _add(_remove(document, _source(operation)), path, value)
        case "copy":
            return _add(document, path, budget.copied(_get(document, _source(operation))))
        case "test":
            if _get(document, path, missing=None) != operation.get("value"):
                raise PatchError(f"testing value {path} failed: test failed", invalid=True)
            return document
        case _:
            raise PatchError(f"Unexpected kind: {op}")


def _source(operation: dict[str, Any]) -> str:
    """Where a move or a copy takes its value from."""
    path = operation.get("from")
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise PatchError(f"invalid from in JSON patch operation: {path!r}")
    return path


def _parts(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


_RAISE: Any = object()


def _get(document: Any, path: str, missing: Any = _RAISE) -> Any:
    for part in _parts(path):
        try:
            document = (
                document[_index(part, document)] if isinstance(document, list) else document[part]
            )
        except (KeyError, IndexError, TypeError, ValueError):
            if missing is not _RAISE:
                return missing
            raise PatchError(
                f"error in path {path}: missing path: missing value", invalid=True
            ) from None
    return document


def _index(part: str, items: list[Any]) -> int:
    index = int(part)
    if index < 0 or (len(part) > 1 and part[0] == "0"):
        raise IndexError(part)
    return index


def _parent(document: Any, path: str) -> tuple[Any, str]:
    head, _, _ = path.rpartition("/")
    return _get(document, head), _parts(path)[-1]


def _add(document: Any, path: str, value: Any) -> Any:
    if not path:
        return value
    parent, last = _parent(document, path)
    if isinstance(parent, dict):
        parent[last] = value
        return document
    try:
        index = len(parent) if last == "-" else _index(last, parent)
        if index > len(parent):
            raise IndexError(last)
        parent.insert(index, value)
    except (ValueError, IndexError, TypeError, AttributeError):
        raise PatchError(
            f"add operation does not apply: doc is missing path: {path}: missing value",
            invalid=True,
        ) from None
    return document


def _remove(document: Any, path: str) -> Any:
    if not path:
        return None
    _get(document, path) if path else None
    parent, last = _parent(document, path)
    del parent[_index(last, parent) if isinstance(parent, list) else last]
    return document


# --- strategic merge patch ----------------------------------------------------------------------------------------

_PATCH, _RETAIN = "$patch", "$retainKeys"
_DELETE_LIST, _ORDER = "$deleteFromPrimitiveList/", "$setElementOrder/"


def strategic(target: Any, patch: Any, kind: type[Struct] | None) -> Any:
    """Strategic merge patch of an object of `kind` (None: no schema, so lists are replaced)."""
    if not isinstance(patch, dict):
        raise PatchError("strategic merge patch must be an object")
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _PATCH}
    if directive == "delete":
        return {}
    if _PATCH in patch:
        raise PatchError(_unknown(patch))
    fields = fields_of(kind) if kind is not None else {}
    result = dict(target) if isinstance(target, dict) else {}
    if _RETAIN in patch:
        kept = _retained(patch)
        result = {key: value for key, value in result.items() if key in kept}
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN) or key.startswith(_ORDER):
            continue
        if key.startswith(_DELETE_LIST):
            name = key[len(_DELETE_LIST) :]
            if not isinstance(value, list):
                raise PatchError("invalid patch format of primitive list")
            gone = value
            plain = {_identity(item) for item in gone if not isinstance(item, dict | list)}
            result[name] = [item for item in result.get(name) or [] if _identity(item) not in plain]
        elif value is None:
            result.pop(key, None)
        else:
            order = patch.get(_ORDER + key)
            result[key] = _value(result.get(key), value, fields.get(key), order and _listed(order))
    for key, order in patch.items():
        name = key[len(_ORDER) :]
        if key.startswith(_ORDER) and name not in patch and isinstance(result.get(name), list):
            result[name] = _ordered(
                result[name], _listed(order), _merge_key(fields.get(name)), result[name]
            )
    return result


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise PatchError(f"expected a []interface {{}}, but received a {gowords.type_of(value)}")
    return value


def _retained(patch: dict[str, Any]) -> set[str]:
    """The fields that stay: all that the patch sets have to be among them, as upstream demands."""
    kept = patch[_RETAIN]
    if not isinstance(kept, list):
        raise PatchError("invalid patch format of retainKeys")
    names = {key for key in kept if isinstance(key, str)}
    set_here = {
        k
        for k, v in patch.items()
        if v is not None and k != _RETAIN and not k.startswith((_DELETE_LIST, _ORDER))
    }
    if set_here - names:
        raise PatchError("invalid patch format of retainKeys")
    return names


def _unknown(patch: dict[str, Any]) -> str:
    return (
        f"unknown patch type: {gowords.formatted(patch[_PATCH])} in map: {gowords.formatted(patch)}"
    )


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
    if isinstance(value, dict):
        kind = struct_of(field) if field is not None and field.kind in ("struct", "union") else None
        inner = element(field) if field is not None and field.kind == "dict" else None
        if inner is not None and inner.kind == "struct":
            return _struct_map(current, value, inner.item)
        if field is not None and "replace" in field.facts.patch and value.get(_PATCH) is None:
            return _clean(value)
        if field is not None and field.kind == "any":
            return merge(current, value)
        return strategic(current, value, kind)
    if isinstance(value, list) and field is not None and "merge" in field.facts.patch:
        key = field.facts.key
        if key and (field.item is None or field.item.kind == "struct"):
            return _merge_objects(current or [], value, field, key, order)
        return _merge_scalars(current or [], value, order)
    return _clean(value)


def _struct_map(current: Any, patch: dict[str, Any], kind: type[Struct]) -> dict[str, Any]:
    result = dict(current) if isinstance(current, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, kind)
    return result


def _clean(value: Any) -> Any:
    """Takes directives and nulls out of a value that is taken whole."""
    if isinstance(value, dict):
        return {
            key: _clean(item)
            for key, item in value.items()
            if item is not None
            and key not in (_PATCH, _RETAIN)
            and not key.startswith((_ORDER, _DELETE_LIST))
        }
    if isinstance(value, list):
        return [
            _clean(item)
            for item in value
            if not (isinstance(item, dict) and item.get(_PATCH) == "delete")
        ]
    return value


def _merge_scalars(current: list[Any], patch: list[Any], order: Any) -> list[Any]:
    _check_alike(current, patch)
    if any(isinstance(item, dict) for item in patch):
        raise PatchError("a list of plain values cannot take objects")
    _check_order(patch, order, "")
    merged = list(dict.fromkeys([*current, *patch]))
    merged = _ordered(merged, patch, "", current)
    return _ordered(merged, order, "", current) if isinstance(order, list) else merged


def _merge_objects(
    current: list[Any], patch: list[Any], field: Field, key: str, order: Any
) -> list[Any]:
    _check_alike(current, patch)
    _check_directives(patch, key)
    _check_order(patch, order, key)
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        return [_clean(item) for item in patch if not (isinstance(item, dict) and _PATCH in item)]
    kind = struct_of(field)
    result = list(current)
    where: dict[Any, list[int]] = {}  # value of the merge key → its places
    for at, have in enumerate(result):
        if isinstance(have, dict) and not isinstance(have.get(key), dict | list):
            where.setdefault(_identity(have.get(key)), []).append(at)
    for item in patch:
        if not isinstance(item, dict):
            raise PatchError(f"invalid value in list of {field.name}: not an object")
        if key not in item:
            raise PatchError(_keyless(item, key))
        if isinstance(item[key], dict | list):
            raise PatchError(
                f"invalid value of merge key {key} in list of {field.name}: not a plain value"
            )
        places = where.get(_identity(item[key]), [])
        if item.get(_PATCH) == "delete":
            for at in places:
                result[at] = _GONE
            where.pop(_identity(item[key]), None)
        elif places:
            result[places[0]] = strategic(result[places[0]], item, kind)
        else:
            where[_identity(item[key])] = [len(result)]
            result.append(_clean(item))
    result = [have for have in result if have is not _GONE]
    # What the patch names stands as it names it; an order that is given beside it is put on top of that.
    result = _ordered(result, [item for item in patch if _PATCH not in item], key, current)
    return _ordered(result, order, key, current) if isinstance(order, list) else result


_GONE: Any = object()


def _keyless(item: dict[str, Any], key: str) -> str:
    return f"map: {gowords.formatted(item)} does not contain declared merge key: {key}"


def _check_directives(patch: list[Any], key: str) -> None:
    """What items of a list may say of themselves: delete (by the merge key) or replace. Raises PatchError."""
    for item in patch:
        if not isinstance(item, dict) or _PATCH not in item:
            continue
        directive = item[_PATCH]
        if directive == "merge":
            raise PatchError("merging lists cannot yet be specified in the patch")
        if directive not in ("delete", "replace"):
            raise PatchError(_unknown(item))
        if directive == "delete" and key not in item:
            raise PatchError(_keyless(item, key))


def _identity(value: Any) -> Any:
    """What plain values are compared by: 1 is not true."""
    return (type(value) is bool, value) if not isinstance(value, dict | list) else id(value)


def _check_order(patch: list[Any], order: Any, key: str) -> None:
    """What is patched has to stand in the order that is given beside it. Raises PatchError."""
    if not isinstance(order, list):
        return
    told = iter([item.get(key) if key and isinstance(item, dict) else item for item in order])
    for item in patch:
        if isinstance(item, dict) and _PATCH in item:
            continue
        wanted = item.get(key) if key and isinstance(item, dict) else item
        if wanted not in told:  # what was passed over does not come again
            shown, told_order = gowords.formatted(patch), gowords.formatted(order)
            raise PatchError(
                f"The order in patch list:\n{shown}\n doesn't match $setElementOrder list:\n{told_order}\n"
            )


def _ordered(items: list[Any], order: list[Any], key: str, original: list[Any]) -> list[Any]:
    """Items named in `order` stand in that order; the others keep their place relative to what stood before them."""

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    position = {value: at for at, value in enumerate(wanted) if not isinstance(value, dict | list)}
    listed = sorted(
        (i for i in items if identity(i) in position), key=lambda item: position[identity(item)]
    )
    rest = [item for item in items if identity(item) not in position]
    if not rest:
        return listed
    before = {identity(item): at for at, item in enumerate(original)}
    result: list[Any] = []
    named, others = deque(listed), deque(rest)
    while named and others:
        left, right = before.get(identity(named[0])), before.get(identity(others[0]))
        take_other = right is not None and (left is not None and right < left)
        result.append(others.popleft() if take_other else named.popleft())
    return [*result, *named, *others]
