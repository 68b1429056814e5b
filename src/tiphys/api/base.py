"""What every API type is made of: the struct base, the facts each field carries, and the scalar
types.

A field is declared once, as ``name: Annotated[type, F(tag, ...)] = default``. The default says how
the field is written: a plain zero value or an empty container is left out when it is empty (Go's
``omitempty``), ``always(x)`` is written even when it is empty, ``None`` stands for a pointer that
is not set.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
IntOrString = Int32 | str


@dataclass(frozen=True, slots=True)
class Scalar:
    """Marks a JSON scalar or free value that has a message of its own in protobuf."""

    kind: str


Time = Annotated[str, Scalar("time")]
MicroTime = Annotated[str, Scalar("microtime")]
RawExtension = Annotated[Any, Scalar("raw")]
JSON = Annotated[Any, Scalar("raw")]


@dataclass(frozen=True, slots=True)
class F:
    """The facts of one field beside its type.

    tag:   protobuf field number (0: the field has no place on the wire)
    patch: strategic merge directive ("merge", "replace", "retainKeys", "merge,retainKeys")
    key:   merge key of a strategic merge of a list of objects
    list:  "atomic", "set" or "map", as server-side apply sees the list
    keys:  the keys of a "map" list
    atomic: an object or map that server-side apply replaces as a whole
    req:   the published schema names the field as required
    """

    tag: int
    patch: str = ""
    key: str = ""
    list: str = ""
    keys: tuple[str, ...] = ()
    atomic: bool = False
    req: bool = False


def camel(name: str) -> str:
    """JSON name of a Python attribute: ``host_network`` is ``hostNetwork``; a trailing underscore
    is dropped."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in rest)


class Struct(msgspec.Struct, omit_defaults=True, kw_only=True, rename=camel, gc=False):
    """Base of every API type. Objects are trees: nothing in them leads back to them, so the
    collector of cycles need not look at them (docs/decisions/0010)."""

    def __deepcopy__(self, memo: Any) -> Any:
        # Coding there and back loses nothing and takes a tenth of the time that the copy module
        # takes.
        return decode(encode(self), type(self))


def always(value: T) -> T:
    """A default that is written even when the field still holds it (no ``omitempty`` upstream)."""
    return msgspec.field(default_factory=lambda: value)


def always_list() -> Any:
    """An empty list that is written as ``[]`` (upstream writes ``null`` for a nil slice without
    ``omitempty``)."""
    return msgspec.field(
        default_factory=_new_list
    )  # of `list` itself msgspec would leave an empty one out


def always_dict() -> Any:
    return msgspec.field(default_factory=_new_dict)


def _new_list() -> list[Any]:
    return []


def _new_dict() -> dict[str, Any]:
    return {}


def named(name: str, default: Any = msgspec.UNSET, factory: Callable[[], Any] | None = None) -> Any:
    """A field whose JSON name the camel-case rule does not give."""
    if factory is not None:
        return msgspec.field(name=name, default_factory=factory)
    return msgspec.field(name=name, default=default)


class Plain:
    """Base of what is not declared as a struct: it says itself how it comes from plain dicts and
    goes back."""

    @classmethod
    def from_plain(cls, value: Any) -> Any:
        """An instance of plain JSON data. Raises msgspec.ValidationError."""
        raise TypeError(f"{cls.__name__} cannot be read")

    def to_plain(self) -> Any:
        """JSON data, which may contain structs."""
        raise TypeError(f"{type(self).__name__} cannot be written")


class Quantity(str):
    """A resource quantity in upstream's canonical form. Arithmetic lives in machinery.quantity."""

    __slots__ = ()


_QUANTITY = re.compile(
    r"^([+-]?)(\d*)(?:\.(\d*))?(?:([eE][+-]?\d+)|(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E)?)$", re.ASCII
)
# characters: longer ones are no amounts of anything, and numbers of so many digits take long
_LONGEST_QUANTITY = 512
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_SUFFIX = {suffix: power for power, suffix in _DECIMAL.items()}
QUANTITY_ERROR = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


@functools.lru_cache(8192)
def parse_quantity(text: str) -> tuple[int, str]:
    """(value in nano units, format) of a quantity; format is "binary", "decimal" or "exponent".

    Values finer than a nano are rounded up, as upstream does. Raises ValueError in upstream's
    words.
    """
    match = _QUANTITY.match(text) if len(text) <= _LONGEST_QUANTITY else None
    if not match or not (match[2] or match[3]):
        raise ValueError(QUANTITY_ERROR)
    sign, whole, fraction, exponent, suffix = match.groups()
    fraction = fraction or ""
    digits = int((whole or "") + fraction or "0")
    if suffix in _BINARY[1:]:
        scale = 1024 ** _BINARY.index(suffix)
        power = 9 - len(fraction)
        form = "binary"
    else:
        exp = int(exponent[1:]) if exponent else _SUFFIX[suffix or ""]
        scale = 1
        power = 9 + exp - len(fraction)
        form = "exponent" if exponent else "decimal"
    if power > 60 or power < -200:
        raise ValueError(QUANTITY_ERROR)
    value = digits * scale * 10**power if power >= 0 else -(-digits * scale // 10**-power)
    return (-value if sign == "-" else value), form


@functools.lru_cache(8192)
def canonical_quantity(text: str) -> Quantity:
    """The canonical spelling: no fraction, the largest suffix that keeps the value whole."""
    value, form = parse_quantity(text)
    return format_quantity(value, form)


def format_quantity(nano: int, form: str = "decimal") -> Quantity:
    """Spells a value in nano units canonically, in the given format."""
    sign, value = ("-", -nano) if nano < 0 else ("", nano)
    if value == 0:
        return Quantity("0")
    if form == "binary" and (value < 1024 * 10**9 or value % 10**9):
        form = "decimal"
    if form == "binary":
        whole = value // 10**9
        step = 0
        while step < 6 and whole % 1024 == 0:
            whole = whole // 1024
            step = step + 1
        return Quantity(f"{sign}{whole}{_BINARY[step]}")
    power = -9
    while value % 1000 == 0 and power < 18:
        value = value // 1000
        power = power + 3
    if form == "exponent":
        return Quantity(f"{sign}{value}" + (f"e{power}" if power else ""))
    return Quantity(f"{sign}{value}{_DECIMAL[power]}")


def decode_hook(kind: type, value: Any) -> Any:
    """msgspec's hook for the scalars it does not know."""
    if kind is Quantity:
        if isinstance(value, str):
            return canonical_quantity(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return canonical_quantity(repr(value))
        raise ValueError(QUANTITY_ERROR)
    if isinstance(kind, type) and issubclass(kind, Plain):
        return kind.from_plain(value)
    raise NotImplementedError(kind)  # a programming error: a type nobody declared


def encode_hook(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Plain):
        return value.to_plain()
    raise TypeError(f"cannot encode {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=encode_hook)
encode: Callable[[Any], bytes] = _encoder.encode


# What msgspec knows of a type is kept with the type, and made without regard to other threads: two
# that make it at once crash.
BUILDING = threading.RLock()


@functools.cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a type, built on first use."""
    with BUILDING:
        return msgspec.json.Decoder(kind, dec_hook=decode_hook)


def decode(data: bytes | str, kind: type[T]) -> T:
    """Typed object from JSON; raises msgspec.ValidationError or msgspec.DecodeError."""
    return decoder(kind).decode(data)  # type: ignore[no-any-return, arg-type]


def from_builtins(data: Any, kind: type[T]) -> T:
    """Typed object from plain dicts and lists."""
    decoder(kind)  # type: ignore[arg-type]
    return msgspec.convert(data, kind, dec_hook=decode_hook)


def to_builtins(value: Any) -> Any:
    """Plain dicts and lists of a typed object, as JSON would carry them."""
    return msgspec.to_builtins(value, enc_hook=encode_hook)
