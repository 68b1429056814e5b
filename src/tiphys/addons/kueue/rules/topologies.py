"""The annotations of a pod template that say how near each other its pods are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from tiphys.addons.kueue import names
from tiphys.addons.kueue.rules.gowords import WordError, boolean, integer
from tiphys.api.base import Struct
from tiphys.machinery.fielderrors import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    required,
)
from tiphys.machinery.labelrules import label_name

_MODES = (names.REQUIRED_TOPOLOGY, names.PREFERRED_TOPOLOGY, names.UNCONSTRAINED_TOPOLOGY)
_MOST_LAYERS = 3

Annotations = Mapping[str, str]


def of_annotations(annotations: Annotations, path: str, count: int) -> list[FieldError]:
    """`path` is that of the template's metadata, `count` how many pods the set has."""
    where = f"{path}.annotations"
    problems = [
        *_mode(annotations, where),
        *_group(annotations, where),
        *_unconstrained(annotations, where),
        *_slice(annotations, where),
        *_layers(annotations, where),
    ]
    return problems or [*_sizes(annotations, where, count)]


def _mode(annotations: Annotations, path: str) -> Iterator[FieldError]:
    if sum(one in annotations for one in _MODES) > 1:
        listed = ", ".join(f'"{one}"' for one in _MODES)
        detail = f"must not contain more than one topology annotation: [{listed}]"
        yield FieldError("FieldValueInvalid", path, f"Invalid value: {detail}")
    for key in (names.REQUIRED_TOPOLOGY, names.PREFERRED_TOPOLOGY, names.SLICE_TOPOLOGY):
        if key in annotations:
            yield from label_name(annotations[key], f"{path}[{key}]")


def _group(annotations: Annotations, path: str) -> Iterator[FieldError]:
    """A set that goes together with another one is near it, and has no slices."""
    name = annotations.get(names.POD_SET_GROUP)
    if name is None:
        return
    where = f"{path}[{names.POD_SET_GROUP}]"
    if name.isascii() and name.isdecimal():
        yield invalid_value(where, name, "must not be a number")
    for other in (names.SLICE_SIZE, names.SLICE_TOPOLOGY):
        if other in annotations:
            yield forbidden_field(where, f"may not be set when '{other}' is specified")
    preferred = names.PREFERRED_TOPOLOGY
    needed = names.REQUIRED_TOPOLOGY
    if preferred not in annotations and needed not in annotations:
        detail = f"may not be set when neither '{preferred}' nor '{needed}' is specified"
        yield forbidden_field(where, detail)


class Grouped(NamedTuple):
    """A set of `size` pods, with the annotations of its template and the path of its metadata."""

    annotations: Annotations
    path: str
    size: int


def of_groups(sets: Sequence[Grouped]) -> Iterator[FieldError]:
    """A group is a leader and its workers, as near as each other. Checked for annotations that are
    well otherwise."""
    by_name: dict[str, list[Grouped]] = {}
    for grouped in sets:
        if name := grouped.annotations.get(names.POD_SET_GROUP):
            by_name.setdefault(name, []).append(grouped)
    for name, group in by_name.items():
        detail = _not_a_pair(group)
        for grouped in group if detail else ():
            where = f"{grouped.path}.annotations[{names.POD_SET_GROUP}]"
            yield invalid_value(where, name, detail)
        if len(group) == 2 and _level(group[0]) != _level(group[1]):
            yield from _unlike(name, group)


def _not_a_pair(group: Sequence[Grouped]) -> str:
    if len(group) != 2:
        return f"can only define groups of exactly 2 pod sets, got: {len(group)} pod set(s)"
    first, second = (one.size for one in group)
    if 1 in (first, second):
        return ""
    return (
        "can only define groups where at least one pod set has only 1 replica, got: "
        f"{first} replica(s) and {second} replica(s) in the group"
    )


def _level(of: Grouped) -> tuple[str | None, str | None]:
    asked = of.annotations
    return asked.get(names.REQUIRED_TOPOLOGY), asked.get(names.PREFERRED_TOPOLOGY)


def _unlike(name: str, pair: Sequence[Grouped]) -> Iterator[FieldError]:
    for first, second in (pair, reversed(pair)):
        detail = (
            f"must specify '{names.REQUIRED_TOPOLOGY}' or '{names.PREFERRED_TOPOLOGY}' topology "
            f"consistent with '{second.path}.annotations' in group '{name}'"
        )
        yield FieldError(
            "FieldValueInvalid", f"{first.path}.annotations", f"Invalid value: {detail}"
        )


def _unconstrained(annotations: Annotations, path: str) -> Iterator[FieldError]:
    text = annotations.get(names.UNCONSTRAINED_TOPOLOGY)
    if text is None:
        return
    try:
        boolean(text)
    except WordError:
        where = f"{path}[{names.UNCONSTRAINED_TOPOLOGY}]"
        yield invalid_value(where, text, "must be a boolean value")


def _slice(annotations: Annotations, path: str) -> Iterator[FieldError]:
    where = f"{path}[{names.SLICE_SIZE}]"
    text = annotations.get(names.SLICE_SIZE)
    topology = names.SLICE_TOPOLOGY
    if text is None:
        if topology in annotations:
            yield required(where, f"must be set when '{topology}' is specified")
        return
    try:
        if integer(text, 32) < 1:
            yield invalid_value(where, text, "must be greater than or equal to 1")
    except WordError:
        yield invalid_value(where, text, "must be a numeric value")
    if topology not in annotations:
        yield forbidden_field(where, f"may not be set when '{topology}' is not specified")


def _layers(annotations: Annotations, path: str) -> Iterator[FieldError]:
    text = annotations.get(names.SLICE_LAYERS)
    if text is None:
        return
    where = f"{path}[{names.SLICE_LAYERS}]"
    for other in (names.SLICE_TOPOLOGY, names.SLICE_SIZE):
        if other in annotations:
            yield forbidden_field(where, f"may not be set when '{other}' is specified")
    if names.POD_SET_GROUP in annotations:
        detail = f"may not be set when '{names.SLICE_LAYERS}' is specified"
        yield forbidden_field(f"{path}[{names.POD_SET_GROUP}]", detail)
    try:
        layers = layers_of(text)
    except ValueError as error:
        yield invalid_value(where, text, f"must be a valid JSON array: {error}")
        return
    if not 0 < len(layers) <= _MOST_LAYERS:
        detail = "topology constraints must contain between 1 and 3 entries"
        yield invalid_value(where, text, detail)
        return
    yield from _each_layer(layers, where)


class Layer(Struct):
    """Slices of so many pods, each within one domain of a level. Of any size and name here: the
    rules say what is wrong with them."""

    topology: str = ""
    size: int = 0


def layers_of(text: str) -> list[Layer]:
    """The outermost first. Raises ValueError for what is no list of topologies and sizes."""
    return msgspec.json.decode(text, type=list[Layer])


def _each_layer(layers: Sequence[Layer], path: str) -> Iterator[FieldError]:
    seen: dict[str, int] = {}
    for index, layer in enumerate(layers):
        yield from label_name(layer.topology, f"{path}[{index}].topology")
        if layer.size < 1:
            detail = "must be greater than or equal to 1"
            yield invalid_value(f"{path}[{index}].size", layer.size, detail)
    for index, layer in enumerate(layers):
        first = seen.setdefault(layer.topology, index)
        if first != index:
            value = f"{layer.topology} (also at index {first})"
            yield duplicate(f"{path}[{index}].topology", value)
    for index, (outer, inner) in enumerate(pairwise(layers)):
        if inner.size > 0 and outer.size % inner.size:
            detail = f"must evenly divide the parent layer size {outer.size}"
            yield invalid_value(f"{path}[{index + 1}].size", inner.size, detail)


def _sizes(annotations: Annotations, path: str, count: int) -> Iterator[FieldError]:
    """No slice is larger than the set. Checked for annotations that are valid otherwise."""
    detail = f"must not be greater than pod set count {count}"
    size = annotations.get(names.SLICE_SIZE)
    if size is not None and integer(size, 32) > count:
        yield invalid_value(f"{path}[{names.SLICE_SIZE}]", size, detail)
    layers = annotations.get(names.SLICE_LAYERS)
    if layers is None:
        return
    outermost = layers_of(layers)[0].size
    if outermost > count:
        yield invalid_value(f"{path}[{names.SLICE_LAYERS}]", outermost, detail)
