"""Storage classes."""

from __future__ import annotations

from typing import Any

from tiphys.api import storage_v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.storage import parameter_errors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import label_key_errors


class StorageClassStrategy(Strategy[storage_v1.StorageClass]):
    columns = (
        NAME,
        Column("Provisioner", lambda o: o.provisioner),
        Column("ReclaimPolicy", lambda o: o.reclaim_policy),
        Column("VolumeBindingMode", lambda o: o.volume_binding_mode),
        Column("AllowVolumeExpansion", lambda o: bool(o.allow_volume_expansion)),
        AGE,
    )
    returns_deleted = True

    def default(self, obj: storage_v1.StorageClass) -> None:
        obj.reclaim_policy = obj.reclaim_policy or "Delete"
        obj.volume_binding_mode = obj.volume_binding_mode or "Immediate"

    def validate(self, obj: storage_v1.StorageClass) -> list[FieldError]:
        violations = checks.required(obj.provisioner, "provisioner") + checks.qualified(
            obj.provisioner.lower(), "provisioner"
        )
        violations += parameter_errors(obj.parameters)
        for index, term in enumerate(obj.allowed_topologies):
            violations += _topology(term, f"allowedTopologies[{index}]")
        violations += checks.one_of(obj.reclaim_policy, ("Delete", "Retain"), "reclaimPolicy")
        return violations + checks.one_of(
            obj.volume_binding_mode, ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode"
        )

    def validate_update(
        self, new: storage_v1.StorageClass, old: storage_v1.StorageClass
    ) -> list[FieldError]:
        return [
            errors.forbidden_field(name, f"updates to {name} are forbidden.")
            for name, attribute in (
                ("parameters", "parameters"),
                ("provisioner", "provisioner"),
                ("reclaimPolicy", "reclaim_policy"),
            )
            if getattr(new, attribute) != getattr(old, attribute)
        ] + immutable("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)


def _topology(term: Any, path: str) -> list[FieldError]:
    if not term.match_label_expressions:
        return [errors.required(path)]
    violations: list[FieldError] = []
    seen: set[str] = set()
    for index, expression in enumerate(term.match_label_expressions):
        field = f"{path}.matchLabelExpressions[{index}]"
        violations += checks.required(expression.values, f"{field}.values")
        for number, value in enumerate(expression.values):
            if value in expression.values[:number]:
                violations.append(errors.duplicate(f"{field}.values[{number}]", value))
        violations += [
            errors.invalid_value(f"{field}.key", expression.key, detail)
            for detail in label_key_errors(expression.key)
        ]
        if expression.key in seen:
            violations.append(errors.duplicate(f"{field}.key", expression.key))
        seen.add(expression.key)
    return violations
