"""What is wrong with a rule before it runs: fields its schema lacks, types that do not meet, work without bounds.

It follows the types that a schema gives and lets pass what it does not know (dyn), so it never refuses a good rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tiphys.machinery.cel.compiler import compile_expression, unescaped
from tiphys.machinery.cel.parser import Node, explain, parse
from tiphys.machinery.cel.values import CelError, Uint
from tiphys.machinery.structural import Schema

ESTIMATE_LIMIT = 10_000_000
_REQUEST = 3 * 1024 * 1024  # bytes of the largest request: what bounds a list that no maxItems bounds
_QUANTIFIERS = ("all", "exists", "exists_one", "existsOne", "filter", "map", "transformList", "transformMap", "sortBy")
_BOOLEAN = frozenset((
    "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_in_", "_&&_", "_||_", "!_", "has", "all", "exists", "exists_one",
    "existsOne", "matches", "contains", "startsWith", "endsWith", "isSorted", "hasValue", "isQuantity", "isURL", "isIP",
    "isCIDR",
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Type:
    """name: a CEL type or "dyn"; schema: of an object, list or map that a schema declares."""

    name: str
    schema: Schema | None = None


DYN = Type("dyn")
_SCALARS = {"string": "string", "integer": "int", "number": "double", "boolean": "bool"}
_FORMATS = {
    "date-time": "timestamp",
    "date": "timestamp",
    "datetime": "timestamp",
    "duration": "duration",
    "byte": "bytes",
}


def type_of(schema: Schema | None) -> Type:
    """The CEL type of what a schema declares."""
    if schema is None or schema.int_or_string:
        return DYN
    if schema.type == "object":
        return Type("map" if schema.additional is not None else "object", schema)
    if schema.type == "array":
        return Type("list", schema)
    if schema.type == "string" and schema.facts.get("format") in _FORMATS:
        return Type(_FORMATS[schema.facts["format"]])
    return Type(_SCALARS.get(schema.type, "dyn"))


def check(text: str, variables: dict[str, Type], wanted: str = "bool") -> int:
    """The estimated cost of a rule. Raises CelError for a rule that cannot be right."""
    compile_expression(text, frozenset(variables))
    checker = _Checker(text)
    found = checker.visit(parse(text), variables)
    if found.name not in ("dyn", wanted):
        raise CelError(f"must evaluate to a {wanted}")
    return checker.cost


class _Checker:
    def __init__(self, text: str) -> None:
        self._text = text
        self.cost = 0
        self._times = 1

    def _fail(self, node: Node, why: str) -> CelError:
        return CelError(explain(why, node.at, self._text))

    def visit(self, node: Node, known: dict[str, Type]) -> Type:
        self.cost += self._times
        match node.kind:
            case "literal":
                return _literal(node.value)
            case "name":
                return known.get(node.value, DYN)
            case "select":
                return self._select(node, known)
            case "index":
                return self._index(node, known)
            case "call":
                return self._call(node, known)
        for inner in node.args:
            self.visit(inner, known)
        return Type(node.kind)

    def _select(self, node: Node, known: dict[str, Type]) -> Type:
        operand = self.visit(node.args[0], known)
        if operand.name in ("int", "string", "bool", "double", "list", "bytes"):
            raise self._fail(node, f"type '{operand.name}' does not support field selection")
        found = self._field(node, operand, node.value)
        return DYN if node.optional else found

    def _field(self, node: Node, operand: Type, name: str) -> Type:
        schema = operand.schema
        if schema is None:
            return DYN
        if operand.name == "map":
            return type_of(schema.additional)
        inner = schema.properties.get(name) or schema.properties.get(unescaped(name))
        if inner is not None:
            return type_of(inner)
        if name in ("apiVersion", "kind", "metadata"):
            return DYN
        raise self._fail(node, f"undefined field '{name}'")

    def _index(self, node: Node, known: dict[str, Type]) -> Type:
        operand = self.visit(node.args[0], known)
        self.visit(node.args[1], known)
        if operand.schema is None or node.optional:
            return DYN
        return type_of(operand.schema.items if operand.name == "list" else operand.schema.additional)

    def _call(self, node: Node, known: dict[str, Type]) -> Type:
        name = node.value
        if node.target is not None and name in _QUANTIFIERS and len(node.args) >= 2 and node.args[0].kind == "name":
            return self._comprehension(node, known)
        if node.target is not None and node.target.kind == "name" and node.target.value == "cel" and name == "bind":
            value = self.visit(node.args[1], known)
            return self.visit(node.args[2], {**known, node.args[0].value: value})
        if node.target is not None:
            if node.target.kind != "name" or node.target.value in known:
                self.visit(node.target, known)
            if name in ("optMap", "optFlatMap") and node.args[0].kind == "name":
                self.visit(node.args[1], {**known, node.args[0].value: DYN})
                return DYN
        types = [self.visit(arg, known) for arg in node.args]
        if name in ("_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_"):
            self._meets(node, *types)
        if name in ("_&&_", "_||_", "!_") and any(t.name not in ("bool", "dyn") for t in types):
            raise self._no_overload(node, types)
        if name in _BOOLEAN:
            return Type("bool")
        if name == "size":
            return Type("int")
        if name in ("_+_", "_-_", "_*_", "_/_", "_%_") and types[0].name in ("int", "double", "string"):
            return types[0]
        return DYN

    def _meets(self, node: Node, left: Type, right: Type) -> None:
        plain = {"int", "double", "string", "bool", "bytes", "timestamp", "duration"}
        if left.name in plain and right.name in plain and left.name != right.name:
            mixed = {left.name, right.name}
            if mixed == {"timestamp", "duration"} or (
                mixed == {"int", "double"}
                and "=" not in node.value[1:2]
                and node.value in ("_<_", "_>_", "_<=_", "_>=_")
            ):
                return
            raise self._no_overload(node, [left, right])

    def _no_overload(self, node: Node, types: list[Type]) -> CelError:
        shown = ", ".join(t.name for t in types)
        return self._fail(node, f"found no matching overload for '{node.value}' applied to '({shown})'")

    def _comprehension(self, node: Node, known: dict[str, Type]) -> Type:
        assert node.target is not None
        target = self.visit(node.target, known)
        names = [
            arg.value
            for arg in node.args[
                : 2 if len(node.args) > 2 and node.args[1].kind == "name" and node.value not in ("map", "filter") else 1
            ]
        ]
        if target.name in ("int", "string", "bool", "double"):
            raise self._fail(
                node,
                f"expression of type '{target.name}' cannot be range of a comprehension (must be list, map, or dynamic)",
            )
        schema = target.schema
        element = type_of(schema.items) if schema is not None and target.name == "list" else DYN
        first = element if target.name == "list" else Type("string") if target.name == "map" else DYN
        if len(names) == 2:
            second = element if target.name == "list" else type_of(schema.additional) if schema is not None else DYN
            bound = {names[0]: Type("int") if target.name == "list" else first, names[1]: second}
        else:
            bound = {names[0]: first}
        before, self._times = self._times, self._times * max(most(schema), 1)
        inner = DYN
        for body in node.args[len(names) :]:
            inner = self.visit(body, {**known, **bound})
        self._times = before
        if node.value in ("all", "exists", "exists_one", "existsOne"):
            if inner.name not in ("bool", "dyn"):
                raise self._no_overload(node, [inner])
            return Type("bool")
        return target if node.value == "filter" else Type("list")


def _literal(value: Any) -> Type:
    if isinstance(value, bool):
        return Type("bool")
    for kind, name in ((Uint, "dyn"), (int, "int"), (float, "double"), (str, "string"), (bytes, "bytes")):
        if isinstance(value, kind):
            return Type(name)
    return DYN


def most(schema: Schema | None) -> int:
    """How many elements a list or map of that schema may have at most."""
    if schema is None:
        return 1
    limit = schema.facts.get("maxItems" if schema.type == "array" else "maxProperties")
    if limit is not None:
        return int(limit)
    inner = schema.items if schema.type == "array" else schema.additional
    return _REQUEST // (_least(inner) + (1 if schema.type == "array" else 5))


def at_most(schema: Schema) -> int:
    """How often a value of that schema may be in an object at most, if nothing but the size of a request bounds it."""
    return _REQUEST // (_least(schema) + 1)


def _least(schema: Schema | None) -> int:
    """Bytes that a value of that schema takes at least."""
    if schema is None:
        return 1
    if schema.type == "string":
        return 2 + int(schema.facts.get("minLength") or 0)
    if schema.type == "object":
        return 2 + sum(
            len(name) + 3 + _least(schema.properties[name]) for name in schema.required if name in schema.properties
        )
    return {"array": 2, "boolean": 4}.get(schema.type, 1)
