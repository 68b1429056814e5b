"""What NodePools and NodeClaims require of labels. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tiphys.addons.karpenter.types.parts import NEVER, LabelRequirement, Requirement
from tiphys.machinery import durations

_BOUNDS = ("Gt", "Lt", "Gte", "Lte")


def lifetime(text: str) -> float | None:
    """Seconds; None for Never, and for longer than anything lasts."""
    if text in (NEVER, ""):
        return None
    try:
        return durations.seconds(text)
    except durations.DurationError:
        return None


def holds(requirement: LabelRequirement, value: str | None) -> bool:
    """Whether a label of that value, None for no label, is what the requirement wants."""
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return value is not None and _is_within(requirement, value)


def _is_within(requirement: LabelRequirement, value: str) -> bool:
    try:
        number = int(value)
        bound = int(requirement.values[0])
    except (ValueError, IndexError):
        return False
    match requirement.operator:
        case "Gt":
            return number > bound
        case "Lt":
            return number < bound
        case "Gte":
            return number >= bound
    return requirement.operator == "Lte" and number <= bound


def hold(requirements: Iterable[LabelRequirement], labels: Mapping[str, str]) -> bool:
    """Whether labels are all that is required."""
    return all(holds(one, labels.get(one.key)) for one in requirements)


def by_key(requirements: Iterable[Requirement]) -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for one in requirements:
        found.setdefault(one.key, []).append(one)
    return found


def values_of(requirements: Sequence[Requirement], mentioned: Iterable[str]) -> list[str | None]:
    """The values that a label may have of which no machine says anything: those that are required,
    or those that pods mention; None where it may be missing."""
    listed = [set(one.values) for one in requirements if one.operator == "In"]
    candidates = set.intersection(*listed) if listed else set(mentioned)
    allowed = [v for v in sorted(candidates) if all(holds(one, v) for one in requirements)]
    may_be_missing = all(
        one.operator in ("NotIn", "DoesNotExist", "Exists", *_BOUNDS) for one in requirements
    )
    if listed or not may_be_missing:
        return list(allowed)
    return [None, *allowed]


def least_values(requirements: Iterable[Requirement]) -> dict[str, int]:
    """`minValues` by key, the largest of each."""
    least: dict[str, int] = {}
    for one in requirements:
        if one.min_values is not None:
            least[one.key] = max(least.get(one.key, 0), one.min_values)
    return least
