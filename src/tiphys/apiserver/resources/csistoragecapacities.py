"""CSI storage capacities."""

from __future__ import annotations

from tiphys.api import storage_v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import NAME, Column
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError


class CSIStorageCapacityStrategy(Strategy[storage_v1.CSIStorageCapacity]):
    unconditional_update = False
    columns = (
        NAME,
        Column("StorageClassName", lambda o: o.storage_class_name),
        Column("Capacity", lambda o: o.capacity or ""),
    )

    def validate(self, obj: storage_v1.CSIStorageCapacity) -> list[FieldError]:
        violations = checks.required(obj.storage_class_name, "storageClassName")
        violations += checks.subdomain(obj.storage_class_name, "storageClassName")
        for name, amount in (
            ("capacity", obj.capacity),
            ("maximumVolumeSize", obj.maximum_volume_size),
        ):
            if amount is not None and quantity.nano(amount) < 0:
                violations.append(errors.invalid_value(name, amount, checks.NATURAL))
        return violations + checks.label_selector(obj.node_topology, "nodeTopology")

    def validate_update(
        self, new: storage_v1.CSIStorageCapacity, old: storage_v1.CSIStorageCapacity
    ) -> list[FieldError]:
        violations = immutable("nodeTopology", new.node_topology, old.node_topology)
        return violations + immutable(
            "storageClassName", new.storage_class_name, old.storage_class_name
        )
