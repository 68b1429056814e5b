"""What the rules of a resource say of an object, without a server: defaults, preparation and
validation in the order of a create or an update."""

from __future__ import annotations

from typing import Any

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import registry_of
from tests.apiserver.kit import NAMES, SERVED, body_of, changed
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.catalog import Resource
from tiphys.api.core_v1 import Namespace
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.registry.conversion import as_stored
from tiphys.apiserver.registry.metadata import validate_metadata, validate_metadata_update
from tiphys.apiserver.resources import Strategies
from tiphys.machinery.errors import FieldError, StatusError

STRATEGIES = Strategies()
NOTHING = registry_of(stored(Namespace(metadata=ObjectMeta(name="default"))))


def built(resource: Resource, parts: dict[str, Any]) -> Any:
    """A valid object of the resource with some fields replaced, defaulted."""
    name = NAMES.get(resource.group_resource, "case")
    body = changed(body_of(resource, name), parts)
    if resource.namespaced:
        body["metadata"].setdefault("namespace", "default")
    obj = as_stored(resource, from_builtins(body, resource.type))
    STRATEGIES.of(resource).default(obj)
    return obj


def wrong_with(name: str, parts: dict[str, Any]) -> list[str]:
    """``field: message`` of everything that is wrong with a new object."""
    resource = SERVED[name]
    strategy = STRATEGIES.of(resource)
    obj = built(resource, parts)
    try:
        strategy.prepare_for_create(obj)
    except StatusError as refusal:
        return causes(refusal)
    found = validate_metadata(obj.metadata, resource, strategy.name_errors)
    return said(found + strategy.validate_new(obj, NOTHING))


def wrong_with_change(name: str, before: dict[str, Any], parts: dict[str, Any]) -> list[str]:
    """``field: message`` of everything that is wrong with a change; `parts` replace fields of what
    was there, as it had been made with `before`."""
    resource = SERVED[name]
    strategy = STRATEGIES.of(resource)
    old = built(resource, before)
    strategy.prepare_for_create(old)
    new = from_builtins(changed(to_builtins(old), parts), type(old))
    strategy.default(new)
    try:
        strategy.prepare_for_update(new, old)
    except StatusError as refusal:
        return causes(refusal)
    found = validate_metadata(new.metadata, resource, strategy.name_errors)
    found += validate_metadata_update(new.metadata, old.metadata)
    return said(found + strategy.validate_change(new, old))


def wrong_with_status(name: str, status: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """``field: message`` of everything that is wrong with a change of the status; `before` is the
    whole object, but for what makes it valid."""
    resource = SERVED[name]
    strategy = STRATEGIES.of(resource)
    old = built(resource, before)
    new = built(resource, {**before, "status": status})
    strategy.prepare_for_status(new, old)
    return said(strategy.validate_status(new, old))


def said(violations: list[FieldError]) -> list[str]:
    return [f"{each.field}: {each.detail}" for each in violations]


def causes(refusal: StatusError) -> list[str]:
    assert refusal.status.details is not None
    return [f"{each.field}: {each.message}" for each in refusal.status.details.causes]


def fields(complaints: list[str]) -> list[str]:
    """Of what, without what."""
    return [each.partition(": ")[0] for each in complaints]
