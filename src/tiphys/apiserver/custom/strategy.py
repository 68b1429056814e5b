"""What objects of a custom resource obey: their version's schema."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

from tiphys.api.custom import CustomObject
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import gowords, rules, structural
from tiphys.machinery.errors import FieldError, invalid_value
from tiphys.machinery.jsonpath import get_field
from tiphys.machinery.structural import Schema
from tiphys.store.cache import Selectable

# While one of these is broken, rules in CEL would meet values that they are not made for.
_BLOCKING = frozenset(
    (
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    )
)
_UNCHECKED = FieldError(
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing"
    " errors to complete validation",
)
_MOST = 2**31 - 1  # replicas
# seconds that rules may take on the event loop; once they took longer, they are run aside
_LONG = 0.005


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a custom resource keeps what its scale subresource shows."""

    replicas: tuple[str, ...]
    observed: tuple[str, ...]
    selector: tuple[str, ...] | None

    def errors(self, content: dict[str, Any], status: bool) -> list[FieldError]:
        """What a Scale could not show, in the specification or in the status."""
        if not status:
            return _replica_errors(content, self.replicas)
        found = _replica_errors(content, self.observed)
        if self.selector is not None:
            value = get_field(content, self.selector)
            if value is not None and not isinstance(value, str):
                found.append(_accessor(self.selector, "", value, "string"))
        return found


def _replica_errors(content: dict[str, Any], path: tuple[str, ...]) -> list[FieldError]:
    value, field = get_field(content, path), "." + ".".join(path)
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int):
        return [_accessor(path, 0, value, "int64")]
    if value < 0:
        return [invalid_value(field, value, "should be a non-negative integer")]
    return (
        [invalid_value(field, value, f"should be less than or equal to {_MOST}")]
        if value > _MOST
        else []
    )


def _accessor(path: tuple[str, ...], zero: Any, value: Any, wanted: str) -> FieldError:
    field = "." + ".".join(path)
    kinds = {str: "string", bool: "bool", float: "float64", int: "int64", list: "[]interface {}"}
    found = kinds.get(type(value), "map[string]interface {}")
    shown = gowords.formatted(value)
    return invalid_value(
        field, zero, f"{field} accessor error: {shown} is of the type {found}, expected {wanted}"
    )


class CustomStrategy(Strategy):
    generation = True
    unconditional_update = False

    def __init__(
        self,
        schema: Schema,
        has_status: bool,
        fields: tuple[Selectable, ...],
        deprecation: str,
        scale: ScalePaths | None = None,
    ) -> None:
        self.schema = schema
        self._scale = scale
        self.fields = fields
        self._has_status = has_status
        self._deprecation = deprecation

    def default(self, obj: CustomObject) -> None:
        """Prunes, drops nulls that mean nothing, fills in defaults."""
        structural.prune(obj.content, self.schema, root=True)
        structural.drop_nulls(obj.content, self.schema)
        structural.apply_defaults(obj.content, self.schema)
        for name in structural.ROOT:  # a default of what every object has means nothing
            obj.content.pop(name, None)

    def prepare_for_create(self, obj: CustomObject) -> None:
        """What a client says of the status is dropped, and not what the schema does: upstream reads
        its defaults (those of Gateway API's conditions, say) when it decodes what it has stored.
        """
        if self._has_status and obj.content.pop("status", None) is not None:
            structural.apply_defaults(obj.content, self.schema)

    def prepare_for_update(self, new: CustomObject, old: CustomObject) -> None:
        if self._has_status:
            _keep(new.content, old.content, "status")

    def prepare_for_status(self, new: CustomObject, old: CustomObject) -> None:
        status = {"status": new.content["status"]} if "status" in new.content else {}
        new.content = {
            **{k: copy.deepcopy(v) for k, v in old.content.items() if k != "status"},
            **status,
        }
        managed = new.metadata.managed_fields
        new.metadata = copy.deepcopy(old.metadata)
        new.metadata.managed_fields = managed

    def validate(self, obj: CustomObject) -> list[FieldError]:
        return self._checked(obj, None)

    def validate_change(self, new: CustomObject, old: CustomObject) -> list[FieldError]:
        return self._checked(new, old)

    def validate_status(self, new: CustomObject, old: CustomObject) -> list[FieldError]:
        return self._checked(new, old, status=True)

    def _checked(
        self, obj: CustomObject, old: CustomObject | None, status: bool = False
    ) -> list[FieldError]:
        """What the schema finds, and then what its rules and the scale subresource find. All of them see the whole
        object: the root may ask for its kind or metadata, and count its fields."""
        value = rules.as_seen(obj, self.schema)
        before = rules.as_seen(old, self.schema) if old is not None else structural.UNSET
        found = structural.validate(value, self.schema, "", before)
        if self._scale is not None:
            for part in (True,) if status else (False, True):
                found += self._scale.errors(obj.content, part)
        if not self.schema.has_rules:
            return found
        if any(error.reason in _BLOCKING for error in found):
            return [*found, _UNCHECKED]
        began = time.thread_time()
        found += rules.check_rules(value, self.schema, "", before)
        if time.thread_time() - began > _LONG:
            self.costly = True
        return found

    def desired(self, obj: CustomObject) -> Any:
        if not self._has_status:
            return obj.content
        return {key: value for key, value in obj.content.items() if key != "status"}

    def warnings(self, obj: Any) -> list[str]:
        return [self._deprecation] if self._deprecation else []


def _keep(new: dict[str, Any], old: dict[str, Any], name: str) -> None:
    new.pop(name, None)
    if name in old:
        new[name] = copy.deepcopy(old[name])
