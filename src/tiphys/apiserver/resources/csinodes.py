"""CSI nodes: the drivers of volumes on each node."""

from __future__ import annotations

from tiphys.api import storage_v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import label_key_errors


class CSINodeStrategy(Strategy[storage_v1.CSINode]):
    """The drivers of volumes on one node."""

    unconditional_update = False
    columns = (NAME, Column("Drivers", lambda o: len(o.spec.drivers), type="integer"), AGE)
    returns_deleted = True

    def validate(self, obj: storage_v1.CSINode) -> list[FieldError]:
        violations: list[FieldError] = []
        seen: set[str] = set()
        for index, driver in enumerate(obj.spec.drivers):
            path = f"spec.drivers[{index}]"
            violations += checks.driver(driver.name, f"{path}.name") + checks.required(
                driver.node_id, f"{path}.nodeID"
            )
            if driver.name in seen:
                violations.append(errors.duplicate(f"{path}.name", driver.name))
            seen.add(driver.name)
            if len(driver.node_id) > 192:
                violations.append(
                    errors.invalid_value(
                        f"{path}.nodeID", driver.node_id, "must be 192 characters or less"
                    )
                )
            if driver.allocatable is not None:
                violations += checks.natural(driver.allocatable.count, f"{path}.allocatable.count")
            for number, key in enumerate(driver.topology_keys):
                violations += [
                    errors.invalid_value(f"{path}.topologyKeys", key, detail)
                    for detail in label_key_errors(key)
                ]
                if key in driver.topology_keys[:number]:
                    violations.append(errors.duplicate(f"{path}.topologyKeys", key))
        return violations
