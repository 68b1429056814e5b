"""What NodePools and NodeClaims require of labels. Pure.

Requirements of one label are taken together (`Allowed`), by the rules of Karpenter's own
`scheduling.Requirement`: also where these differ from a node selector's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tiphys.addons._cloud.catalog import current
from tiphys.addons.karpenter.types.parts import NEVER, LabelRequirement, Requirement
from tiphys.machinery import durations
from tiphys.machinery.selectors import integer


def lifetime(text: str) -> float | None:
    """Seconds; None for Never, and for longer than anything lasts."""
    if text in (NEVER, ""):
        return None
    try:
        return durations.seconds(text)
    except durations.DurationError:
        return None


@dataclass(frozen=True)
class Allowed:
    """The values that a label may have: some, or all but some, between bounds."""

    values: frozenset[str] = frozenset()
    is_complement: bool = False
    least: int | None = None
    most: int | None = None

    def admits(self, value: str | None) -> bool:
        """None is for a label that is missing."""
        if value is None:
            return self.may_be_missing
        return (value in self.values) != self.is_complement and self._is_within(value)

    @property
    def may_be_missing(self) -> bool:
        """Where values are excluded, or there can be none. With bounds alone it has to be there."""
        return bool(self.values) == self.is_complement

    def __and__(self, other: Allowed) -> Allowed:
        least = max((b for b in (self.least, other.least) if b is not None), default=None)
        most = min((b for b in (self.most, other.most) if b is not None), default=None)
        if least is not None and most is not None and least > most:
            return NOTHING
        bounds = Allowed(frozenset(), True, least, most)
        is_complement = self.is_complement and other.is_complement
        values = frozenset(v for v in self._common(other) if bounds.admits(v))
        if not is_complement:
            return Allowed(values)
        return Allowed(values, True, least, most)

    def some(self, mentioned: Collection[str]) -> list[str | None]:
        """The values that matter where nothing else determines the label: all of those that are
        listed, else those that are mentioned, and one that no pod uses; None where it may be
        missing."""
        if not self.is_complement:
            return [*sorted(self.values)] or [None]
        thought_of = [value for value in sorted(mentioned) if self.admits(value)]
        missing = [None] if self.may_be_missing else []
        return [*missing, *thought_of, *self._another({*mentioned, *self.values})]

    def _another(self, taken: Collection[str]) -> list[str]:
        """A number, as Karpenter gives a label of which nothing more is known."""
        start, step = (self.most, -1) if self.most is not None else (0, 1)
        if self.least is not None:
            start = self.least
            step = 1
        numbers = (str(start + step * n) for n in range(len(taken) + 1) if start + step * n >= 0)
        return [number for number in numbers if number not in taken and self.admits(number)][:1]

    def _common(self, other: Allowed) -> frozenset[str]:
        if self.is_complement:
            return self.values | other.values if other.is_complement else other.values - self.values
        return self.values - other.values if other.is_complement else self.values & other.values

    def _is_within(self, value: str) -> bool:
        if self.least is None and self.most is None:
            return True
        number = integer(value)
        if number is None:
            return False
        is_enough = self.least is None or number >= self.least
        return is_enough and (self.most is None or number <= self.most)


NOTHING = Allowed()
ANYTHING = Allowed(is_complement=True)
Wanted = Mapping[str, Allowed]
"""By label."""


def allowed_by(requirement: LabelRequirement) -> Allowed:
    values = requirement.values
    match requirement.operator:
        case "In":
            return Allowed(frozenset(values))
        case "NotIn":
            return Allowed(frozenset(values), True)
        case "Exists":
            return ANYTHING
        case "DoesNotExist":
            return NOTHING
    return _bounded(requirement.operator, (integer(values[0]) if values else 0) or 0)


def _bounded(operator: str, bound: int) -> Allowed:
    match operator:
        case "Gt":
            return Allowed(is_complement=True, least=bound + 1)
        case "Gte":
            return Allowed(is_complement=True, least=bound)
        case "Lt":
            return Allowed(is_complement=True, most=bound - 1)
    return Allowed(is_complement=True, most=bound)


def wanted_by(
    requirements: Iterable[LabelRequirement], labels: Mapping[str, str] | None = None
) -> dict[str, Allowed]:
    """All of them together; `labels` are wanted as they are."""
    allowed_values = {key: Allowed(frozenset((value,))) for key, value in (labels or {}).items()}
    for requirement in requirements:
        allowed = allowed_by(requirement)
        key = current(requirement.key)
        allowed_values[key] = allowed_values.get(key, ANYTHING) & allowed
    return allowed_values


def hold(wanted: Wanted, labels: Mapping[str, str]) -> bool:
    """Whether labels are all that is wanted."""
    return all(allowed.admits(labels.get(key)) for key, allowed in wanted.items())


def least_values(requirements: Iterable[Requirement]) -> dict[str, int]:
    """`minValues` by key, the largest of each."""
    least: dict[str, int] = {}
    for requirement in requirements:
        if requirement.min_values is not None:
            least[requirement.key] = max(least.get(requirement.key, 0), requirement.min_values)
    return least
