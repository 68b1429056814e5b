"""What requests to drivers say of a volume: its capability, its context, its group.
Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tiphys.api import core_v1, storage_v1
from tiphys.node.csi import messages as m
from tiphys.node.csi.source import EPHEMERAL, VolumeSource

TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"

_MODES = {
    "ReadWriteOnce": m.SINGLE_NODE_WRITER,
    "ReadOnlyMany": m.MULTI_NODE_READER_ONLY,
    "ReadWriteMany": m.MULTI_NODE_MULTI_WRITER,
    "ReadWriteOncePod": m.SINGLE_NODE_WRITER,
}
_MODES_OF_CAPABLE = {
    **_MODES,
    "ReadWriteOnce": m.SINGLE_NODE_MULTI_WRITER,
    "ReadWriteOncePod": m.SINGLE_NODE_SINGLE_WRITER,
}
_ALONE = {"ReadWriteOnce", "ReadWriteOncePod"}


def capability(
    source: VolumeSource, driver_can: frozenset[int], group: int | None
) -> m.VolumeCapability:
    """`group` is the pod's `fsGroup`, for drivers that mount volumes for a group."""
    modes = _MODES_OF_CAPABLE if m.CAN_SINGLE_NODE_MULTI_WRITER in driver_can else _MODES
    mode = m.AccessMode(mode=modes.get(source.access_modes[0], 0))
    if source.is_block:
        return m.VolumeCapability(access_mode=mode, block=m.BlockVolume())
    mount = m.MountVolume(fs_type=source.fs_type, mount_flags=source.mount_options)
    if group is not None and m.VOLUME_MOUNT_GROUP in driver_can:
        mount.volume_mount_group = str(group)
    return m.VolumeCapability(access_mode=mode, mount=mount)


def pod_info(pod: core_v1.Pod, source: VolumeSource) -> dict[str, str]:
    """What a driver with `podInfoOnMount` receives about the pod."""
    is_ephemeral = source.lifecycle == EPHEMERAL
    return {
        "csi.storage.k8s.io/pod.name": pod.metadata.name,
        "csi.storage.k8s.io/pod.namespace": pod.metadata.namespace,
        "csi.storage.k8s.io/pod.uid": pod.metadata.uid,
        "csi.storage.k8s.io/serviceAccount.name": pod.spec.service_account_name,
        "csi.storage.k8s.io/ephemeral": "true" if is_ephemeral else "false",
    }


def tokens(by_audience: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """(token, when it expires) of each audience, as a driver with `tokenRequests` gets them."""
    rows = {
        audience: {"token": token, "expirationTimestamp": expires}
        for audience, (token, expires) in sorted(by_audience.items())
    }
    return {TOKENS: json.dumps(rows, separators=(",", ":"))}


def gives_to_group(
    source: VolumeSource, driver: storage_v1.CSIDriver | None, driver_can: frozenset[int]
) -> bool:
    """Whether the node gives the files of a volume to the pod's group (`fsGroupPolicy`)."""
    if source.read_only or source.is_block or m.VOLUME_MOUNT_GROUP in driver_can:
        return False
    policy = driver.spec.fs_group_policy if driver is not None else None
    if policy == "None":
        return False
    if policy == "File":
        return True
    is_alone = bool(_ALONE & set(source.access_modes))
    return bool(source.fs_type) and is_alone


def lifecycle_problem(source: VolumeSource, driver: storage_v1.CSIDriver | None) -> str:
    """Why a driver has no volumes of this kind; "" if it has, in upstream's words."""
    if driver is None:
        if source.lifecycle != EPHEMERAL:
            return ""
        return (
            f'volume mode "{source.lifecycle}" not supported by driver {source.driver} '
            "(no CSIDriver object)"
        )
    modes = driver.spec.volume_lifecycle_modes or ["Persistent"]
    if source.lifecycle in modes:
        return ""
    shown = " ".join(f'"{mode}"' for mode in modes)
    return (
        f'volume mode "{source.lifecycle}" not supported by driver {source.driver} '
        f"(only supports [{shown}])"
    )
