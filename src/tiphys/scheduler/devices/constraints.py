"""Constraints of a claim over the devices that it has been given so far: equal attributes, or
distinct ones. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from tiphys.api import resource_v1 as v1
from tiphys.machinery.devices import values_of
from tiphys.scheduler.devices.inventory import Offer
from tiphys.scheduler.devices.requests import RequestData


class _AttributeValues(NamedTuple):
    """The values of an attribute (more than one for lists), and what kind of value they are."""

    kind: str
    values: frozenset[Any]


class Constraint:
    """Devices are added and removed like those of a stack, as the search goes forward and back."""

    def __init__(self, constraint: v1.DeviceConstraint) -> None:
        self._requests = frozenset(constraint.requests)
        self._attribute = constraint.match_attribute or constraint.distinct_attribute or ""
        self._must_match = constraint.match_attribute is not None
        # Where they must match: what all devices up to here have in common. Else: the values of
        # each.
        self._stack: list[_AttributeValues] = []

    def add(self, request: RequestData, offer: Offer) -> bool:
        """Whether the device may be given besides those before it. Only then is it added."""
        if not self._applies_to(request):
            return True
        attribute = offer.attribute(self._attribute)
        if attribute is None:
            return False
        kind, values = values_of(attribute)
        added = _AttributeValues(kind, frozenset(values))
        if self._must_match:
            common = self._in_common(added)
            if not common.values:
                return False
            self._stack.append(common)
            return True
        if any(kind == other.kind and added.values & other.values for other in self._stack):
            return False
        self._stack.append(added)
        return True

    def remove(self, request: RequestData) -> None:
        """Takes back the device that was added last, for that request."""
        if self._applies_to(request):
            self._stack.pop()

    def _in_common(self, added: _AttributeValues) -> _AttributeValues:
        if not self._stack:
            return added
        common = self._stack[-1]
        if common.kind != added.kind:
            return added._replace(values=frozenset())
        return added._replace(values=added.values & common.values)

    def _applies_to(self, request: RequestData) -> bool:
        if not self._requests:
            return True
        return request.name in self._requests or request.parent_name in self._requests
