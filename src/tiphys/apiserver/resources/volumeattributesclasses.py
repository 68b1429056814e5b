"""Volume attributes classes."""

from __future__ import annotations

from tiphys.api import storage_v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.storage import parameter_errors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError


class VolumeAttributesClassStrategy(Strategy[storage_v1.VolumeAttributesClass]):
    columns = (NAME, Column("DriverName", lambda o: o.driver_name), AGE)

    def validate(self, obj: storage_v1.VolumeAttributesClass) -> list[FieldError]:
        violations = checks.driver(obj.driver_name, "driverName")
        if not obj.parameters:
            violations.append(
                errors.required("parameters", "must contain at least one key/value pair")
            )
        return violations + parameter_errors(obj.parameters)

    def validate_update(
        self, new: storage_v1.VolumeAttributesClass, old: storage_v1.VolumeAttributesClass
    ) -> list[FieldError]:
        violations = immutable("driverName", new.driver_name, old.driver_name)
        if new.parameters != old.parameters:
            detail = "updates to parameters are forbidden."
            violations.append(errors.forbidden_field("parameters", detail))
        return violations
