"""What pods request, as quotas count it: Kueue's resource transformations.

A slice of a GPU can so be counted as memory, a dear kind of machine as credits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tiphys.machinery.footprint import units


class TransformationError(ValueError):
    """The text is not a list of transformations."""


@dataclass(frozen=True)
class Transformation:
    """One of a resource counts as `outputs`, in their units, and as itself if it is `retained`."""

    outputs: Mapping[str, int]
    retained: bool


@dataclass(frozen=True)
class Counting:
    """`transformations` by resource. Resources with an excluded prefix need no quota."""

    transformations: Mapping[str, Transformation] = field(default_factory=dict)
    excluded: tuple[str, ...] = ()

    def __call__(self, requests: Mapping[str, int]) -> dict[str, int]:
        """Requests and the answer are in units. Outputs are not transformed again."""
        counted: dict[str, int] = {}
        for resource, amount in requests.items():
            if resource.startswith(self.excluded):
                continue
            rule = self.transformations.get(resource)
            if rule is None or rule.retained:
                counted[resource] = counted.get(resource, 0) + amount
            unit = units(resource, "1")
            for output, factor in rule.outputs.items() if rule is not None else ():
                counted[output] = counted.get(output, 0) + -(-amount * factor // unit)
        return counted


PLAINLY = Counting()


def parse(transformations: str, excluded: str = "") -> Counting:
    """Of ``a=b:5Gi,c:10;d+=e:1`` (an `a` counts as 5Gi of `b` and 10 `c`; a `d` as itself and an
    `e`) and of prefixes with commas between. Raises TransformationError."""
    rules: dict[str, Transformation] = {}
    for text in filter(None, map(str.strip, transformations.split(";"))):
        resource, equals, outputs = text.partition("=")
        name = resource.removesuffix("+").strip()
        if not equals or not name or name in rules:
            raise TransformationError(f"{text!r} is not RESOURCE=RESOURCE:QUANTITY, or its second")
        rules[name] = Transformation(_outputs(outputs), resource.endswith("+"))
    return Counting(rules, tuple(filter(None, map(str.strip, excluded.split(",")))))


def _outputs(text: str) -> dict[str, int]:
    outputs: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        resource, _, quantity = part.rpartition(":")
        try:
            outputs[resource] = units(resource, quantity)
        except ValueError:
            raise TransformationError(f"{part!r} is not RESOURCE:QUANTITY") from None
        if not resource:
            raise TransformationError(f"{part!r} is not RESOURCE:QUANTITY")
    return outputs
