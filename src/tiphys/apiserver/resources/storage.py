"""Claims, volumes and storage classes."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1 as v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.poddefaults import default_source
from tiphys.apiserver.resources.podplacement import validate_node_selector
from tiphys.apiserver.resources.podvolumes import host_path_errors, nfs_errors
from tiphys.machinery import errors, quantity
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, label_key_errors


class ClaimStrategy(Strategy):
    def default(self, obj: v1.PersistentVolumeClaim) -> None:
        spec = obj.spec
        spec.volume_mode = spec.volume_mode or "Filesystem"
        if spec.data_source is not None and spec.data_source_ref is None:
            source = spec.data_source
            spec.data_source_ref = v1.TypedObjectReference(
                api_group=source.api_group, kind=source.kind, name=source.name
            )
        elif (
            spec.data_source_ref is not None
            and spec.data_source is None
            and spec.data_source_ref.namespace is None
        ):
            given = spec.data_source_ref
            spec.data_source = v1.TypedLocalObjectReference(
                api_group=given.api_group, kind=given.kind, name=given.name
            )

    def prepare_for_create(self, obj: v1.PersistentVolumeClaim) -> None:
        obj.status = v1.PersistentVolumeClaimStatus(phase="Pending")

    def validate(self, obj: v1.PersistentVolumeClaim) -> list[FieldError]:
        found = []
        if not obj.spec.access_modes:
            found.append(errors.required("spec.accessModes", "at least 1 access mode is required"))
        found += _modes(obj.spec)
        size = obj.spec.resources.requests.get("storage")
        if size is None:
            found.append(errors.required("spec.resources[storage]"))
        elif quantity.nano(size) <= 0:
            found.append(
                errors.invalid_value("spec.resources[storage]", size, "must be greater than zero")
            )
        found += checks.subdomain(obj.spec.storage_class_name, "spec.storageClassName")
        found += checks.label_selector(obj.spec.selector, "spec.selector")
        found += _source_errors(obj.spec.data_source, "spec.dataSource")
        found += _source_errors(obj.spec.data_source_ref, "spec.dataSourceRef")
        return found + checks.subdomain(
            obj.spec.volume_attributes_class_name, "spec.volumeAttributesClassName"
        )

    def validate_update(
        self, new: v1.PersistentVolumeClaim, old: v1.PersistentVolumeClaim
    ) -> list[FieldError]:
        import copy

        spec = copy.deepcopy(new.spec)
        wanted, before = (
            spec.resources.requests.get("storage"),
            old.spec.resources.requests.get("storage"),
        )
        found = []
        if wanted is not None and before is not None and old.status.phase == "Bound":
            if (
                quantity.nano(wanted) < quantity.nano(old.status.capacity.get("storage", before))
                and wanted != before
            ):
                path = "spec.resources.requests.storage"
                found.append(
                    errors.forbidden_field(path, "field can not be less than status.capacity")
                )
            spec.resources.requests["storage"] = before
        if not old.spec.volume_name:
            spec.volume_name = ""
        if old.spec.storage_class_name is None:
            spec.storage_class_name = None
        spec.volume_attributes_class_name = old.spec.volume_attributes_class_name
        if spec != old.spec:
            why = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            found.append(errors.forbidden_field("spec", why))
        return found


def _source_errors(source: Any, at: str) -> list[FieldError]:
    """Of what a claim's volume is to be filled from."""
    if source is None:
        return []
    found = checks.given(source.name, f"{at}.name") + checks.given(source.kind, f"{at}.kind")
    if not source.api_group and source.kind != "PersistentVolumeClaim":
        why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        found.append(errors.invalid_value(at, source.kind, why))
    found += checks.subdomain(source.api_group, f"{at}.apiGroup")
    return found + checks.named(
        getattr(source, "namespace", None) or "", dns_label_errors, f"{at}.namespace"
    )


class VolumeStrategy(Strategy):
    def default(self, obj: v1.PersistentVolume) -> None:
        obj.spec.volume_mode = obj.spec.volume_mode or "Filesystem"
        obj.spec.persistent_volume_reclaim_policy = (
            obj.spec.persistent_volume_reclaim_policy or "Retain"
        )
        if obj.spec.host_path is not None and obj.spec.host_path.type is None:
            obj.spec.host_path.type = ""
        default_source(obj.spec)

    def prepare_for_create(self, obj: v1.PersistentVolume) -> None:
        obj.status = v1.PersistentVolumeStatus(phase="Pending")

    def validate(self, obj: v1.PersistentVolume) -> list[FieldError]:
        found = []
        if not obj.spec.access_modes:
            found.append(errors.required("spec.accessModes"))
        if "storage" not in obj.spec.capacity:
            found += [] if obj.spec.capacity else [errors.required("spec.capacity")]
            found.append(
                errors.not_supported("spec.capacity", dict(obj.spec.capacity) or None, ("storage",))
            )
        found += _modes(obj.spec) + checks.amounts(obj.spec.capacity, "spec.capacity")
        policy = obj.spec.persistent_volume_reclaim_policy
        found += checks.one_of(
            policy, ("Delete", "Recycle", "Retain"), "spec.persistentVolumeReclaimPolicy"
        )
        sources = _volume_sources(obj.spec)
        if not sources:
            found.append(errors.required("spec", "must specify a volume type"))
        for name in list(sources)[1:]:
            found.append(
                errors.forbidden_field(f"spec.{name}", "may not specify more than 1 volume type")
            )
        if obj.spec.host_path is not None:
            found += host_path_errors(obj.spec.host_path, "spec.hostPath")
        if obj.spec.nfs is not None:
            found += nfs_errors(obj.spec.nfs, "spec.nfs")
        return found + _kept_errors(obj.spec)

    def validate_update(
        self, new: v1.PersistentVolume, old: v1.PersistentVolume
    ) -> list[FieldError]:
        if _volume_sources(new.spec) == _volume_sources(old.spec):
            return []
        why = "spec.persistentvolumesource is immutable after creation"
        return [errors.forbidden_field("spec.persistentvolumesource", why)]


def _kept_errors(spec: v1.PersistentVolumeSpec) -> list[FieldError]:
    """Where a volume is and which classes it is of."""
    where, found = spec.node_affinity, list[FieldError]()
    if where is not None:
        at = "spec.nodeAffinity.required"
        if where.required is None:
            found.append(errors.required(at, "must specify required node constraints"))
        else:
            found += validate_node_selector(where.required, at)
    if spec.local is not None:
        found += checks.given(spec.local.path, "spec.local.path")
        if where is None:
            found.append(
                errors.required("spec.nodeAffinity", "Local volume requires node affinity")
            )
    found += checks.subdomain(spec.storage_class_name, "spec.storageClassName")
    attributes, at = spec.volume_attributes_class_name, "spec.volumeAttributesClassName"
    if attributes is not None:
        found += checks.given(attributes, at, "an empty string is disallowed") + checks.subdomain(
            attributes, at
        )
        if spec.csi is None:
            why = "has to be specified when using volumeAttributesClassName"
            found.append(errors.required("spec.csi", why))
    if spec.csi is not None:
        found += checks.driver(spec.csi.driver, "spec.csi.driver")
        found += checks.given(spec.csi.volume_handle, "spec.csi.volumeHandle")
    return found


def _volume_sources(spec: v1.PersistentVolumeSpec) -> dict[str, Any]:
    """What kinds of volume a spec describes, by JSON name."""
    kind = v1.PersistentVolumeSource
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return {name: found for field, name in names if (found := getattr(spec, field)) is not None}


def _modes(spec: Any) -> list[FieldError]:
    """Of a claim or a volume."""
    allowed = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    found = [
        error
        for mode in spec.access_modes
        for error in checks.one_of(mode, allowed, "spec.accessModes")
    ]
    if "ReadWriteOncePod" in spec.access_modes and len(set(spec.access_modes)) > 1:
        why = "may not use ReadWriteOncePod with other access modes"
        found.append(errors.forbidden_field("spec.accessModes", why))
    return found + checks.one_of(spec.volume_mode, ("Block", "Filesystem"), "spec.volumeMode")


class AttachmentStrategy(Strategy):
    status_alone = True

    def validate(self, obj: Any) -> list[FieldError]:
        found = checks.driver(obj.spec.attacher, "spec.attacher")
        source = obj.spec.source
        if source.inline_volume_spec is not None and source.persistent_volume_name is not None:
            why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            found.append(errors.forbidden_field("spec.source", why))
        elif source.inline_volume_spec is not None:
            if source.inline_volume_spec.csi is None:
                found.append(errors.required("spec.source.inlineVolumeSpec.csi", ""))
        elif not source.persistent_volume_name:
            why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            found.append(errors.required("spec.source", why))
        else:
            found += checks.subdomain(
                source.persistent_volume_name, "spec.source.persistentVolumeName"
            )
        found += checks.given(obj.spec.node_name, "spec.nodeName")
        return found + checks.subdomain(obj.spec.node_name, "spec.nodeName")

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return immutable("spec", new.spec, old.spec)


class StorageClassStrategy(Strategy):
    def default(self, obj: Any) -> None:
        obj.reclaim_policy = obj.reclaim_policy or "Delete"
        obj.volume_binding_mode = obj.volume_binding_mode or "Immediate"

    def validate(self, obj: Any) -> list[FieldError]:
        found = checks.given(obj.provisioner, "provisioner") + checks.qualified(
            obj.provisioner.lower(), "provisioner"
        )
        found += _parameters(obj.parameters)
        for index, term in enumerate(obj.allowed_topologies):
            found += _topology(term, f"allowedTopologies[{index}]")
        found += checks.one_of(obj.reclaim_policy, ("Delete", "Retain"), "reclaimPolicy")
        return found + checks.one_of(
            obj.volume_binding_mode, ("Immediate", "WaitForFirstConsumer"), "volumeBindingMode"
        )

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return [
            errors.forbidden_field(name, f"updates to {name} are forbidden.")
            for name, attribute in (
                ("parameters", "parameters"),
                ("provisioner", "provisioner"),
                ("reclaimPolicy", "reclaim_policy"),
            )
            if getattr(new, attribute) != getattr(old, attribute)
        ] + immutable("volumeBindingMode", new.volume_binding_mode, old.volume_binding_mode)


def _parameters(values: dict[str, str]) -> list[FieldError]:
    found = [
        errors.invalid_value("parameters", key, "field can not be empty.")
        for key in values
        if not key
    ]
    if sum(len(key) + len(value) for key, value in values.items()) > 256 * 1024:
        found.append(errors.too_long("parameters", 256 * 1024))
    return found


def _topology(term: Any, at: str) -> list[FieldError]:
    if not term.match_label_expressions:
        return [errors.required(at)]
    found: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(term.match_label_expressions):
        where = f"{at}.matchLabelExpressions[{index}]"
        found += checks.given(one.values, f"{where}.values")
        for number, value in enumerate(one.values):
            if value in one.values[:number]:
                found.append(errors.duplicate(f"{where}.values[{number}]", value))
        found += [
            errors.invalid_value(f"{where}.key", one.key, why) for why in label_key_errors(one.key)
        ]
        if one.key in seen:
            found.append(errors.duplicate(f"{where}.key", one.key))
        seen.add(one.key)
    return found


class AttributesClassStrategy(Strategy):
    def validate(self, obj: Any) -> list[FieldError]:
        found = checks.driver(obj.driver_name, "driverName")
        if not obj.parameters:
            found.append(errors.required("parameters", "must contain at least one key/value pair"))
        return found + _parameters(obj.parameters)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        found = immutable("driverName", new.driver_name, old.driver_name)
        why = "updates to parameters are forbidden."
        return found + (
            [errors.forbidden_field("parameters", why)] if new.parameters != old.parameters else []
        )


class DriverStrategy(Strategy):
    """What a driver of volumes says of itself."""

    generation = False

    def default(self, obj: Any) -> None:
        spec = obj.spec
        spec.attach_required = True if spec.attach_required is None else spec.attach_required
        spec.pod_info_on_mount = bool(spec.pod_info_on_mount)
        spec.storage_capacity = bool(spec.storage_capacity)
        spec.requires_republish = bool(spec.requires_republish)
        spec.se_linux_mount = bool(spec.se_linux_mount)
        spec.fs_group_policy = spec.fs_group_policy or "ReadWriteOnceWithFSType"
        spec.volume_lifecycle_modes = spec.volume_lifecycle_modes or ["Persistent"]

    def validate(self, obj: Any) -> list[FieldError]:
        spec, found = obj.spec, checks.driver(obj.metadata.name, "metadata.name")
        for mode in spec.volume_lifecycle_modes:
            if mode not in ("Ephemeral", "Persistent"):
                found.append(
                    errors.not_supported(
                        "spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent")
                    )
                )
        policies = ("File", "None", "ReadWriteOnceWithFSType")
        found += checks.one_of(spec.fs_group_policy, policies, "spec.fsGroupPolicy")
        seen: set[str] = set()
        for index, request in enumerate(spec.token_requests):
            at, seconds = f"spec.tokenRequests[{index}]", request.expiration_seconds
            if request.audience in seen:
                found.append(errors.duplicate(f"{at}.audience", request.audience))
            seen.add(request.audience)
            if seconds is not None and seconds < 600:
                why = "may not specify a duration less than 10 minutes"
                found.append(errors.invalid_value(f"{at}.expirationSeconds", seconds, why))
            elif seconds is not None and seconds > 1 << 32:
                why = "may not specify a duration larger than 2^32 seconds"
                found.append(errors.invalid_value(f"{at}.expirationSeconds", seconds, why))
        period = spec.node_allocatable_update_period_seconds
        if period is not None and period < 10:
            why = "must be greater than or equal to 10 seconds"
            found.append(
                errors.invalid_value("spec.nodeAllocatableUpdatePeriodSeconds", period, why)
            )
        return found

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        return [
            *immutable("spec.attachRequired", new.spec.attach_required, old.spec.attach_required),
            *immutable(
                "spec.volumeLifecycleModes",
                new.spec.volume_lifecycle_modes,
                old.spec.volume_lifecycle_modes,
            ),
        ]


class DriverNodeStrategy(Strategy):
    """The drivers of volumes on one node."""

    def validate(self, obj: Any) -> list[FieldError]:
        found: list[FieldError] = []
        seen: set[str] = set()
        for index, one in enumerate(obj.spec.drivers):
            at = f"spec.drivers[{index}]"
            found += checks.driver(one.name, f"{at}.name") + checks.given(
                one.node_id, f"{at}.nodeID"
            )
            if one.name in seen:
                found.append(errors.duplicate(f"{at}.name", one.name))
            seen.add(one.name)
            if len(one.node_id) > 192:
                found.append(
                    errors.invalid_value(
                        f"{at}.nodeID", one.node_id, "must be 192 characters or less"
                    )
                )
            if one.allocatable is not None:
                found += checks.natural(one.allocatable.count, f"{at}.allocatable.count")
            for number, key in enumerate(one.topology_keys):
                found += [
                    errors.invalid_value(f"{at}.topologyKeys", key, why)
                    for why in label_key_errors(key)
                ]
                if key in one.topology_keys[:number]:
                    found.append(errors.duplicate(f"{at}.topologyKeys", key))
        return found


class CapacityStrategy(Strategy):
    def validate(self, obj: Any) -> list[FieldError]:
        found = checks.given(obj.storage_class_name, "storageClassName")
        found += checks.subdomain(obj.storage_class_name, "storageClassName")
        for name, amount in (
            ("capacity", obj.capacity),
            ("maximumVolumeSize", obj.maximum_volume_size),
        ):
            if amount is not None and quantity.nano(amount) < 0:
                found.append(errors.invalid_value(name, amount, checks.NATURAL))
        return found + checks.label_selector(obj.node_topology, "nodeTopology")

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        found = immutable("nodeTopology", new.node_topology, old.node_topology)
        return found + immutable("storageClassName", new.storage_class_name, old.storage_class_name)
