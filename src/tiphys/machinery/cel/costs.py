"""What an expression may cost at most, before it runs: upstream's estimator, node by node.

The same numbers as cel-go's checker with Kubernetes' functions decide which rules a definition may
have, so every definition that is taken there is taken here. A constant costs nothing, a name or a
field one, a call what it traverses (`estimates`); macros cost what they expand to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tiphys.machinery.cel.declared import NOWHERE, Declared
from tiphys.machinery.cel.estimates import (
    LIST,
    MAP,
    MESSAGE,
    NONE,
    ONE,
    Entry,
    Operand,
    Range,
    declared_size,
    estimate,
    is_scalar,
    joined,
    spread,
)
from tiphys.machinery.cel.overloads import Type
from tiphys.machinery.cel.parser import Node


class Coster:
    """Costs of one expression. `types`: of every node by its identity, as the checker has found
    them.

    What is in a value that comes from nowhere, such as the elements of a conditional list, is as
    large as the whole that the rule is about: a quirk of upstream's paths on which rules of public
    definitions (Istio's) rest."""

    def __init__(self, types: Mapping[int, Type], sizes: Mapping[str, Declared]) -> None:
        self._types = types
        self._self_size = sizes.get("self")
        self._locals: dict[str, Operand] = {
            name: Operand(None, Type("dyn"), None, place) for name, place in sizes.items()
        }

    def cost(self, node: Node) -> tuple[Range, Operand]:
        """(what it costs, what is known of its value)."""
        cost, operand = getattr(self, "_" + node.kind)(node)
        if operand.size is None:
            operand.size = declared_size(operand.place)
        if operand.size is None and is_scalar(operand.type):
            operand.size = ONE
        return cost, operand

    def _type(self, node: Node) -> Type:
        return self._types.get(id(node), Type("dyn"))

    # --- leaves and selections ---

    def _literal(self, node: Node) -> tuple[Range, Operand]:
        value = node.value
        size = len(value) if isinstance(value, str | bytes) else 1
        return NONE, Operand(node, self._type(node), Range(size, size))

    def _name(self, node: Node) -> tuple[Range, Operand]:
        local = self._locals.get(node.value)
        if local is None:
            return ONE, Operand(node, self._type(node))
        kind = self._type(node)
        size = declared_size(local.place) or (ONE if is_scalar(kind) else local.size)
        return ONE, Operand(node, kind, size, local.place, local.entry)

    def _select(self, node: Node) -> tuple[Range, Operand]:
        if self._type(node).name == "type":  # a type's name with dots in it
            return ONE, Operand(node, self._type(node))
        cost, operand = self.cost(node.args[0])
        if node.optional:  # a call of its own, of which the sizes are not known
            return cost + ONE, Operand(node, self._type(node))
        if operand.type.name in ("map", "object") or operand.type.name.startswith("_var"):
            cost += ONE
        place = self._self_size
        if operand.place is not None:
            place = operand.place.named(node.value) or NOWHERE
        return cost, Operand(node, self._type(node), None, place)

    def _index(self, node: Node) -> tuple[Range, Operand]:
        cost, operand = self.cost(node.args[0])
        cost += self.cost(node.args[1])[0] + ONE
        if node.optional or operand.type.name == "optional_type":
            return cost, Operand(node, self._type(node))
        place = self._inside(operand)
        size = operand.entry.value if operand.entry is not None else None
        return cost, Operand(node, self._type(node), size, place)

    def _inside(self, operand: Operand) -> Declared | None:
        """Where an element of the operand is declared."""
        if operand.place is None:
            return self._self_size
        return operand.place.item() or NOWHERE

    # --- containers ---

    def _list(self, node: Node) -> tuple[Range, Operand]:
        cost, sizes = self._all(node.args)
        entry = Entry(True, ONE, spread(sizes))
        count = len(node.args)
        size = Range(count, count)
        return cost + Range(LIST, LIST), Operand(node, self._type(node), size, entry=entry)

    def _map(self, node: Node) -> tuple[Range, Operand]:
        keys, key_sizes = self._all(node.args[::2])
        values, value_sizes = self._all(node.args[1::2])
        entry = Entry(False, spread(key_sizes), spread(value_sizes))
        count = len(node.args) // 2
        cost = keys + values + Range(MAP, MAP)
        return cost, Operand(node, self._type(node), Range(count, count), entry=entry)

    def _message(self, node: Node) -> tuple[Range, Operand]:
        cost, _ = self._all(node.args[1::2])
        return cost + Range(MESSAGE, MESSAGE), Operand(node, self._type(node))

    def _all(self, nodes: list[Node]) -> tuple[Range, list[Range]]:
        rows = [self.cost(node) for node in nodes]
        return sum((cost for cost, _ in rows), NONE), [operand.sized for _, operand in rows]

    # --- calls ---

    def _call(self, node: Node) -> tuple[Range, Operand]:
        name = node.value
        target = node.target
        if target is None and _is_presence_test(node):
            [field] = node.args
            cost, _ = self.cost(field.args[0])
            return cost, Operand(node, Type("bool"))
        # `sets.contains` is a name with a dot in it: what stands before the dot has no type.
        if target is not None and id(target) not in self._types:
            name = f"{_dotted(target)}.{name}"
            target = None
        if target is not None and self._is_macro(node):
            return _MACROS[name](self, node, target)
        rows = [self.cost(arg) for arg in node.args]
        costs = [cost for cost, _ in rows]
        args = [operand for _, operand in rows]
        if target is None and name in _SPECIAL:
            return _SPECIAL[name](self, node, costs, args)
        total = sum(costs, NONE)
        known = None
        if target is not None:
            cost, known = self.cost(target)
            total += cost
        own, size = estimate(name, known, args)
        return total + own, Operand(node, self._type(node), size)

    def _is_macro(self, node: Node) -> bool:
        """Whether the checker has taken the call as a macro: what a macro binds is a name that has
        no type."""
        return node.value in _MACROS and bool(node.args) and id(node.args[0]) not in self._types

    def _logical(
        self, node: Node, costs: list[Range], args: list[Operand]
    ) -> tuple[Range, Operand]:
        return Range(costs[0].low, (costs[0] + costs[1]).high), Operand(node, Type("bool"))

    def _conditional(
        self, node: Node, costs: list[Range], args: list[Operand]
    ) -> tuple[Range, Operand]:
        condition, then, otherwise = costs
        _, left, right = args
        entry = left.entry.union(right.entry) if left.entry is not None else None
        size = left.sized | right.sized
        cost = condition + (then | otherwise)
        return cost, Operand(node, self._type(node), size, entry=entry)

    def _dyn(self, node: Node, costs: list[Range], args: list[Operand]) -> tuple[Range, Operand]:
        return costs[0] + ONE, Operand(node, self._type(node), args[0].size, entry=args[0].entry)

    def _add(self, node: Node, costs: list[Range], args: list[Operand]) -> tuple[Range, Operand]:
        cost, size, entry = joined(args)
        return sum(costs, cost), Operand(node, self._type(node), size, entry=entry)

    # --- macros ---

    def _loop(
        self,
        node: Node,
        target: Node,
        count: int,
        body: Callable[[Operand], tuple[Range, Entry | None]],
    ) -> tuple[Range, Operand, Entry | None]:
        """(the range's cost and that of all rounds, the range, what one round makes). `body` gives
        a round's cost."""
        cost, over = self.cost(target)
        names = [arg.value for arg in node.args[:count]]
        before = {name: self._locals.get(name) for name in names}
        for name, operand in zip(names, self._bound(over, count), strict=True):
            self._locals[name] = operand
        step, entry = body(over)
        for name, local in before.items():
            if local is None:
                del self._locals[name]
            else:
                self._locals[name] = local
        return cost + over.sized * step, over, entry

    def _bound(self, over: Operand, count: int) -> list[Operand]:
        """What a comprehension's names stand for."""
        listed = over.entry.listed if over.entry is not None else over.type.name == "list"
        key_place = self._self_size
        if over.place is not None:
            key_place = (None if listed else over.place.key) or NOWHERE
        key_size = over.entry.key if over.entry else None
        value_size = over.entry.value if over.entry else None
        keys = Operand(None, Type("dyn"), key_size, key_place)
        values = Operand(None, Type("dyn"), value_size, self._inside(over))
        if count == 2:
            return [keys, values]
        return [values if listed else keys]

    def _quantifier(self, node: Node, target: Node) -> tuple[Range, Operand]:
        """all: not_strictly_false(accu), accu && body; exists: one more for the negation; one: body
        ? accu + 1 : accu."""
        kind = node.value

        def body(over: Operand) -> tuple[Range, Entry | None]:
            cost = self.cost(node.args[-1])[0]
            if kind == "all":
                return Range(3, (cost + Range(0, 3)).high), None
            if kind == "exists":
                return Range(4, (cost + Range(0, 4)).high), None
            return cost + Range(1, 2), None

        cost, _, _ = self._loop(node, target, len(node.args) - 1, body)
        result = ONE if kind in ("all", "exists") else Range(2, 2)
        return cost + result, Operand(node, self._type(node), ONE)

    def _filter(self, node: Node, target: Node) -> tuple[Range, Operand]:
        def body(over: Operand) -> tuple[Range, Entry | None]:
            cost = self.cost(node.args[1])[0]
            kept = self.cost(node.args[0])[1].sized
            return cost + Range(1, 3 + LIST), Entry(True, ONE, Range(0, 0) | kept)

        return self._list_result(node, *self._loop(node, target, 1, body))

    def _mapping(self, node: Node, target: Node) -> tuple[Range, Operand]:
        """accu + [element], or an insertion into a map; under a condition, or accu itself."""
        count = 1 if node.value == "map" else 2
        listed = node.value in ("map", "transformList")
        if listed:
            accumulated = Range(2 + LIST, 2 + LIST)
        elif node.value == "transformMap":
            accumulated = Range(3, 3)  # the call, accu and the key's name
        else:
            accumulated = Range(2, 2)

        def body(over: Operand) -> tuple[Range, Entry | None]:
            *conditions, element = node.args[count:]
            cost, operand = self.cost(element)
            entry = Entry(True, ONE, Range(0, 0) | operand.sized) if listed else None
            step = cost + accumulated
            for condition in conditions:
                checked, _ = self.cost(condition)
                step = checked + (step | ONE)
            return step, entry

        cost, over, entry = self._loop(node, target, count, body)
        cost += Range(LIST, LIST) if listed else Range(MAP, MAP)
        return cost + ONE, Operand(node, self._type(node), over.sized, entry=entry)

    def _list_result(
        self, node: Node, cost: Range, over: Operand, entry: Entry | None
    ) -> tuple[Range, Operand]:
        cost += Range(LIST + 1, LIST + 1)
        return cost, Operand(node, self._type(node), over.sized, entry=entry)

    def _optional(self, node: Node, target: Node) -> tuple[Range, Operand]:
        """target.hasValue() ? optional.of(bind(x, target.value(), body)) : optional.none()."""
        asked = self.cost(target)[0] + ONE
        variable, body = node.args
        value = Operand(None, Type("dyn"))
        inner, operand = self._bind(variable.value, asked, value, body)
        if node.value == "optMap":
            inner += ONE
            operand = Operand(node, self._type(node))
        cost = asked + (inner | ONE)
        return cost, Operand(node, self._type(node), operand.size, entry=operand.entry)

    def _bind(self, name: str, cost: Range, value: Operand, body: Node) -> tuple[Range, Operand]:
        before = self._locals.get(name)
        self._locals[name] = value
        inner, operand = self.cost(body)
        if before is None:
            del self._locals[name]
        else:
            self._locals[name] = before
        return cost + inner + Range(LIST, LIST), operand

    def _sort_by(self, node: Node, target: Node) -> tuple[Range, Operand]:
        """bind(x, target, x.sortByAssociatedKeys(x.map(e, key)))."""
        cost, over = self.cost(target)
        keys, mapped = self._mapping(Node("call", "map", node.args, target), target)
        keyed = Operand(None, Type("list", (self._type(node.args[1]),)), mapped.size)
        own, size = estimate("sort", keyed, [])
        # The range is a name there, twice, where it stands in full here.
        keys = Range(keys.low - cost.low, keys.high - cost.high) + ONE
        total = cost + Range(LIST, LIST) + ONE + keys + own
        return total, Operand(node, self._type(node), size, entry=over.entry)


def _is_presence_test(call: Node) -> bool:
    """Whether a call is `has(value.field)`."""
    return call.value == "has" and len(call.args) == 1 and call.args[0].kind == "select"


def _dotted(node: Node) -> str:
    if node.kind == "select":
        return f"{_dotted(node.args[0])}.{node.value}"
    return str(node.value)


_SPECIAL: dict[str, Callable[[Coster, Node, list[Range], list[Operand]], tuple[Range, Operand]]] = {
    "_&&_": Coster._logical,
    "_||_": Coster._logical,
    "_?_:_": Coster._conditional,
    "dyn": Coster._dyn,
    "_+_": Coster._add,
}
_MACROS: dict[str, Callable[[Coster, Node, Node], tuple[Range, Operand]]] = {
    **dict.fromkeys(("all", "exists", "exists_one", "existsOne"), Coster._quantifier),
    **dict.fromkeys(("map", "transformList", "transformMap", "transformMapEntry"), Coster._mapping),
    "filter": Coster._filter,
    "optMap": Coster._optional,
    "optFlatMap": Coster._optional,
    "sortBy": Coster._sort_by,
}
