"""What is wrong with an expression before it runs: fields its schema lacks, types that do not meet,
work without bounds.

Types are inferred from the leaves up, as CEL's own checker does it: a call fits an overload or it
is refused; what is not known is dyn, and fits everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tiphys.machinery.cel.compiler import compile_expression
from tiphys.machinery.cel.conversions import parse_duration, parse_timestamp
from tiphys.machinery.cel.costs import Coster
from tiphys.machinery.cel.declared import Declared, field_schema, is_map
from tiphys.machinery.cel.fitting import BOOL, DYN, INT, NULL, STRING, filled, fits, is_open
from tiphys.machinery.cel.overloads import Type, overloads
from tiphys.machinery.cel.parser import TOO_DEEP, Node, explain, parse
from tiphys.machinery.cel.values import CelError, Uint
from tiphys.machinery.regexp import RegexpError, compiled
from tiphys.machinery.structural import Schema

ESTIMATE_LIMIT = 10_000_000
_SCALARS = {"string": "string", "integer": "int", "number": "double", "boolean": "bool"}
_FORMATS = {
    "date-time": "timestamp",
    "date": "timestamp",
    "datetime": "timestamp",
    "duration": "duration",
    "byte": "bytes",
}
_TYPE_NAMES = frozenset(
    (
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "dyn",
        "google.protobuf.Duration",
        "google.protobuf.Timestamp",
        "optional_type",
    )
)
_LITERALS: dict[str, Callable[[str], Any]] = {
    "duration": parse_duration,
    "timestamp": parse_timestamp,
    "matches": compiled,
}
_CLAUSE = re.compile(r"%(?:\.\d+)?[a-zA-Z]")


def type_of(schema: Schema | None) -> Type:
    """The CEL type of what a schema declares."""
    if schema is None or schema.int_or_string:
        return DYN
    schema = schema.as_seen()
    if schema.type == "object":
        if schema.additional is not None and is_map(schema):
            return Type("map", (STRING, type_of(schema.additional)), schema)
        return Type("object", (), schema)
    if schema.type == "array":
        return Type("list", (type_of(schema.items),), schema)
    if schema.type == "string" and schema.facts.get("format") in _FORMATS:
        return Type(_FORMATS[schema.facts["format"]])
    return Type(_SCALARS.get(schema.type, "dyn"))


# --- expressions ---


def check(
    text: str,
    variables: dict[str, Type],
    wanted: str | None = "bool",
    sizes: Mapping[str, Declared] | None = None,
) -> int:
    """The estimated cost of an expression whose value must be of the type `wanted`; `sizes` are
    what is declared of the variables. Raises CelError for one that cannot be right."""
    compile_expression(text, frozenset(variables))
    checker = _Checker(text)
    tree = parse(text)
    try:
        result_type = checker.visit(tree, variables)
    except RecursionError:
        raise CelError(TOO_DEEP) from None
    if wanted and result_type.name not in ("dyn", wanted):
        raise CelError(f"must evaluate to a {wanted}")
    return Coster(checker.types, sizes or {}).cost(tree)[0].high


def _key_of(over: Type) -> Type:
    """Of a map its keys, of a list its indexes; anything where it is not known which."""
    if over.name == "map":
        return over.of[0]
    return INT if over.of else DYN


class _Checker:
    def __init__(self, text: str) -> None:
        self._text = text
        self.types: dict[int, Type] = {}  # of every node that has one, by its identity

    def _fail(self, position: int, message: str) -> CelError:
        return CelError(explain(message, max(position, 0), self._text))

    def visit(self, node: Node, known: dict[str, Type]) -> Type:
        inferred: Type = getattr(self, "_" + node.kind)(node, known)
        self.types[id(node)] = inferred
        return inferred

    # --- leaves and selections ---

    def _literal(self, node: Node, known: dict[str, Type]) -> Type:
        value = node.value
        if value is None:
            return NULL
        for kind, name in (
            (bool, "bool"),
            (Uint, "uint"),
            (int, "int"),
            (float, "double"),
            (str, "string"),
        ):
            if isinstance(value, kind):
                return Type(name)
        return Type("bytes")

    def _name(self, node: Node, known: dict[str, Type]) -> Type:
        if node.value in known:
            return known[node.value]
        return Type("type", (Type(node.value),)) if node.value in _TYPE_NAMES else DYN

    def _select(self, node: Node, known: dict[str, Type]) -> Type:
        if (dotted := _dotted(node)) in _TYPE_NAMES:
            return Type("type", (Type(dotted),))
        return self._selected(node, known, node.position)

    def _selected(self, node: Node, known: dict[str, Type], position: int) -> Type:
        operand = self.visit(node.args[0], known)
        optional = node.optional or operand.name == "optional_type"
        if operand.name == "optional_type":
            operand = operand.of[0]
        field_type = self._field(operand, node.value, position)
        return Type("optional_type", (field_type,)) if optional else field_type

    def _field(self, operand: Type, name: str, position: int) -> Type:
        if operand.name == "map":
            return operand.of[1]
        if operand.name == "dyn" or is_open(operand):
            return DYN
        if operand.name != "object":
            raise self._fail(position, f"type '{operand}' does not support field selection")
        schema = operand.schema
        if schema is None:
            return DYN
        inner = field_schema(schema, name)
        if inner is not None:
            return type_of(inner)
        raise self._fail(position, f"undefined field '{name}'")

    def _index(self, node: Node, known: dict[str, Type]) -> Type:
        types = [self.visit(arg, known) for arg in node.args]
        return self._applied("_[?_]" if node.optional else "_[_]", node.position, types)

    # --- containers ---

    def _list(self, node: Node, known: dict[str, Type]) -> Type:
        rows = zip(node.args, node.optional, strict=True)
        entries = [self._entry(item, maybe, known) for item, maybe in rows]
        return Type("list", (self._alike(entries) if entries else Type("_var0"),))

    def _map(self, node: Node, known: dict[str, Type]) -> Type:
        keys = self._alike([(key.position, self.visit(key, known)) for key in node.args[::2]])
        rows = zip(node.args[1::2], node.optional, strict=True)
        values = [self._entry(value, maybe, known) for value, maybe in rows]
        return Type(
            "map", (keys, self._alike(values)) if values else (Type("_var0"), Type("_var1"))
        )

    def _message(self, node: Node, known: dict[str, Type]) -> Type:
        for value in node.args[1::2]:
            self.visit(value, known)
        return DYN

    def _entry(self, node: Node, maybe: bool, known: dict[str, Type]) -> tuple[int, Type]:
        value_type = self.visit(node, known)
        if not maybe:
            return node.position, value_type
        if value_type.name not in ("optional_type", "dyn"):
            raise self._fail(
                node.position,
                f"expected type 'optional_type({value_type})' but found '{value_type}'",
            )
        return node.position, value_type.of[0] if value_type.of else DYN

    def _alike(self, entries: list[tuple[int, Type]]) -> Type:
        """The one type of all entries of a literal. Kubernetes has no literals of several."""
        if not entries:
            return DYN
        first = entries[0][1]
        for position, entry_type in entries[1:]:
            if (first != entry_type and not (is_open(first) or is_open(entry_type))) or not fits(
                first, entry_type, {}
            ):
                raise self._fail(position, f"expected type '{first}' but found '{entry_type}'")
        return first

    # --- calls ---

    def _call(self, node: Node, known: dict[str, Type]) -> Type:
        name = node.value
        target = node.target
        if target is None:
            if name == "has" and len(node.args) == 1 and node.args[0].kind == "select":
                self._selected(node.args[0], known, node.position)
                return BOOL
            types = [self.visit(arg, known) for arg in node.args]
            self._check_literal(name, node.args)
            if name in ("_&&_", "_||_"):
                for arg, arg_type in zip(node.args, types, strict=True):
                    if arg_type.name not in ("bool", "dyn"):
                        raise self._fail(
                            arg.position, f"expected type 'bool' but found '{arg_type}'"
                        )
            return self._applied(name, node.position, types)
        space = _dotted(target)
        if space and f"{space}.{name}" in overloads() and space.partition(".")[0] not in known:
            return self._applied(
                f"{space}.{name}", node.position, [self.visit(arg, known) for arg in node.args]
            )
        macro = _MACROS.get((name, len(node.args)))
        if macro is not None and node.args[0].kind == "name":
            return macro(self, node, known)
        takes_a_list = len(node.args) == 1 and node.args[0].kind == "list"
        if name == "format" and target.kind == "literal" and takes_a_list:
            return self._format(node, known)
        types = [self.visit(inner, known) for inner in (target, *node.args)]
        self._check_literal(name, node.args)
        return self._applied(name, node.position, types, method=True)

    def _check_literal(self, name: str, args: list[Node]) -> None:
        """Arguments that stand there in full must be what the function can read."""
        read = _LITERALS.get(name)
        if read is None or not args:
            return
        if args[-1].kind != "literal" or not isinstance(args[-1].value, str):
            return
        try:
            read(args[-1].value)
        except (CelError, RegexpError):
            raise self._fail(args[-1].position, f"invalid {name} argument") from None

    def _format(self, node: Node, known: dict[str, Type]) -> Type:
        """Its list alone may have entries of several types."""
        assert node.target is not None
        target = self.visit(node.target, known)
        values = node.args[0]
        for item in values.args:
            self.visit(item, known)
        result = self._applied("format", node.position, [target, Type("list", (DYN,))], method=True)
        wanted = len(_CLAUSE.findall(str(node.target.value).replace("%%", "")))
        if len(values.args) > wanted:
            message = (
                f"too many arguments supplied to string.format (expected {wanted}, got "
                f"{len(values.args)})"
            )
            raise self._fail(values.position, message)
        if len(values.args) < wanted:
            raise self._fail(values.position, f"index {len(values.args)} out of range")
        return result

    def _applied(self, name: str, position: int, types: list[Type], method: bool = False) -> Type:
        """The type of a function's value. Raises CelError when no overload fits."""
        rows = overloads().get(name)
        if rows is None:
            raise self._fail(position, f"undeclared reference to '{name}' (in container '')")
        results: list[Type] = []
        for row in rows:
            bound: dict[str, Type] = {}
            if row.method is method and len(row.args) == len(types):
                if all(
                    fits(wanted, actual, bound)
                    for wanted, actual in zip(row.args, types, strict=True)
                ):
                    results.append(filled(row.result, bound))
        if results:
            return results[0] if all(result == results[0] for result in results) else DYN
        inner = ", ".join(map(str, types[1:] if method else types))
        shown = f"{types[0]}.({inner})" if method else f"({inner})"
        label = "@in" if name == "_in_" else name
        raise self._fail(position, f"found no matching overload for '{label}' applied to '{shown}'")

    # --- macros ---

    def _elements(
        self, node: Node, known: dict[str, Type], count: int
    ) -> tuple[Type, dict[str, Type]]:
        """(what a comprehension goes over, the names with those that it binds)."""
        assert node.target is not None
        over = self.visit(node.target, known)
        if over.name not in ("list", "map", "dyn"):
            message = (
                f"expression of type '{over}' cannot be range of a comprehension (must be list, "
                f"map, or dynamic)"
            )
            raise self._fail(node.target.position, message)
        names = [arg.value for arg in node.args[:count]]
        if over.name == "dyn":
            bound = [DYN, DYN]
        elif count == 1:
            bound = [over.of[0]]
        else:
            bound = [INT, over.of[0]] if over.name == "list" else list(over.of)
        return over, {**known, **dict(zip(names, bound, strict=False))}

    def _quantifier(self, node: Node, known: dict[str, Type]) -> Type:
        _, inner = self._elements(node, known, len(node.args) - 1)
        [body_type] = [self.visit(body, inner) for body in node.args[-1:]]
        if node.value in ("all", "exists"):
            self._applied(
                "_&&_" if node.value == "all" else "_||_", node.position, [BOOL, body_type]
            )
        else:
            self._applied("_?_:_", node.position, [body_type, INT, INT])
        return BOOL

    def _filter(self, node: Node, known: dict[str, Type]) -> Type:
        over, inner = self._elements(node, known, 1)
        [condition] = [self.visit(body, inner) for body in node.args[-1:]]
        result = Type(
            "list", (over.of[0] if over.of else DYN,), over.schema if over.name == "list" else None
        )
        self._applied("_?_:_", node.position, [condition, result, result])
        return result

    def _mapping(self, node: Node, known: dict[str, Type]) -> Type:
        count = 1 if node.value == "map" else 2
        over, inner = self._elements(node, known, count)
        *conditions, body_type = [self.visit(body, inner) for body in node.args[count:]]
        if node.value == "transformMapEntry":
            result = body_type if body_type.name == "map" else DYN
        elif node.value == "transformMap":
            result = Type("map", (_key_of(over), body_type))
        else:
            result = Type("list", (body_type,))
        for condition in conditions:
            self._applied("_?_:_", node.position, [condition, result, result])
        return result

    def _optional(self, node: Node, known: dict[str, Type]) -> Type:
        assert node.target is not None
        target = self.visit(node.target, known)
        self._applied("hasValue", node.position, [target], method=True)
        held = target.of[0] if target.of else DYN
        body_type = self.visit(node.args[1], {**known, node.args[0].value: held})
        return body_type if node.value == "optFlatMap" else Type("optional_type", (body_type,))

    def _sort_by(self, node: Node, known: dict[str, Type]) -> Type:
        over, inner = self._elements(node, known, 1)
        [self.visit(body, inner) for body in node.args[1:]]
        return over


_MACROS = {
    **{(name, 2): _Checker._quantifier for name in ("all", "exists", "exists_one")},
    **{(name, 3): _Checker._quantifier for name in ("all", "exists", "exists_one", "existsOne")},
    ("filter", 2): _Checker._filter,
    ("map", 2): _Checker._mapping,
    ("map", 3): _Checker._mapping,
    **{
        (f"transform{suffix}", count): _Checker._mapping
        for suffix in ("List", "Map", "MapEntry")
        for count in (3, 4)
    },
    ("optMap", 2): _Checker._optional,
    ("optFlatMap", 2): _Checker._optional,
    ("sortBy", 2): _Checker._sort_by,
}


def _dotted(node: Node) -> str:
    """``a.b`` of a chain of selections, the empty string of anything else."""
    if node.kind == "name":
        return str(node.value)
    if node.kind == "select" and not node.optional and (head := _dotted(node.args[0])):
        return f"{head}.{node.value}"
    return ""
