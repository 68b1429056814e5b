"""ConfigMaps."""

from __future__ import annotations

from tiphys.api.core_v1 import ConfigMap
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.immutability import immutability_errors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import config_key_errors

_MOST_BYTES = 1 << 20  # of all values together


class ConfigMapStrategy(Strategy[ConfigMap]):
    columns = (NAME, Column("Data", lambda o: len(o.data) + len(o.binary_data)), AGE)

    def validate(self, obj: ConfigMap) -> list[FieldError]:
        violations = []
        for key in obj.data:
            violations += checks.obeys(key, config_key_errors, f"data[{key}]")
        for key in obj.binary_data:
            violations += checks.obeys(key, config_key_errors, f"binaryData[{key}]")
        for key in obj.data:
            if key in obj.binary_data:
                detail = "duplicate of key present in binaryData"
                violations.append(errors.invalid_value(f"data[{key}]", key, detail))
        size = sum(map(len, obj.data.values())) + sum(map(len, obj.binary_data.values()))
        if size > _MOST_BYTES:
            violations.append(errors.too_long("", _MOST_BYTES))
        return violations

    def validate_update(self, new: ConfigMap, old: ConfigMap) -> list[FieldError]:
        return immutability_errors(new, old, {"data": "data", "binary_data": "binaryData"})
