"""What the functions of expressions cost beside their operands, and how large their results are.

Upstream's numbers: those of cel-go's checker and of its lists and sets, and of Kubernetes' own
functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tiphys.machinery.cel.declared import NOWHERE, Declared
from tiphys.machinery.cel.overloads import Type
from tiphys.machinery.cel.parser import Node

UNKNOWN = 2**64 - 1
TRAVERSAL = 0.1  # of a unit for each character of a text that is read
PATTERN = 0.25  # the same of a regular expression
LIST = 10  # to make one
MAP = 30
MESSAGE = 40
SCALARS = frozenset(("bool", "double", "duration", "int", "timestamp", "uint"))


@dataclass(frozen=True, slots=True)
class Range:
    """At least and at most so much, of a size or a cost. Sums and products stop at 2⁶⁴ - 1."""

    low: int
    high: int

    def __add__(self, other: Range) -> Range:
        return Range(min(self.low + other.low, UNKNOWN), min(self.high + other.high, UNKNOWN))

    def __mul__(self, other: Range) -> Range:
        return Range(min(self.low * other.low, UNKNOWN), min(self.high * other.high, UNKNOWN))

    def __or__(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))

    def times(self, factor: float) -> Range:
        """Multiplied by a factor, rounded up."""
        return Range(_rounded(self.low, factor), _rounded(self.high, factor))


def _rounded(value: int, factor: float) -> int:
    if value > 0 and factor > 0 and value > UNKNOWN / factor:
        return UNKNOWN
    return min(math.ceil(float(value) * factor), UNKNOWN)


ANY = Range(0, UNKNOWN)
NONE = Range(0, 0)
ONE = Range(1, 1)


@dataclass(slots=True)
class Entry:
    """The sizes of what is in a list or map that an expression makes."""

    listed: bool
    key: Range
    value: Range

    def union(self, other: Entry | None) -> Entry | None:
        if other is None:
            return None
        return Entry(self.listed, self.key | other.key, self.value | other.value)


@dataclass(slots=True)
class Operand:
    """A part of an expression with what is known of it. place: what a schema declares of it, if it
    comes from there."""

    node: Node | None
    type: Type
    size: Range | None = None
    place: Declared | None = None
    entry: Entry | None = None

    @property
    def sized(self) -> Range:
        return self.size if self.size is not None else ANY

    def literal(self) -> Any:
        """The value of a literal, None for anything else."""
        if self.node is None or self.node.kind != "literal":
            return None
        return self.node.value

    def element(self) -> Operand | None:
        """An element, of a list alone."""
        if not self.type.of:
            return None
        place = (self.place.item() or NOWHERE) if self.place is not None else None
        return Operand(None, self.type.of[0], declared_size(place), place)


# The cost of a call beside its operands', and the size of its result.
Estimate = tuple[Range, Range | None]


def declared_size(place: Declared | None) -> Range | None:
    return Range(0, place.most) if place is not None and place is not NOWHERE else None


def is_scalar(kind: Type) -> bool:
    if kind.name == "optional_type":
        return is_scalar(kind.of[0])
    return kind.name in SCALARS


def spread(sizes: list[Range]) -> Range:
    if not sizes:
        return NONE
    spanned = sizes[0]
    for size in sizes[1:]:
        spanned |= size
    return spanned


def _could_be(operand: Operand, *names: str) -> bool:
    name = operand.type.name
    return name in names or name == "dyn" or name.startswith("_var")


def _all_could_be(operands: list[Operand], *names: str) -> bool:
    return all(_could_be(operand, *names) for operand in operands)


def _could_be_texts(operands: list[Operand]) -> bool:
    return _all_could_be(operands, "string") or _all_could_be(operands, "bytes")


def joined(args: list[Operand]) -> tuple[Range, Range | None, Entry | None]:
    """(cost, size, entries) of a sum: texts are read through, lists are put side by side, numbers
    are one operation."""
    size = args[0].sized + args[1].sized
    costs: list[Range] = []
    sizes: list[Range] = []
    if _could_be_texts(args):
        costs.append(size.times(TRAVERSAL))
        sizes.append(size)
    if _all_could_be(args, "list"):
        costs.append(ONE)
        sizes.append(size)
    if _all_could_be(args, *SCALARS):
        costs.append(ONE)
    entry = args[0].entry.union(args[1].entry) if args[0].entry is not None else None
    cost = spread(costs) if costs else ONE
    return cost, spread(sizes) if sizes else None, entry


def _compared(args: list[Operand]) -> Range:
    """Of two values as much is read as the smaller has."""
    most = min(args[0].sized.high, args[1].sized.high)
    return Range(1 if most else 0, most).times(TRAVERSAL)


def _equal(args: list[Operand]) -> Range:
    kinds = {arg.type.name for arg in args}
    if len(kinds) == 1 and (kind := kinds.pop()).startswith(("kubernetes.", "net.")):
        if kind == "kubernetes.NamedFormat":
            return Range(1, 64).times(TRAVERSAL)
        if kind == "kubernetes.URL":
            return Range(1, args[1].size.high if args[1].size else 1).times(TRAVERSAL)
        return ONE
    return _compared(args)


def _ordered(args: list[Operand]) -> Range:
    if not _could_be_texts(args):
        return ONE
    compared = _compared(args)
    return compared | ONE if _all_could_be(args, *SCALARS) else compared


def _within(args: list[Operand]) -> Range:
    container = args[1]
    if not _could_be(container, "list"):
        return ONE  # a key of a map
    size = container.sized.times(1)
    is_list = container.type.name == "list"
    return size if is_list else size | ONE


def _searched(target: Operand, pattern: Operand) -> Range:
    # One more than the text has, so that an empty one does not make a dear pattern cheap.
    return (target.sized + ONE).times(TRAVERSAL) * pattern.sized.times(PATTERN)


def _compared_elements(target: Operand) -> Range:
    element = target.element()
    if element is None:  # a text
        return target.sized.times(TRAVERSAL)
    per_element = ONE
    if element.type.name in ("string", "bytes"):
        per_element += element.sized.times(TRAVERSAL)
    return target.sized * per_element


def _allocating(factor: float, size: Range) -> Estimate:
    """Functions that make a list as large as `size`."""
    return size.times(factor) + Range(1 + LIST, 1 + LIST), size


def _sorted(target: Operand) -> Estimate:
    texts = target.type.of and target.type.of[0].name in ("string", "bytes")
    return _allocating(2 + TRAVERSAL if texts else 2, target.sized * target.sized)


def _number(operand: Operand, default: int) -> int:
    value = operand.literal()
    return max(value, 0) if isinstance(value, int) and not isinstance(value, bool) else default


def _sliced(target: Operand, args: list[Operand]) -> Estimate:
    count = (_number(args[1], target.sized.high) - _number(args[0], 0)) % 2**64
    return _allocating(1, Range(count, count))


def _replaced(target: Operand, args: list[Operand]) -> Estimate:
    """A text is read, and a new one is built; it is longest when the shortest parts become the
    longest."""
    size = target.sized
    old = args[0].sized
    new = args[1].sized
    high = kept_high = low = kept_low = 0
    if old.low == 0:
        high = min(size.high + 1, UNKNOWN)
        kept_high = size.high
    elif new.high <= old.low:
        kept_high = size.high
    else:
        high = math.ceil(size.high / old.low)
    if old.high == 0:
        low = min(size.low + 1, UNKNOWN)
        kept_low = size.low
    elif old.high <= new.low:
        kept_low = size.low
    else:
        low = math.ceil(size.low / old.high)
    return size.times(2 * TRAVERSAL), Range(low, high) * new + Range(kept_low, kept_high)


def _split(target: Operand, args: list[Operand]) -> Estimate:
    most = _number(args[1], target.sized.high) if len(args) > 1 else target.sized.high
    return target.sized.times(2 * TRAVERSAL), Range(0, most)


def _put_together(target: Operand, args: list[Operand]) -> Estimate:
    count = target.sized
    element = target.element()
    size = count * element.sized if element is not None else NONE
    if args:
        size += args[0].sized * Range(max(count.low - 1, 0), max(count.high - 1, 0))
    return size.times(TRAVERSAL), size


def _addresses(args: list[Operand], more: Range) -> Range:
    """Two addresses of 4 or 16 bytes compared, and the text read that one of them is given as."""
    cost = Range(8, 32).times(TRAVERSAL) + more
    return cost + args[0].sized.times(TRAVERSAL) if args[0].type.name == "string" else cost


def _selector(args: list[Operand]) -> Range:
    size = args[0].sized
    requirements = size.times(0.5).times(LIST + MESSAGE)  # the shortest are a letter and a comma
    return Range(LIST, LIST) + size.times(TRAVERSAL) + requirements


_READ = frozenset(("isIP", "isCIDR", "cidr", "quantity", "isQuantity", "semver", "isSemver"))
_CONVERTED = frozenset(("lowerAscii", "upperAscii", "substring", "trim"))
_FOLDED = frozenset(("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"))
_SETS = {"sets.contains": 1, "sets.intersects": 1, "sets.equivalent": 2}
_ORDER = frozenset(("_<_", "_>_", "_<=_", "_>=_"))


def estimate(name: str, target: Operand | None, args: list[Operand]) -> Estimate:
    """(what a call costs beside its operands, the size of its result if it is known)."""
    if target is None:
        return _of_function(name, args)
    return _of_method(name, target, args)


def _of_function(name: str, args: list[Operand]) -> Estimate:
    if name in ("_==_", "_!=_"):
        return _equal(args) if name == "_==_" else _compared(args), None
    if name in _ORDER:
        return _ordered(args), None
    if name == "_in_":
        return _within(args), None
    if name in _SETS:
        return (args[0].sized * args[1].sized).times(_SETS[name]) + ONE, None
    if name == "lists.range":
        count = _number(args[0], UNKNOWN)
        return _allocating(1, Range(count, count))
    if not args:
        return ONE, None
    size = args[0].sized
    if name in _READ or name == "ip":
        return size.times(TRAVERSAL), None
    if name in ("url", "jsonpatch.escapeKey"):
        return size.times(TRAVERSAL), size
    if name == "ip.isCanonical":
        return size.times(2 * TRAVERSAL), None
    if name == "bytes" and args[0].type.name == "string":  # a character may become four bytes
        return size.times(TRAVERSAL), Range(size.low, min(size.high * 4, UNKNOWN))
    if name == "string" and args[0].type.name == "bytes":
        return size.times(TRAVERSAL), Range(size.low // 4, size.high)
    if name == "strings.quote":
        return size.times(TRAVERSAL), Range(size.low + 2, min(size.high * 2 + 2, UNKNOWN))
    return ONE, None


def _of_method(name: str, target: Operand, args: list[Operand]) -> Estimate:
    size = target.sized
    if name == "matches":
        return _searched(target, args[0]), None
    if name in ("find", "findAll"):
        return _searched(target, args[0]), Range(0, size.high)
    if name == "contains":
        return size.times(TRAVERSAL) * args[0].sized.times(TRAVERSAL), None
    if name in ("startsWith", "endsWith"):
        return args[0].sized.times(TRAVERSAL), None
    if name == "format":
        return size.times(TRAVERSAL), None
    if name in _CONVERTED:
        return size.times(TRAVERSAL), size
    if name in _FOLDED:
        return _compared_elements(target), None
    if name == "check":
        return Range(350_000, 350_000), None
    if name in ("fieldSelector", "labelSelector"):
        return _selector(args), None
    if name == "containsIP":
        return _addresses(args, NONE), None
    if name == "containsCIDR":
        return _addresses(args, Range(4, 16).times(TRAVERSAL) + ONE), None
    if name == "validate":
        return args[0].sized.times(TRAVERSAL).times(128 * PATTERN), None
    return _of_list(name, target, args)


def _of_list(name: str, target: Operand, args: list[Operand]) -> Estimate:
    size = target.sized
    if name == "replace":
        return _replaced(target, args)
    if name == "split":
        return _split(target, args)
    if name == "join":
        return _put_together(target, args)
    if name == "slice":
        return _sliced(target, args)
    if name == "reverse":
        return _allocating(1, size)
    if name == "flatten":
        return _allocating(_number(args[0], UNKNOWN) if args else 1, size)
    if name == "distinct":
        return _allocating(2, size * size)
    if name == "sort":
        return _sorted(target)
    return ONE, None
