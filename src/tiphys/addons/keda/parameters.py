"""A trigger's parameters, declared as attributes of its class.

A parameter is looked up in the trigger's metadata (`metadata`), in what its TriggerAuthentication
gives (`auth`), and in the environment of the target's container, under the name that the metadata's
``<parameter>FromEnv`` has (`env`). Rules and sentences are those of KEDA's typed configuration:
people search for them.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from tiphys.machinery import durations

_PLACES = {"metadata": "triggerMetadata", "auth": "authParams", "env": "resolvedEnv"}
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_MOST_RANGE = 10_000  # numbers that "a-b" may stand for


class ParameterError(ValueError):
    """A trigger cannot be read; the text is what is missing or wrong, a line for each."""


class Seconds(float):
    """A length of time: "1m30s" or a number of milliseconds."""


@dataclass(frozen=True)
class Given:
    """Everything that a trigger's parameters are looked up in."""

    metadata: Mapping[str, str]
    auth: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def find(self, place: str, name: str) -> str:
        """What stands there; "" for nothing."""
        if place == "metadata":
            value = self.metadata.get(name, "")
        elif place == "auth":
            value = self.auth.get(name, "")
        else:
            value = self.env.get(self.metadata.get(f"{name}FromEnv", ""), "")
        return value.strip()


@dataclass(frozen=True)
class Parameter:
    """`names` are alternatives, `places` the order in which they are looked up. Without a default
    and not optional, it has to be there."""

    names: tuple[str, ...]
    places: tuple[str, ...]
    default: str | None = None
    optional: bool = False
    enum: tuple[str, ...] = ()
    exclusive: tuple[str, ...] = ()
    range_separator: str = ""
    deprecated: str = ""

    def find(self, sources: Given) -> str | None:
        for place in self.places:
            for name in self.names:
                value = sources.find(place, name)
                if value:
                    return value
        return None

    @property
    def label(self) -> str:
        return ",".join(self.names)


def parameter(
    *names: str,
    places: str = "metadata",
    default: str | None = None,
    optional: bool = False,
    enum: str = "",
    exclusive: str = "",
    range_separator: str = "",
    deprecated: str = "",
) -> Any:
    """Declares a parameter: ``length: int = parameter("listLength", default="5")``.

    `places`, `enum` and `exclusive` are lists of words; the attribute's annotation is its type.
    Where there is neither a value nor a default, the attribute has the type's zero.
    """
    for place in places.split():
        if place not in _PLACES:
            raise ValueError(f"{place}: parameters are in {', '.join(_PLACES)}")
    return Parameter(
        names,
        tuple(places.split()),
        default,
        optional,
        tuple(enum.split()),
        tuple(exclusive.split()),
        range_separator,
        deprecated,
    )


def declared(kind: type) -> dict[str, tuple[Parameter, Any]]:
    """The parameters of a class and of those it derives from, with their types."""
    hints = typing.get_type_hints(kind)
    parameters = {}
    for base in reversed(kind.__mro__):
        for name, value in base.__dict__.items():
            if isinstance(value, Parameter):
                named = value if value.names else _named(value, name)
                parameters[name] = (named, hints.get(name, str))
    return parameters


def _named(value: Parameter, attribute: str) -> Parameter:
    head, *rest = attribute.split("_")
    camel = head + "".join(part.capitalize() for part in rest)
    return Parameter((camel,), *(getattr(value, n) for n in Parameter.__match_args__[1:]))


def read(kind: type, sources: Given, trigger: str = "") -> dict[str, Any]:
    """The values of all parameters of a class. Raises ParameterError with all that is wrong."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for attribute, (parameter, hint) in declared(kind).items():
        try:
            values[attribute] = _value(parameter, hint, sources, trigger)
        except ParameterError as error:
            problems.append(str(error))
            values[attribute] = _zero(hint)
    if problems:
        raise ParameterError("\n".join(problems))
    return values


def _value(parameter: Parameter, hint: Any, sources: Given, trigger: str) -> Any:
    text = parameter.find(sources)
    if text is not None and parameter.deprecated:
        raise ParameterError(f"scaler {trigger} info: {parameter.deprecated}")
    if text is None:
        text = parameter.default
    if text is None:
        if parameter.optional or parameter.deprecated:
            return _zero(hint)
        where = " ".join(_PLACES[place] for place in parameter.places)
        raise ParameterError(f'missing required parameter "{parameter.label}" in [{where}]')
    _check_words(parameter, text)
    try:
        return _parsed(text, hint, parameter)
    except ValueError as error:
        raise ParameterError(
            f'unable to set param "{parameter.label}" value "{text}": {error}'
        ) from None


def _check_words(parameter: Parameter, text: str) -> None:
    words = [word.strip() for word in text.split(",")]
    if parameter.enum and any(word not in parameter.enum for word in words):
        listed = " ".join(parameter.enum)
        raise ParameterError(
            f'parameter "{parameter.label}" value "{text}" must be one of [{listed}]'
        )
    if parameter.exclusive and sum(word in parameter.exclusive for word in words) > 1:
        listed = " ".join(parameter.exclusive)
        raise ParameterError(
            f'parameter "{parameter.label}" value "{text}" must contain only one of [{listed}]'
        )


# --- values of a type ---


def _zero(hint: Any) -> Any:
    origin = get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return None
    return (origin or hint)()


def _parsed(text: str, hint: Any, parameter: Parameter) -> Any:
    """Raises ValueError with KEDA's words."""
    origin = get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        hint = next(option for option in get_args(hint) if option is not type(None))
        return _parsed(text, hint, parameter)
    if origin is list:
        return _list(text, get_args(hint)[0], parameter)
    if origin is dict:
        return _map(text)
    return _SCALARS[hint](text)


def _list(text: str, hint: Any, parameter: Parameter) -> list[Any]:
    values: list[Any] = []
    for part in text.split(","):
        word = part.strip()
        if parameter.range_separator and parameter.range_separator in word and hint is int:
            first, _, last = word.partition(parameter.range_separator)
            numbers = range(_integer(first), _integer(last) + 1)
            if len(numbers) > _MOST_RANGE:
                raise ValueError(f"a range has at most {_MOST_RANGE} numbers")
            values += numbers
        else:
            values.append(_SCALARS[hint](word))
    return values


def _map(text: str) -> dict[str, str]:
    values = {}
    for part in text.split(","):
        word = part.strip()
        pieces = word.split("=")
        if len(pieces) != 2:
            raise ValueError(f'expected format key=value, got "{word}"')
        values[pieces[0].strip()] = pieces[1].strip()
    return values


def _integer(text: str) -> int:
    value = _json(text, "int64")
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**63:
        raise ValueError(_mismatch(value, "int64"))
    return value


def _number(text: str) -> float:
    value = _json(text, "float64")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(_mismatch(value, "float64"))
    return float(value)


def _json(text: str, kind: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise ValueError(
            f"unable to unmarshal to field type {kind}: "
            f"invalid character '{text[:1]}' looking for beginning of value"
        ) from None


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def _mismatch(value: Any, kind: str) -> str:
    words = {str: "string", bool: "bool", list: "array", dict: "object"}
    word = words.get(type(value), f"number {value}")
    return (
        f"unable to unmarshal to field type {kind}: "
        f"json: cannot unmarshal {word} into Go value of type {kind}"
    )


def _boolean(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(
        f'unable to parse boolean value "{text}": strconv.ParseBool: '
        f'parsing "{text}": invalid syntax'
    )


def _seconds(text: str) -> Seconds:
    try:
        seconds = durations.seconds(text)
    except durations.DurationError:
        try:
            seconds = int(text) / 1000
        except ValueError:
            raise ValueError(
                f'unable to parse duration value "{text}": must be either a duration string '
                "(e.g. '30s', '5m') or a number of milliseconds"
            ) from None
    if seconds < 0:
        raise ValueError(f'duration cannot be negative: "{text}"')
    return Seconds(seconds)


_SCALARS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _integer,
    float: _number,
    bool: _boolean,
    Seconds: _seconds,
}
