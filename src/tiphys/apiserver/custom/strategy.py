"""What objects of a custom resource obey: their version's schema."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tiphys.api.autoscaling_v1 import Scale
from tiphys.api.custom import CustomObject
from tiphys.apiserver.eventloop.aside import LARGE, weigh_object
from tiphys.apiserver.http.request import MAX_BODY
from tiphys.apiserver.registry.metadata import STANDARD_FINALIZERS
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.scaleviews import ScaleView
from tiphys.machinery import errors, gowords, rules, structural
from tiphys.machinery.errors import FieldError, invalid_value
from tiphys.machinery.jsonpath import get_field, set_field
from tiphys.machinery.names import label_key_errors
from tiphys.machinery.structural import Schema
from tiphys.store.cache import Selectable
from tiphys.store.engine import TOO_LARGE

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
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing"
    " errors to complete validation",
)
_MOST = 2**31 - 1  # replicas
# seconds that rules may take on the event loop; once they took longer, they are run on a thread
_LONG = 0.005


@dataclass(frozen=True)
class ScalePaths(ScaleView[CustomObject]):
    """Where a custom resource keeps what its scale subresource shows."""

    replicas: tuple[str, ...]
    observed: tuple[str, ...]
    selector: tuple[str, ...] | None

    @property
    def path(self) -> tuple[str, ...]:
        return self.replicas

    def fill(self, scale: Scale, obj: CustomObject) -> None:
        wanted = get_field(obj.content, self.replicas)
        if wanted is None:
            field = "." + ".".join(self.replicas)
            raise errors.internal(f'the spec replicas field "{field}" does not exist')
        scale.spec.replicas = int(wanted)
        scale.status.replicas = int(get_field(obj.content, self.observed) or 0)
        if self.selector is not None:
            scale.status.selector = str(get_field(obj.content, self.selector) or "")

    def put(self, obj: CustomObject, scale: Scale) -> None:
        set_field(obj.content, self.replicas, scale.spec.replicas)

    def content_errors(self, content: dict[str, Any], status: bool) -> list[FieldError]:
        """What a Scale could not show, in the specification or in the status."""
        if not status:
            return _replica_errors(content, self.replicas)
        violations = _replica_errors(content, self.observed)
        if self.selector is not None:
            value = get_field(content, self.selector)
            if value is not None and not isinstance(value, str):
                violations.append(_accessor(self.selector, "", value, "string"))
        return violations


def _replica_errors(content: dict[str, Any], path: tuple[str, ...]) -> list[FieldError]:
    value = get_field(content, path)
    field = "." + ".".join(path)
    if value is None:
        return []
    if isinstance(value, bool) or not isinstance(value, int):
        return [_accessor(path, 0, value, "int64")]
    if value < 0:
        return [invalid_value(field, value, "should be a non-negative integer")]
    if value > _MOST:
        return [invalid_value(field, value, f"should be less than or equal to {_MOST}")]
    return []


def _accessor(path: tuple[str, ...], zero: Any, value: Any, wanted: str) -> FieldError:
    field = "." + ".".join(path)
    kinds = {str: "string", bool: "bool", float: "float64", int: "int64", list: "[]interface {}"}
    go_type = kinds.get(type(value), "map[string]interface {}")
    shown = gowords.formatted(value)
    return invalid_value(
        field, zero, f"{field} accessor error: {shown} is of the type {go_type}, expected {wanted}"
    )


class CustomStrategy(Strategy[CustomObject]):
    generation = True
    unconditional_update = False

    def __init__(
        self,
        schema: Schema,
        has_status: bool,
        fields: tuple[Selectable, ...],
        scale: ScalePaths | None = None,
    ) -> None:
        self.schema = schema
        self.scale = scale
        self._paths = scale
        self.fields = fields
        self._has_status = has_status

    def default(self, obj: CustomObject) -> None:
        """Prunes, drops nulls that mean nothing, fills in defaults."""
        structural.prune(obj.content, self.schema, root=True)
        structural.drop_nulls(obj.content, self.schema)
        self._fill_in(obj)
        for name in structural.ROOT:  # a default of what every object has means nothing
            obj.content.pop(name, None)

    def _fill_in(self, obj: CustomObject) -> None:
        growth = structural.Growth(MAX_BODY)
        try:
            structural.apply_defaults(obj.content, self.schema, growth)
        except structural.TooMuch:
            raise errors.unspecified(TOO_LARGE) from None
        if growth.size > LARGE:
            weigh_object(growth.size)

    def prepare_for_create(self, obj: CustomObject) -> None:
        """A client's status is dropped, and not what the schema does: upstream reads
        its defaults (those of Gateway API's conditions, say) when it decodes what it has stored.
        """
        if self._has_status and obj.content.pop("status", None) is not None:
            self._fill_in(obj)

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
        """What the schema finds, and then what its rules and the scale subresource find. All of
        them see the whole object: the root may ask for its kind or metadata, and count its fields.
        """
        value = rules.as_seen(obj, self.schema)
        before = rules.as_seen(old, self.schema) if old is not None else structural.UNSET
        violations = structural.validate(value, self.schema, "", before)
        if self._paths is not None:
            for part in (True,) if status else (False, True):
                violations += self._paths.content_errors(obj.content, part)
        if not self.schema.has_rules:
            return violations
        if any(error.reason in _BLOCKING for error in violations):
            return [*violations, _UNCHECKED]
        began = time.thread_time()
        violations += rules.check_rules(value, self.schema, "", before)
        if time.thread_time() - began > _LONG:
            self.costly = True
        return violations

    def desired(self, obj: CustomObject) -> Any:
        if not self._has_status:
            return obj.content
        return {key: value for key, value in obj.content.items() if key != "status"}

    def warnings(self, new: CustomObject, old: CustomObject | None) -> Iterator[str]:
        """Of finalizers that are new: upstream only recommends what it demands of built-in
        resources."""
        known = old.metadata.finalizers if old is not None else []
        for finalizer in sorted(set(new.metadata.finalizers).difference(known)):
            field = f'metadata.finalizers: "{finalizer}"'
            for problem in label_key_errors(finalizer):
                yield f"{field}: {problem}"
            if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
                path = " including a path (/)" if "." in finalizer else ""
                advice = f"prefer a domain-qualified finalizer name{path}"
                yield (
                    f"{field}: {advice} to avoid accidental conflicts with other finalizer writers"
                )


def _keep(new: dict[str, Any], old: dict[str, Any], name: str) -> None:
    new.pop(name, None)
    if name in old:
        new[name] = copy.deepcopy(old[name])
