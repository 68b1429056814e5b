"""What a pod's volume asks of its CSI driver, whether its spec has it or a claim's volume. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

from tiphys.api import core_v1

PERSISTENT, EPHEMERAL = "Persistent", "Ephemeral"


class SecretName(NamedTuple):
    namespace: str
    name: str


@dataclass(frozen=True)
class VolumeSource:
    """
    name: of the persistent volume, or of the volume in the pod's spec
    handle: by which the driver knows it
    attributes: the volume context of every request
    access_modes: of the persistent volume; the first is what the driver is asked for
    """

    name: str
    driver: str
    handle: str
    lifecycle: str = PERSISTENT
    attributes: dict[str, str] = field(default_factory=dict)
    fs_type: str = ""
    mount_options: list[str] = field(default_factory=list)
    access_modes: list[str] = field(default_factory=lambda: ["ReadWriteOnce"])
    read_only: bool = False
    is_block: bool = False
    stage_secret: SecretName | None = None
    publish_secret: SecretName | None = None
    expand_secret: SecretName | None = None

    @property
    def unique_name(self) -> str:
        """As the node's status calls it."""
        return unique_name(self.driver, self.handle)


def unique_name(driver: str, handle: str) -> str:
    return f"kubernetes.io/csi/{driver}^{handle}"


def attachment_name(driver: str, handle: str, node: str) -> str:
    """Of the VolumeAttachment by which a volume is attached to a node."""
    return f"csi-{hashlib.sha256((handle + driver + node).encode()).hexdigest()}"


def of_persistent(volume: core_v1.PersistentVolume, read_only: bool) -> VolumeSource:
    """`read_only` is what the pod's spec says of its claim."""
    spec = volume.spec
    csi = volume.spec.csi
    assert csi is not None
    return VolumeSource(
        name=volume.metadata.name,
        driver=csi.driver,
        handle=csi.volume_handle,
        attributes=dict(csi.volume_attributes),
        fs_type=csi.fs_type,
        mount_options=list(spec.mount_options),
        access_modes=list(spec.access_modes) or ["ReadWriteOnce"],
        read_only=read_only,  # the source's own readOnly is for attaching, as upstream
        is_block=spec.volume_mode == "Block",
        stage_secret=_secret(csi.node_stage_secret_ref),
        publish_secret=_secret(csi.node_publish_secret_ref),
        expand_secret=_secret(csi.node_expand_secret_ref),
    )


def of_inline(pod: core_v1.Pod, volume: core_v1.Volume) -> VolumeSource:
    csi = volume.csi
    assert csi is not None
    meta = pod.metadata
    secret = csi.node_publish_secret_ref
    digest = hashlib.sha256((meta.uid + volume.name).encode()).hexdigest()
    return VolumeSource(
        name=volume.name,
        driver=csi.driver,
        handle=f"csi-{digest}",
        lifecycle=EPHEMERAL,
        attributes=dict(csi.volume_attributes),
        fs_type=csi.fs_type or "",
        read_only=bool(csi.read_only),
        publish_secret=None if secret is None else SecretName(meta.namespace, secret.name),
    )


def _secret(reference: core_v1.SecretReference | None) -> SecretName | None:
    return None if reference is None else SecretName(reference.namespace, reference.name)
