"""CSI drivers: the capabilities of volume drivers."""

from __future__ import annotations

from tiphys.api import storage_v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column, joined
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError


class CSIDriverStrategy(Strategy[storage_v1.CSIDriver]):
    """The capabilities of a volume driver."""

    unconditional_update = False
    columns = (
        NAME,
        Column("AttachRequired", lambda o: bool(o.spec.attach_required), type="boolean"),
        Column("PodInfoOnMount", lambda o: bool(o.spec.pod_info_on_mount), type="boolean"),
        Column("StorageCapacity", lambda o: bool(o.spec.storage_capacity), type="boolean"),
        Column(
            "TokenRequests",
            lambda o: joined((t.audience for t in o.spec.token_requests), "<unset>"),
        ),
        Column("RequiresRepublish", lambda o: bool(o.spec.requires_republish), type="boolean"),
        Column("Modes", lambda o: joined(o.spec.volume_lifecycle_modes)),
        AGE,
    )
    returns_deleted = True

    def default(self, obj: storage_v1.CSIDriver) -> None:
        spec = obj.spec
        spec.attach_required = True if spec.attach_required is None else spec.attach_required
        spec.pod_info_on_mount = bool(spec.pod_info_on_mount)
        spec.storage_capacity = bool(spec.storage_capacity)
        spec.requires_republish = bool(spec.requires_republish)
        spec.se_linux_mount = bool(spec.se_linux_mount)
        spec.fs_group_policy = spec.fs_group_policy or "ReadWriteOnceWithFSType"
        spec.volume_lifecycle_modes = spec.volume_lifecycle_modes or ["Persistent"]

    def validate(self, obj: storage_v1.CSIDriver) -> list[FieldError]:
        spec = obj.spec
        violations = checks.driver(obj.metadata.name, "metadata.name")
        for mode in spec.volume_lifecycle_modes:
            if mode not in ("Ephemeral", "Persistent"):
                violations.append(
                    errors.not_supported(
                        "spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent")
                    )
                )
        policies = ("File", "None", "ReadWriteOnceWithFSType")
        violations += checks.one_of(spec.fs_group_policy, policies, "spec.fsGroupPolicy")
        seen: set[str] = set()
        for index, request in enumerate(spec.token_requests):
            path = f"spec.tokenRequests[{index}]"
            seconds = request.expiration_seconds
            if request.audience in seen:
                violations.append(errors.duplicate(f"{path}.audience", request.audience))
            seen.add(request.audience)
            violations += checks.token_seconds(seconds, f"{path}.expirationSeconds")
        period = spec.node_allocatable_update_period_seconds
        if period is not None and period < 10:
            detail = "must be greater than or equal to 10 seconds"
            violations.append(
                errors.invalid_value("spec.nodeAllocatableUpdatePeriodSeconds", period, detail)
            )
        return violations

    def validate_update(
        self, new: storage_v1.CSIDriver, old: storage_v1.CSIDriver
    ) -> list[FieldError]:
        return [
            *immutable("spec.attachRequired", new.spec.attach_required, old.spec.attach_required),
            *immutable(
                "spec.volumeLifecycleModes",
                new.spec.volume_lifecycle_modes,
                old.spec.volume_lifecycle_modes,
            ),
        ]
