"""Whether arguments fit an overload, and what type its type variables stand for. Pure."""

from __future__ import annotations

from tiphys.machinery.cel.overloads import Type

DYN, BOOL, INT, STRING, NULL = (Type(name) for name in ("dyn", "bool", "int", "string", "null"))
_NULLABLE = frozenset(("null", "dyn", "object", "timestamp", "duration", "optional_type"))


def fits(wanted: Type, actual: Type, bound: dict[str, Type]) -> bool:
    """Whether a value of the one type may stand where the other is wanted; `bound` keeps what
    letters stand for."""
    if len(wanted.name) == 1 and wanted.name.isupper():
        before = bound.get(wanted.name)
        if before is None or fits(actual, before, {}):
            # Of two types that fit each other the one that says less.
            bound[wanted.name] = actual if before is None or before != DYN else DYN
            return True
        return fits(before, actual, {})
    if (
        "dyn" in (wanted.name, actual.name)
        or wanted.name.startswith("_var")
        or actual.name.startswith("_var")
    ):
        return True
    if actual.name == "null" or wanted.name == "null":
        return all(name in _NULLABLE or "." in name for name in (actual.name, wanted.name))
    if wanted.name != actual.name or len(wanted.of) != len(actual.of):
        return False
    if wanted.name == "object":
        return wanted.schema is actual.schema
    if wanted.name == "type":
        return True
    return all(fits(a, b, bound) for a, b in zip(wanted.of, actual.of, strict=True))


def is_open(kind: Type) -> bool:
    """Whether nothing is known yet of a part of the type: it is of an empty list or map."""
    return kind.name.startswith("_var") or any(map(is_open, kind.of))


def filled(result: Type, bound: dict[str, Type]) -> Type:
    if len(result.name) == 1 and result.name.isupper():
        return bound.get(result.name, Type("_var0"))
    return Type(result.name, tuple(filled(inner, bound) for inner in result.of), result.schema)
