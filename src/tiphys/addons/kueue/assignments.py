"""Where pods go, as the API writes it: in v1beta2 domains are packed into slices, which name what
many of them have in common once. Pure, of plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tiphys.addons.kueue.core.topology import Assignment, Place

Plain = dict[str, Any]
_MOST_DOMAINS = 100_000  # of one slice, as the API has it


def packed(assignment: Assignment) -> Plain:
    """As v1beta2 has it, in one slice."""
    places = assignment.places
    if not places:
        return {"levels": list(assignment.levels), "slices": []}
    values = [
        _packed_values([place.values[level] for place in places])
        for level in range(len(assignment.levels))
    ]
    counts = [place.pods for place in places]
    is_even = len(set(counts)) == 1
    slice_ = {
        "domainCount": len(places),
        "valuesPerLevel": values,
        "podCounts": {"universal": counts[0]} if is_even else {"individual": counts},
    }
    return {"levels": list(assignment.levels), "slices": [slice_]}


def _packed_values(values: Sequence[str]) -> Plain:
    if len(set(values)) == 1:
        return {"universal": values[0]}
    prefix = _common_start(values)
    suffix = _common_start([value[::-1] for value in values])[::-1]
    shortest = min(map(len, values))
    if len(prefix) + len(suffix) > shortest:  # as of "aba" and "ababa"
        prefix = prefix[: shortest - len(suffix)]
    roots = [value[len(prefix) : len(value) - len(suffix)] for value in values]
    affixes = {"prefix": prefix, "suffix": suffix}
    return {"individual": {**{k: text for k, text in affixes.items() if text}, "roots": roots}}


def _common_start(texts: Sequence[str]) -> str:
    """Of all texts; where the first and the last in order are alike, those between are, too."""
    first = min(texts)
    last = max(texts)
    length = next((i for i, char in enumerate(first) if last[i] != char), len(first))
    return first[:length]


def unpacked(plain: Any) -> Assignment | None:
    """Of v1beta2's; None for what is none."""
    try:
        levels = tuple(str(level) for level in plain["levels"])
        places = [
            place for slice_ in plain.get("slices") or () for place in _places(slice_, levels)
        ]
    except (AttributeError, KeyError, IndexError, TypeError):  # no server has validated it
        return None
    return Assignment(levels, tuple(places))


def _places(slice_: Plain, levels: Sequence[str]) -> Iterator[Place]:
    values = slice_["valuesPerLevel"]
    counts = slice_["podCounts"]
    individual = counts.get("individual")
    for index in range(min(int(slice_["domainCount"]), _MOST_DOMAINS)):
        count = individual[index] if individual else counts["universal"]
        yield Place(tuple(_value(values[level], index) for level in range(len(levels))), int(count))


def _value(values: Plain, index: int) -> str:
    if "universal" in values:
        return str(values["universal"])
    individual = values["individual"]
    return (
        f"{individual.get('prefix', '')}{individual['roots'][index]}{individual.get('suffix', '')}"
    )


# --- v1beta1 ---


def newer(plain: Plain) -> Plain:
    """v1beta1 lists the domains."""
    places = [
        Place(tuple(one.get("values") or ()), int(one.get("count") or 0))
        for one in plain.get("domains") or ()
    ]
    return packed(Assignment(tuple(plain.get("levels") or ()), tuple(places)))


def older(plain: Plain) -> Plain:
    assignment = unpacked(plain) or Assignment((), ())
    domains = [{"values": list(one.values), "count": one.pods} for one in assignment.places]
    return {"levels": list(assignment.levels), "domains": domains}
