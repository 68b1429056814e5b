"""What a driver is told of a volume."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import storage_v1
from tiphys.api.base import from_builtins
from tiphys.node.csi import messages as m
from tiphys.node.csi.requests import capability, gives_to_group, lifecycle_problem
from tiphys.node.csi.source import EPHEMERAL, VolumeSource


def source(**fields: Any) -> VolumeSource:
    return VolumeSource(name="pv", driver="d.example.com", handle="h", **fields)


def described(**spec: Any) -> storage_v1.CSIDriver:
    return from_builtins({"metadata": {"name": "d"}, "spec": spec}, storage_v1.CSIDriver)


@pytest.mark.parametrize(
    ("mode", "plain", "capable"),
    [
        ("ReadWriteOnce", 1, 7),
        ("ReadOnlyMany", 3, 3),
        ("ReadWriteMany", 5, 5),
        ("ReadWriteOncePod", 1, 6),
    ],
)
def test_access_modes(mode: str, plain: int, capable: int) -> None:
    one = source(access_modes=[mode, "ReadWriteMany"])
    for can, expected in ((), plain), ((m.CAN_SINGLE_NODE_MULTI_WRITER,), capable):
        found = capability(one, frozenset(can), None).access_mode
        assert found is not None and found.mode == expected


def test_a_group_is_told_to_drivers_that_mount_for_one() -> None:
    for can, expected in ((), ""), ((m.VOLUME_MOUNT_GROUP,), "7"):
        mount = capability(source(), frozenset(can), 7).mount
        assert mount is not None and mount.volume_mount_group == expected


def test_a_block_volume_is_not_mounted() -> None:
    found = capability(source(is_block=True), frozenset(), None)
    assert found.block is not None and found.mount is None


@pytest.mark.parametrize(
    ("policy", "fields", "expected"),
    [
        ("File", {}, True),
        ("File", {"read_only": True}, False),
        ("File", {"is_block": True}, False),
        ("None", {"fs_type": "ext4"}, False),
        ("ReadWriteOnceWithFSType", {"fs_type": "ext4"}, True),
        ("ReadWriteOnceWithFSType", {}, False),
        ("ReadWriteOnceWithFSType", {"fs_type": "x", "access_modes": ["ReadWriteMany"]}, False),
        ("ReadWriteOnceWithFSType", {"fs_type": "x", "access_modes": ["ReadWriteOncePod"]}, True),
    ],
)
def test_when_files_are_given_to_a_group(
    policy: str, fields: dict[str, Any], expected: bool
) -> None:
    driver = described(fsGroupPolicy=policy)
    assert gives_to_group(source(**fields), driver, frozenset()) is expected
    assert not gives_to_group(source(**fields), driver, frozenset({m.VOLUME_MOUNT_GROUP}))


@pytest.mark.parametrize(
    ("driver", "lifecycle", "problem"),
    [
        (None, "Persistent", ""),
        (None, EPHEMERAL, "(no CSIDriver object)"),
        (described(volumeLifecycleModes=["Persistent"]), "Persistent", ""),
        (described(volumeLifecycleModes=["Ephemeral"]), EPHEMERAL, ""),
        (
            described(volumeLifecycleModes=["Persistent"]),
            EPHEMERAL,
            '(only supports ["Persistent"])',
        ),
    ],
)
def test_lifecycles(driver: storage_v1.CSIDriver | None, lifecycle: str, problem: str) -> None:
    found = lifecycle_problem(source(lifecycle=lifecycle), driver)
    start = f'volume mode "{lifecycle}" not supported by driver d.example.com '
    assert found == (start + problem if problem else "")
