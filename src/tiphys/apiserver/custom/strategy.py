"""What objects of a custom resource obey: their version's schema."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api.custom import CustomObject
from tiphys.apiserver.strategies.base import Strategy
from tiphys.machinery import rules, structural
from tiphys.machinery.errors import FieldError
from tiphys.machinery.structural import Schema
from tiphys.store.cache import Selectable


class CustomStrategy(Strategy):
    generation = True
    unconditional_update = False

    def __init__(self, schema: Schema, has_status: bool, fields: tuple[Selectable, ...], deprecation: str) -> None:
        self.schema = schema
        self.fields = fields
        self._has_status = has_status
        self._deprecation = deprecation

    def default(self, obj: CustomObject) -> None:
        """Prunes, drops nulls that mean nothing, fills in defaults."""
        structural.prune(obj.content, self.schema, root=True)
        structural.drop_nulls(obj.content, self.schema)
        structural.apply_defaults(obj.content, self.schema)

    def prepare_for_create(self, obj: CustomObject) -> None:
        if self._has_status:
            obj.content.pop("status", None)

    def prepare_for_update(self, new: CustomObject, old: CustomObject) -> None:
        if self._has_status:
            _keep(new.content, old.content, "status")

    def prepare_for_status(self, new: CustomObject, old: CustomObject) -> None:
        status = {"status": new.content["status"]} if "status" in new.content else {}
        new.content = {**{k: copy.deepcopy(v) for k, v in old.content.items() if k != "status"}, **status}
        managed = new.metadata.managed_fields
        new.metadata = copy.deepcopy(old.metadata)
        new.metadata.managed_fields = managed

    def validate(self, obj: CustomObject) -> list[FieldError]:
        return structural.validate(obj.content, self.schema) or self._rules(obj, None)

    def validate_change(self, new: CustomObject, old: CustomObject) -> list[FieldError]:
        return structural.validate(new.content, self.schema, "", old.content) or self._rules(new, old)

    def _rules(self, obj: CustomObject, old: CustomObject | None) -> list[FieldError]:
        if not self.schema.has_rules:
            return []
        before = rules.as_seen(old) if old is not None else structural.UNSET
        return rules.check_rules(rules.as_seen(obj), self.schema, "", before)

    def validate_status(self, new: CustomObject, old: CustomObject) -> list[FieldError]:
        return self.validate_change(new, old)

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
