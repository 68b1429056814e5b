"""Device classes."""

from __future__ import annotations

from tiphys.api import resource_v1 as v1
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME
from tiphys.apiserver.resources.devices import check_items, configuration, selectors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import label_key_errors


class DeviceClassStrategy(Strategy[v1.DeviceClass]):
    columns = (NAME, AGE)

    generation = True

    def validate(self, obj: v1.DeviceClass) -> list[FieldError]:
        violations = selectors(obj.spec.selectors, "spec.selectors") + check_items(
            obj.spec.config, "spec.config", configuration, 32
        )
        name = obj.spec.extended_resource_name
        path = "spec.extendedResourceName"
        if name is None:
            return violations
        if "/" not in name:
            detail = "a name must be a domain-prefixed path, such as 'example.com/my-prop'"
            violations.append(errors.invalid_value(path, name, detail))
        elif "kubernetes.io/" in name:
            violations.append(
                errors.invalid_value(path, name, 'must not have "kubernetes.io/" domain')
            )
        if name.startswith("requests."):
            violations.append(errors.invalid_value(path, name, 'must not have "requests." prefix'))
        return violations + [
            errors.invalid_value(path, name, detail)
            for detail in label_key_errors(f"requests.{name}")
        ]
