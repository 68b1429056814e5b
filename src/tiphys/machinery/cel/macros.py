"""Macros: calls whose arguments are not values but expressions, run for each element of a list or
map, or with one more name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tiphys.machinery.cel.frames import Evaluate, Frame, as_bool, spend
from tiphys.machinery.cel.lists import sorted_list
from tiphys.machinery.cel.parser import Node
from tiphys.machinery.cel.values import NONE, CelError, CostExceeded, Optional

if TYPE_CHECKING:  # which compiles what is inside
    from tiphys.machinery.cel.compiler import Compiler


def _rows(compiler: Compiler, node: Node, count: int) -> tuple[list[str], Callable[[Frame], Any]]:
    """The names of a comprehension's variables, and what yields a frame for each element."""
    assert node.target is not None
    names = compiler.variables(node, count)
    target = compiler.compile(node.target)

    def frames(frame: Frame) -> Any:
        value = target(frame)
        if isinstance(value, dict):
            pairs: Any = value.items()
        elif isinstance(value, list):
            pairs = enumerate(value) if count == 2 else ((item, None) for item in value)
        else:
            raise CelError("no such overload")
        inner = dict(frame)
        for first, second in pairs:
            spend(inner, 2)
            inner[names[0]] = first
            if count == 2:
                inner[names[1]] = second
            yield inner

    return names, frames


def _all(compiler: Compiler, node: Node) -> Evaluate:
    return _quantifier(compiler, node, stop=False)


def _exists(compiler: Compiler, node: Node) -> Evaluate:
    return _quantifier(compiler, node, stop=True)


def _quantifier(compiler: Compiler, node: Node, stop: bool) -> Evaluate:
    names, frames = _rows(compiler, node, len(node.args) - 1)
    body = compiler.inside(names, node.args[-1])

    def run(frame: Frame) -> bool:
        failure: CelError | None = None
        for inner in frames(frame):
            try:
                if as_bool(body(inner)) is stop:
                    return stop
            except CostExceeded:
                raise
            except CelError as error:
                failure = error
        if failure is not None:
            raise failure
        return not stop

    return run


def _exists_one(compiler: Compiler, node: Node) -> Evaluate:
    names, frames = _rows(compiler, node, len(node.args) - 1)
    body = compiler.inside(names, node.args[-1])
    return lambda frame: sum(as_bool(body(inner)) for inner in frames(frame)) == 1


def _filter(compiler: Compiler, node: Node) -> Evaluate:
    names, frames = _rows(compiler, node, 1)
    body = compiler.inside(names, node.args[1])
    return lambda frame: [inner[names[0]] for inner in frames(frame) if as_bool(body(inner))]


def _transform(
    compiler: Compiler, node: Node, count: int
) -> tuple[Callable[[Frame], Any], Evaluate, Evaluate]:
    """(frames, condition, what each becomes) of a macro with an optional condition before its
    last argument."""
    names, frames = _rows(compiler, node, count)
    body = compiler.inside(names, node.args[-1])
    if len(node.args) == count + 2:
        return frames, compiler.inside(names, node.args[count]), body
    return frames, lambda frame: True, body


def _map(compiler: Compiler, node: Node) -> Evaluate:
    frames, keep, body = _transform(compiler, node, 1)
    return lambda frame: [body(inner) for inner in frames(frame) if as_bool(keep(inner))]


def _transform_list(compiler: Compiler, node: Node) -> Evaluate:
    frames, keep, body = _transform(compiler, node, 2)
    return lambda frame: [body(inner) for inner in frames(frame) if as_bool(keep(inner))]


def _transform_map(compiler: Compiler, node: Node) -> Evaluate:
    frames, keep, body = _transform(compiler, node, 2)
    key = node.args[0].value
    return lambda frame: {
        inner[key]: body(inner) for inner in frames(frame) if as_bool(keep(inner))
    }


def _transform_entry(compiler: Compiler, node: Node) -> Evaluate:
    frames, keep, body = _transform(compiler, node, 2)

    def run(frame: Frame) -> dict[Any, Any]:
        entries: dict[Any, Any] = {}
        for inner in frames(frame):
            if as_bool(keep(inner)):
                entries |= body(inner)
        return entries

    return run


def _opt_map(compiler: Compiler, node: Node) -> Evaluate:
    return _optional_macro(compiler, node, lambda value: Optional(True, value))


def _opt_flat_map(compiler: Compiler, node: Node) -> Evaluate:
    return _optional_macro(compiler, node, lambda value: value)


def _optional_macro(compiler: Compiler, node: Node, wrap: Callable[[Any], Any]) -> Evaluate:
    assert node.target is not None
    [name] = compiler.variables(node, 1)
    target = compiler.compile(node.target)
    body = compiler.inside([name], node.args[1])

    def run(frame: Frame) -> Any:
        value = target(frame)
        if not isinstance(value, Optional):
            raise CelError("no such overload")
        return wrap(body({**frame, name: value.value})) if value.present else NONE

    return run


def bind(compiler: Compiler, node: Node) -> Evaluate:
    """``cel.bind(name, value, expression)``: the value has the name in the expression."""
    [name] = compiler.variables(node, 1)
    value = compiler.compile(node.args[1])
    body = compiler.inside([name], node.args[2])
    return lambda frame: body({**frame, name: value(frame)})


def _sort_by(compiler: Compiler, node: Node) -> Evaluate:
    names, frames = _rows(compiler, node, 1)
    body = compiler.inside(names, node.args[1])
    return lambda frame: sorted_list([(inner[names[0]], body(inner)) for inner in frames(frame)])


BIND = ("cel", "bind", 3)

MACROS: dict[tuple[str, int], Callable[[Compiler, Node], Evaluate]] = {
    ("all", 2): _all,
    ("all", 3): _all,
    ("exists", 2): _exists,
    ("exists", 3): _exists,
    ("exists_one", 2): _exists_one,
    ("existsOne", 2): _exists_one,
    ("existsOne", 3): _exists_one,
    ("filter", 2): _filter,
    ("map", 2): _map,
    ("map", 3): _map,
    ("transformList", 3): _transform_list,
    ("transformList", 4): _transform_list,
    ("transformMap", 3): _transform_map,
    ("transformMap", 4): _transform_map,
    ("transformMapEntry", 3): _transform_entry,
    ("transformMapEntry", 4): _transform_entry,
    ("optMap", 2): _opt_map,
    ("optFlatMap", 2): _opt_flat_map,
    ("sortBy", 2): _sort_by,
}
