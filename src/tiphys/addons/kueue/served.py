"""Kinds that are followed where their definitions are there."""

from __future__ import annotations

from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.catalog import Resource
from tiphys.machinery import conditions


def is_served(resource: Resource, definition: CustomResourceDefinition | None) -> bool:
    """Whether a definition, as it is now, has the API server serve it."""
    if definition is None or definition.metadata.name != resource.group_resource:
        return False
    if not conditions.is_true(definition.status.conditions, "Established"):
        return False
    return resource.version in {one.name for one in definition.spec.versions if one.served}
