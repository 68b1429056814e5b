"""Label and field selectors: parsed once, matched often."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tiphys.api.meta_v1 import LabelSelector
from tiphys.machinery.names import label_key_errors, label_value_errors
from tiphys.machinery.remembered import remembered


class SelectorError(ValueError):
    """A selector that cannot be read; the text is for the user."""


_INTEGER = re.compile(r"[+-]?[0-9]+")


def integer(text: str) -> int | None:
    """What Go's strconv.ParseInt reads: Python takes ``1_0`` and other scripts' digits as well."""
    if not _INTEGER.fullmatch(text) or len(text) > 63:  # as long as a label's value
        return None
    number = int(text)
    return number if -(1 << 63) <= number < 1 << 63 else None


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: str  # =, !=, in, notin, exists, !, gt, lt
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        operator = self.operator
        if operator == "=" or operator == "in":  # nearly always, and the fastest way to see it
            return value in self.values
        match operator:
            case "!=" | "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "!":
                return value is None
            case _:
                return self._compares(value)

    def _compares(self, value: str | None) -> bool:
        left = integer(value or "")
        right = integer(self.values[0])
        if left is None or right is None:
            return False
        return left > right if self.operator == "gt" else left < right

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
            case "gt" | "lt":
                return f"{self.key}{'>' if self.operator == 'gt' else '<'}{self.values[0]}"
            case operator:
                return f"{self.key}{operator}{self.values[0]}"


_FEW = 16  # terms and values that are checked one by one
_NEGATIVE = frozenset(("!=", "notin", "!"))


class _Index:
    """A selector of very many terms or values, arranged so that a match takes as long as the labels
    are many."""

    def __init__(self, requirements: tuple[Requirement, ...]) -> None:
        self._needed: set[str] = set()
        self._allowed: dict[str, frozenset[str]] = {}
        self._refused: dict[str, set[str]] = {}
        self._absent: set[str] = set()
        self._compared: dict[str, list[Requirement]] = {}
        for requirement in requirements:
            if requirement.operator not in _NEGATIVE:
                self._needed.add(requirement.key)
            if requirement.operator in ("=", "in"):
                values = frozenset(requirement.values)
                self._allowed[requirement.key] = self._allowed.get(requirement.key, values) & values
            elif requirement.operator in ("!=", "notin"):
                self._refused.setdefault(requirement.key, set()).update(requirement.values)
            elif requirement.operator == "!":
                self._absent.add(requirement.key)
            elif requirement.operator in ("gt", "lt"):
                self._compared.setdefault(requirement.key, []).append(requirement)

    def matches(self, labels: Mapping[str, str]) -> bool:
        if len(self._needed) > len(labels) or not all(key in labels for key in self._needed):
            return False
        for key, value in labels.items():
            if key in self._absent or value in self._refused.get(key, ()):
                return False
            allowed = self._allowed.get(key)
            if allowed is not None and value not in allowed:
                return False
            if not all(requirement.matches(labels) for requirement in self._compared.get(key, ())):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; none means everything matches."""

    requirements: tuple[Requirement, ...] = ()
    _index: _Index | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = self.requirements
        if len(rows) > _FEW or any(len(row.values) > _FEW for row in rows):
            object.__setattr__(self, "_index", _Index(rows))

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self._index is not None:
            return self._index.matches(labels)
        for requirement in self.requirements:  # noqa: SIM110 - asked of every pod; a generator takes twice as long
            if not requirement.matches(labels):
                return False
        return True

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)

    def exact(self, key: str) -> str | None:
        """The value that `key` must equal, if the selector requires one."""
        for requirement in self.requirements:
            if (
                requirement.key == key
                and requirement.operator in ("=", "in")
                and len(requirement.values) == 1
            ):
                return requirement.values[0]
        return None


EVERYTHING = Selector()
_TOKEN = re.compile(r"\s*(?:(==|!=|=|!|>|<|\(|\)|,)|([^\s=!<>(),]+))")


_NO_NAMES = frozenset(("==", "!=", "=", "!", ">", "<", "(", ")", ",", ""))
NOTHING = Selector((Requirement("metadata.name/none", "in", ()),))  # matches no object


def _tokens(text: str) -> list[str]:
    return [symbol or word for symbol, word in _TOKEN.findall(text)]


@remembered(1024)
def parse_labels(text: str) -> Selector:
    """Parses ``a=b,c!=d,e in (f,g),h,!i``; raises SelectorError."""
    tokens = _tokens(text)
    requirements = []
    position = 0

    def take() -> str:
        nonlocal position
        position += 1
        return tokens[position - 1] if position <= len(tokens) else ""

    def peek() -> str:
        return tokens[position] if position < len(tokens) else ""

    if peek() in _NO_NAMES - {"", "!"}:
        raise SelectorError(f"found '{peek()}', expected: !, identifier, or 'end of string'")
    while position < len(tokens):
        try:
            requirements.append(_requirement(take, peek))
        except SelectorError as error:
            raise SelectorError(f"unable to parse requirement: {error}") from None
        separator = take()
        if separator not in ("", ","):
            raise SelectorError(f"found '{separator}', expected: ',' or 'end of string'")
        if separator == "," and peek() in _NO_NAMES - {"!"}:
            raise SelectorError(f"found '{peek()}', expected: identifier after ','")
    return Selector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def _requirement(take: Callable[[], str], peek: Callable[[], str]) -> Requirement:
    key = take()
    if key == "!":
        key = take()
        if key in _NO_NAMES:
            raise SelectorError(f"found '{key}', expected: identifier")
        return _checked(Requirement(key, "!"))
    if peek() in ("", ","):
        return _checked(Requirement(key, "exists"))
    operator = take()
    if operator in ("=", "==", "!="):
        value = take() if peek() not in ("", ",") else ""
        if value in _NO_NAMES - {""}:
            raise SelectorError(f"found '{value}', expected: identifier")
        return _checked(Requirement(key, "=" if operator == "==" else operator, (value,)))
    if operator in ("<", ">"):
        value = take()
        if not re.fullmatch(r"-?[0-9]+", value) or integer(value) is None:
            raise SelectorError(
                f'values[0][{key}]: Invalid value: "{value}": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            )
        return _checked(Requirement(key, "gt" if operator == ">" else "lt", (value,)))
    if operator in ("in", "notin"):
        return _checked(Requirement(key, operator, _set(take, peek)))
    raise SelectorError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")


def _set(take: Callable[[], str], peek: Callable[[], str]) -> tuple[str, ...]:
    """The values between parentheses; an empty one before a comma, and between two, counts."""
    opening = take()
    if opening != "(":
        raise SelectorError(f"found '{opening}' expected: '('")
    if peek() in _NO_NAMES - {",", ")"}:
        raise SelectorError(f"found '{peek()}', expected: ',', ')' or identifier")
    values = []
    while True:
        if peek() in _NO_NAMES - {",", ")"}:
            raise SelectorError(f"found '{peek()}', expected: ',', or identifier")
        values.append(take() if peek() not in (",", ")") else "")
        match take():
            case ")":
                return tuple(values)
            case ",":
                continue
            case token:
                raise SelectorError(f"found '{token}', expected: ',' or ')'")


def _checked(requirement: Requirement) -> Requirement:
    for problem in label_key_errors(requirement.key):
        raise SelectorError(f'key: Invalid value: "{requirement.key}": {problem}')
    for index, value in enumerate(requirement.values):
        for problem in label_value_errors(value):
            raise SelectorError(
                f'values[{index}][{requirement.key}]: Invalid value: "{value}": {problem}'
            )
    return requirement


_OPERATORS = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
    "Gt": "gt",
    "Lt": "lt",
}


def from_label_selector(selector: LabelSelector | None) -> Selector | None:
    """Selector of the API's struct: an empty one matches everything, none at all matches nothing
    (None)."""
    if selector is None:
        return None
    requirements = [Requirement(key, "=", (value,)) for key, value in selector.match_labels.items()]
    requirements += [
        Requirement(e.key, _OPERATORS[e.operator], tuple(e.values))
        for e in selector.match_expressions
    ]
    return Selector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def from_labels(labels: Mapping[str, str]) -> Selector:
    return Selector(tuple(Requirement(key, "=", (labels[key],)) for key in sorted(labels)))


def node_requirement(key: str, operator: str, values: list[str]) -> Requirement:
    return Requirement(key, _OPERATORS[operator], tuple(values))


@remembered(1024)
def parse_fields(text: str) -> Selector:
    """Parses ``metadata.name=a,spec.nodeName!=b``; a backslash escapes comma, equals sign and
    itself."""
    requirements = []
    for term in re.findall(r"(?:[^,\\]|\\.)+", text):
        match = re.match(r"((?:[^=!\\]|\\.)+?)(==|!=|=)(.*)$", term, re.S)
        if not match:
            raise SelectorError(f"invalid selector: '{text}'; can't understand '{term}'")
        value = re.sub(r"\\([\\,=])", r"\1", match[3])
        requirements.append(Requirement(match[1], "!=" if match[2] == "!=" else "=", (value,)))
    return Selector(tuple(requirements))
