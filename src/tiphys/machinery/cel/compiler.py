"""A tree to a function: each node becomes a closure that takes the variables and gives the value.

Errors are exceptions; `&&`, `||`, `all` and `exists` absorb them where another operand decides, as
CEL demands.
"""

from __future__ import annotations

import functools
from typing import Any

from tiphys.machinery import patience
from tiphys.machinery.cel.actual import call_cost
from tiphys.machinery.cel.frames import (
    COST,
    COST_LIMIT,
    Evaluate,
    Frame,
    field_of,
    index_of,
    optional_field,
    optional_index,
    spend,
    unescaped,
)
from tiphys.machinery.cel.library import FUNCTIONS, METHODS
from tiphys.machinery.cel.macros import BIND, MACROS, bind
from tiphys.machinery.cel.operators import OPERATORS
from tiphys.machinery.cel.overloads import overloads
from tiphys.machinery.cel.parser import TOO_DEEP, Node, explain, parse
from tiphys.machinery.cel.values import (
    PYTHON_TYPES,
    CelError,
    CostExceeded,
    Optional,
    TypeValue,
    type_name,
)
from tiphys.machinery.remembered import remembered

_TYPE_NAMES = {
    "int": "int",
    "uint": "uint",
    "double": "double",
    "bool": "bool",
    "string": "string",
    "bytes": "bytes",
    "list": "list",
    "map": "map",
    "null_type": "null_type",
    "type": "type",
    "duration": "google.protobuf.Duration",
    "timestamp": "google.protobuf.Timestamp",
    "dyn": "dyn",
    "optional_type": "optional_type",
}
_NAMESPACES = frozenset(
    (
        "optional",
        "cel",
        "sets",
        "strings",
        "math",
        "ip",
        "cidr",
        "lists",
        "base64",
        "format",
        "google",
        "net",
        "kubernetes",
    )
)


class Program:
    """A compiled expression. `names` are the variables it uses."""

    def __init__(self, text: str, evaluate: Evaluate, names: frozenset[str]) -> None:
        self.text = text
        self.names = names
        self._evaluate = evaluate

    def run(self, variables: dict[str, Any], limit: int = COST_LIMIT) -> Any:
        """The value. A variable that is a function without arguments is called when it is needed.
        Raises CelError."""
        return self.measured(variables, limit)[0]

    def measured(self, variables: dict[str, Any], limit: int = COST_LIMIT) -> tuple[Any, int]:
        """(value, cost)."""
        allowed = patience.allowed()
        granted = limit if allowed is None else min(limit, allowed)
        cost = [granted]
        try:
            value = self._evaluate({**variables, COST: cost})
        except RecursionError:
            raise CelError("expression is nested too deeply") from None
        except CostExceeded:
            if granted < limit:
                raise patience.Unfinished from None
            raise
        patience.take(granted - cost[0])
        return value, granted - cost[0]


def compile_expression(text: str, variables: frozenset[str] | None = None) -> Program:
    """Compiles an expression that may use `variables` (None: any). Raises CelError with the
    place."""
    program = _compiled(text)
    if variables is not None:
        for name in sorted(program.names - variables):
            position = _place(parse(text), name)
            raise CelError(
                explain(f"undeclared reference to '{name}' (in container '')", position, text)
            )
    return program


@remembered(1024)
def _compiled(text: str) -> Program:
    compiler = Compiler(text)
    try:
        return Program(text, compiler.compile(parse(text)), frozenset(compiler.free))
    except RecursionError:
        raise CelError(TOO_DEEP) from None


def _place(node: Node, name: str) -> int:
    if node.kind == "name" and node.value == name:
        return node.position
    for inner in [*([node.target] if node.target else []), *node.args]:
        position = _place(inner, name)
        if position >= 0:
            return position
    return -1


@functools.cache
def accepted(name: str, method: bool, count: int) -> tuple[frozenset[type], ...]:
    """For each argument the Python types that some overload takes, none where any will do."""
    rows = [
        row.args
        for row in overloads().get(name, ())
        if row.method is method and len(row.args) == count
    ]
    columns = []
    for column in zip(*rows, strict=True):
        kinds = [PYTHON_TYPES.get(wanted.name) for wanted in column]
        known = frozenset(kind for kind in kinds if kind is not None)
        columns.append(frozenset[type]() if None in kinds else known)
    return tuple(columns)


class Compiler:
    """Compiles the nodes of one expression. `free` has the variables that it uses."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._bound: list[str] = []
        self.free: set[str] = set()

    def fail(self, node: Node, message: str) -> CelError:
        return CelError(explain(message, max(node.position, 0), self._text))

    def compile(self, node: Node) -> Evaluate:
        return getattr(self, "_" + node.kind)(node)  # type: ignore[no-any-return]

    # --- leaves ---

    def _literal(self, node: Node) -> Evaluate:
        value = node.value
        return lambda frame: value

    def _name(self, node: Node) -> Evaluate:
        name = node.value
        if name not in self._bound:
            if name in _TYPE_NAMES:
                kind = TypeValue(_TYPE_NAMES[name])
                return lambda frame: kind
            self.free.add(name)

        def read(frame: Frame) -> Any:
            spend(frame, 1)
            try:
                value = frame[name]
            except KeyError:
                raise CelError(f"no such attribute(s): {name}") from None
            if callable(value):
                value = frame[name] = value()
            return value

        return read

    def _select(self, node: Node) -> Evaluate:
        operand = self.compile(node.args[0])
        name = node.value
        if node.optional:
            return lambda frame: optional_field(operand(frame), name)

        def select(frame: Frame) -> Any:
            spend(frame, 1)
            return field_of(operand(frame), name)

        return select

    def _index(self, node: Node) -> Evaluate:
        operand = self.compile(node.args[0])
        index = self.compile(node.args[1])
        look = optional_index if node.optional else index_of

        def lookup(frame: Frame) -> Any:
            spend(frame, 1)
            return look(operand(frame), index(frame))

        return lookup

    def _list(self, node: Node) -> Evaluate:
        items = [
            (self.compile(item), maybe)
            for item, maybe in zip(node.args, node.optional, strict=True)
        ]

        def build(frame: Frame) -> list[Any]:
            spend(frame, 10)
            values = []
            for item, maybe in items:
                value = item(frame)
                if not maybe:
                    values.append(value)
                elif value.present:
                    values.append(value.value)
            return values

        return build

    def _map(self, node: Node) -> Evaluate:
        compiled = [self.compile(item) for item in node.args]
        rows = list(zip(compiled[::2], compiled[1::2], node.optional, strict=True))

        def build(frame: Frame) -> dict[Any, Any]:
            spend(frame, 30)
            entries: dict[Any, Any] = {}
            for key, item, maybe in rows:
                name = key(frame)
                value = item(frame)
                if name in entries:
                    raise CelError(f"repeated key: {name}")
                if not maybe:
                    entries[name] = value
                elif value.present:
                    entries[name] = value.value
            return entries

        return build

    def _message(self, node: Node) -> Evaluate:
        if node.value.split(".")[0] not in MESSAGES:
            raise self.fail(node, f"undeclared reference to '{node.value}' (in container '')")
        build = self._map(node)
        return lambda frame: {unescaped(name): value for name, value in build(frame).items()}

    # --- calls ---

    def _call(self, node: Node) -> Evaluate:
        name = node.value
        special = OPERATORS.get(name) if node.target is None else None
        if special is not None:
            return special(*(self.compile(arg) for arg in node.args))
        if node.target is None and name == "has":
            return self._has(node)
        if node.target is not None:
            if (
                node.target.kind == "name"
                and node.target.value in _NAMESPACES
                and node.target.value not in self._bound
            ):
                if (node.target.value, name, len(node.args)) == BIND:
                    return bind(self, node)
                return self._qualified(node)
            macro = MACROS.get((name, len(node.args)))
            if macro is not None:
                return macro(self, node)
        return self._function(node)

    def _qualified(self, node: Node) -> Evaluate:
        assert node.target is not None
        name = f"{node.target.value}.{node.value}"
        if name not in FUNCTIONS:
            raise self.fail(
                node.target, f"undeclared reference to '{node.target.value}' (in container '')"
            )
        return self._function(Node("call", name, node.args, position=node.position))

    def _function(self, node: Node) -> Evaluate:
        args = [self.compile(arg) for arg in node.args]
        if node.target is None:
            function = FUNCTIONS.get(node.value)
            if function is None:
                raise self.fail(node, f"undeclared reference to '{node.value}' (in container '')")
        else:
            function = METHODS.get(node.value, None)
            args.insert(0, self.compile(node.target))
            if function is None:
                own = node.value

                def function(target: Any, *rest: Any) -> Any:
                    method = getattr(target, "cel_call", None)
                    if method is None:
                        raise CelError("no such overload")
                    return method(own, *rest)

                if own not in OWN_METHODS:
                    raise self.fail(node, f"undeclared reference to '{own}' (in container '')")
        called = function
        name = node.value
        kinds = accepted(name, node.target is not None, len(args))

        def call(frame: Frame) -> Any:
            values = [arg(frame) for arg in args]
            for value, allowed in zip(values, kinds, strict=False):
                if allowed and type(value) not in allowed and not hasattr(value, "cel_call"):
                    raise CelError(f"no such overload: {name}({', '.join(map(type_name, values))})")
            try:
                spend(frame, call_cost(name, values))
                return called(*values)
            except (TypeError, AttributeError, KeyError, IndexError):
                raise CelError("no such overload") from None
            except (ValueError, OverflowError) as error:
                raise CelError(str(error)) from None

        return call

    def _has(self, node: Node) -> Evaluate:
        [inner] = node.args if len(node.args) == 1 else [node]
        if inner.kind != "select":
            raise self.fail(node, "invalid argument to has() macro")
        operand = self.compile(inner.args[0])
        name = inner.value

        def has(frame: Frame) -> bool:
            spend(frame, 1)
            value = operand(frame)
            if isinstance(value, Optional):
                return optional_field(value, name).present
            if isinstance(value, dict):
                return name in value or unescaped(name) in value
            try:
                field_of(value, name)
            except CelError:
                return False
            return True

        return has

    # --- macros ---

    def inside(self, names: list[str], body: Node) -> Evaluate:
        """Compiles a body in which some names are bound."""
        self._bound += names
        try:
            return self.compile(body)
        finally:
            del self._bound[-len(names) :]

    def variables(self, node: Node, count: int) -> list[str]:
        """The names that the first `count` arguments of a macro give. Raises CelError."""
        names = []
        for arg in node.args[:count]:
            if arg.kind != "name":
                raise self.fail(arg, "argument must be a simple name")
            names.append(arg.value)
        return names


# Messages that an expression may make: what a mutating policy applies, and operations of a JSON
# patch.
MESSAGES = frozenset(("Object", "JSONPatch"))

# Methods that only values with a `cel_call` of their own have: the authorizer of policies.
OWN_METHODS = frozenset(
    (
        "path",
        "group",
        "serviceAccount",
        "resource",
        "subresource",
        "namespace",
        "name",
        "check",
        "allowed",
        "reason",
        "errored",
        "error",
        "fieldSelector",
        "labelSelector",
    )
)
