"""YAML of a request to plain dicts and lists, as upstream's converter from YAML to JSON reads it
(go-yaml v2).

Scalars are resolved by its table: no base 60, no times (they stay text), numbers without a point
may have an exponent. Keys become text. Aliases are bounded as there, by the share of the document
that comes from them.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_EXCESSIVE = "yaml: document contains excessive aliasing"
_FEW_ALIASES, _FEW_NODES = 100, 1000  # below these nothing is excessive
_LOW, _HIGH = 400_000, 4_000_000  # numbers of nodes between which the share of aliases falls
_MOST_TEXT = (
    12 << 20
)  # characters of all scalars once aliases are expanded: four times what a body may have


class YamlError(ValueError):
    """The text is no YAML that can be converted to JSON; the message is for the user."""


_WORDS: dict[str, Any] = {
    **dict.fromkeys(
        ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True
    ),
    **dict.fromkeys(
        ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False
    ),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 400  # digits: more are no float64 in any notation that people use
_FIRST = frozenset("yYnNtTfFoO~+-.0123456789")
_STRING, _PREFIX = "tag:yaml.org,2002:str", "tag:yaml.org,2002:"


def _integer(text: str) -> int | None:
    if _INTEGER.fullmatch(text) is None or len(text) > _LONGEST_NUMBER:
        return None
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    base = {"0x": 16, "0b": 2, "0o": 8}.get(
        digits[:2].lower(), 8 if len(digits) > 1 and digits[0] == "0" else 10
    )
    value = sign * int(digits[2:] if digits[1:2] in tuple("xXbBoO") else digits, base)
    return value if -(2**63) <= value < 2**64 else None


def resolved(text: str) -> Any:
    """What a scalar without quotes means."""
    if text and text[0] not in _FIRST:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    plain = text.replace("_", "") if text[0] != "." else text
    integer = _integer(plain) if plain else None
    if integer is not None:
        return integer
    if _FLOAT.fullmatch(plain) and len(plain) <= _LONGEST_NUMBER:
        value = float(plain)
        return text if math.isinf(value) else value
    return text


def _scalar(event: yaml.ScalarEvent) -> Any:
    text = event.value
    tag = event.tag
    if event.implicit[0] and tag is None:
        value = resolved(text)
        if type(value) is float and not math.isfinite(value):
            raise YamlError(f"json: unsupported value: {_not_finite(value)}")
        return value
    return text if tag is None or tag == _STRING else _tagged(text, tag.removeprefix(_PREFIX))


def _not_finite(value: float) -> str:
    """As Go writes it."""
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _tagged(text: str, kind: str) -> Any:
    """A scalar whose tag says what it is."""
    if kind == "binary":
        import base64

        try:
            return base64.b64decode(text).decode(errors="replace")
        except ValueError:
            raise YamlError("yaml: !!binary value contains invalid base64 data") from None
    value = resolved(text)
    wanted: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (float, int),
        "bool": (bool,),
        "null": (type(None),),
        "timestamp": (str,),
    }
    if kind in wanted and (
        not isinstance(value, wanted[kind]) or (isinstance(value, bool) and kind != "bool")
    ):
        raise YamlError(f"yaml: cannot decode !!{_kind_of(value)} `{text}` as a !!{kind}")
    if kind == "float":
        return float(value)
    return value if kind in wanted else text


def _kind_of(value: Any) -> str:
    return {bool: "bool", int: "int", float: "float", type(None): "null"}.get(type(value), "str")


def _key(value: Any, line: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    type_name = "<nil>"
    if value is not None:
        type_name = "[]interface {}" if isinstance(value, list) else "map[interface {}]interface {}"
    raise YamlError(f"unsupported map key of type: {type_name}, line {line}")


def _share(nodes: int) -> float:
    """How much of a document of so many nodes may come from aliases."""
    if nodes <= _LOW:
        return 0.99
    return 0.10 if nodes >= _HIGH else 0.99 - 0.89 * (nodes - _LOW) / (_HIGH - _LOW)


_NO_KEY: Any = object()
_MERGE: Any = object()  # the key of what is merged


class _Open:
    """A list or map whose end has not come. `nodes`, `text`: how much had been read before it,
    aliases expanded."""

    __slots__ = ("anchor", "items", "key", "merged", "nodes", "text")

    def __init__(self, items: Any, anchor: str | None, nodes: int, text: int) -> None:
        self.items = items
        self.anchor = anchor
        self.nodes = nodes
        self.text = text
        self.key: Any = _NO_KEY
        self.merged: list[Any] = []


class _Reader:
    """Builds the value from the parser's events. A value that an alias repeats is the same object
    again."""

    def __init__(self) -> None:
        self.value: Any = None
        self.twice: list[str] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # name → (value, its nodes, its text)
        self._nodes = self._aliased = self._text = 0

    def take(self, event: yaml.Event) -> bool:
        """Whether the document goes on."""
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)  # type: ignore[arg-type]
        elif kind is yaml.MappingStartEvent:
            self._begin({}, event)
        elif kind is yaml.SequenceStartEvent:
            self._begin([], event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self._end(event)
        elif kind is yaml.AliasEvent:
            self._alias(event)  # type: ignore[arg-type]
        return kind is not yaml.DocumentEndEvent

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._nodes += 1
        self._text += len(event.value)
        is_merge = event.value == "<<" and event.implicit[0] and self._awaits_key()
        value = _MERGE if is_merge else _scalar(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, len(event.value))
        self._put(value, event)

    def _awaits_key(self) -> bool:
        return (
            bool(self._open)
            and type(self._open[-1].items) is dict
            and self._open[-1].key is _NO_KEY
        )

    def _begin(self, items: Any, event: Any) -> None:
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)
        self._open.append(_Open(items, event.anchor, self._nodes, self._text))
        self._nodes += 1

    def _end(self, event: yaml.Event) -> None:
        done = self._open.pop()
        for other in done.merged:
            if not isinstance(other, dict):
                raise YamlError("yaml: map merge requires map or sequence of maps as the value")
            for name, inner in other.items():
                done.items.setdefault(name, inner)
        if done.anchor is not None:
            self._anchors[done.anchor] = (
                done.items,
                self._nodes - done.nodes,
                self._text - done.text,
            )
        self._put(done.items, event)

    def _alias(self, event: yaml.AliasEvent) -> None:
        known = self._anchors.get(event.anchor or "")
        if known is None:
            if any(collection.anchor == event.anchor for collection in self._open):
                raise YamlError(f"yaml: anchor '{event.anchor}' value contains itself")
            raise YamlError(f"yaml: unknown anchor '{event.anchor}' referenced")
        value, nodes, text = known
        self._nodes += nodes + 1
        self._aliased += nodes
        self._text += text
        many = self._aliased > _FEW_ALIASES and self._nodes > _FEW_NODES
        if (many and self._aliased / self._nodes > _share(self._nodes)) or self._text > _MOST_TEXT:
            raise YamlError(_EXCESSIVE)
        self._put(value, event)

    def _put(self, value: Any, event: yaml.Event) -> None:
        if not self._open:
            self.value = value
            return
        around = self._open[-1]
        if type(around.items) is list:
            around.items.append(value)
        elif around.key is _NO_KEY:
            around.key = value if value is _MERGE else self._name(value, around.items, event)
        elif around.key is _MERGE:
            around.merged += value if isinstance(value, list) else [value]
            around.key = _NO_KEY
        else:
            around.items[around.key] = value
            around.key = _NO_KEY

    def _name(self, value: Any, items: dict[str, Any], event: yaml.Event) -> str:
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        name = value if type(value) is str else _key(value, line)
        if name in items:
            self.twice.append(f'  line {line}: key "{name}" already set in map')
        return name


def read(data: bytes) -> tuple[Any, list[str]]:
    """(plain value, what strict decoding objects to: keys given twice, all in one sentence). Of
    several documents the first counts. Raises YamlError."""
    reader = _Reader()
    try:
        events = _Loader(data)
        try:
            while events.check_event() and reader.take(events.get_event()):
                pass
        finally:
            events.dispose()
    except YamlError:
        raise
    except yaml.YAMLError as error:
        raise YamlError(_message_of(error)) from None
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise YamlError(f"yaml: {error}") from None
    if not reader.twice:
        return reader.value, []
    return reader.value, ["\n".join(["yaml: unmarshal errors:", *reader.twice])]


def _message_of(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or not problem:
        return f"yaml: {str(error).splitlines()[0]}"
    return f"yaml: line {mark.line + 1}: {problem}"
