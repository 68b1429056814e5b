"""Volume attachments."""

from __future__ import annotations

from tiphys.api import storage_v1
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError


class VolumeAttachmentStrategy(Strategy[storage_v1.VolumeAttachment]):
    unconditional_update = False
    columns = (
        NAME,
        Column("Attacher", lambda o: o.spec.attacher, format="name"),
        Column("PV", lambda o: o.spec.source.persistent_volume_name or ""),
        Column("Node", lambda o: o.spec.node_name),
        Column("Attached", lambda o: bool(o.status.attached), type="boolean"),
        AGE,
    )
    returns_deleted = True

    status_alone = True

    def validate(self, obj: storage_v1.VolumeAttachment) -> list[FieldError]:
        violations = checks.driver(obj.spec.attacher, "spec.attacher")
        source = obj.spec.source
        if source.inline_volume_spec is not None and source.persistent_volume_name is not None:
            detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            violations.append(errors.forbidden_field("spec.source", detail))
        elif source.inline_volume_spec is not None:
            if source.inline_volume_spec.csi is None:
                violations.append(errors.required("spec.source.inlineVolumeSpec.csi", ""))
        elif not source.persistent_volume_name:
            detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
            violations.append(errors.required("spec.source", detail))
        else:
            violations += checks.subdomain(
                source.persistent_volume_name, "spec.source.persistentVolumeName"
            )
        violations += checks.required(obj.spec.node_name, "spec.nodeName")
        return violations + checks.subdomain(obj.spec.node_name, "spec.nodeName")

    def validate_update(
        self, new: storage_v1.VolumeAttachment, old: storage_v1.VolumeAttachment
    ) -> list[FieldError]:
        return immutable("spec", new.spec, old.spec)
