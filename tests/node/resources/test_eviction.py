"""Pods that have too much on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.resources.eviction import DiskUsage, excess, folder_size, is_limited, measure


def limited(**limits: str) -> core_v1.PodSpec:
    """A container for each name, with that limit of disk; a volume of at most 1Ki."""
    containers = [
        {"name": n, "image": "i", "resources": {"limits": {"ephemeral-storage": size}}}
        for n, size in limits.items()
    ]
    volumes = [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}, {"name": "w", "emptyDir": {}}]
    return pod(containers=[*containers, {"name": "free", "image": "i"}], volumes=volumes).spec


def test_pods_are_evicted_in_upstreams_words() -> None:
    spec = limited(a="1Ki", b="2Ki")
    assert excess(spec, DiskUsage({"v": 1024, "w": 1024}, {"a": 1024})) == ""
    assert (
        excess(spec, DiskUsage({"v": 1025}))
        == 'Usage of EmptyDir volume "v" exceeds the limit "1Ki". '
    )
    told = 'Container a exceeded its local ephemeral storage limit "1Ki". '
    assert excess(spec, DiskUsage(containers={"a": 1025})) == told
    told = "Pod ephemeral local storage usage exceeds the total limit of containers 3Ki. "
    assert excess(spec, DiskUsage({"w": 1024}, {"free": 2049})) == told
    assert is_limited(spec) and not is_limited(pod(volumes=[{"name": "w", "emptyDir": {}}]).spec)


async def test_a_folder_is_measured_without_what_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    (tmp_path / "pod" / "link").symlink_to(tmp_path / "large")
    (tmp_path / "pod" / "file").write_bytes(bytes(100_000))
    assert 100_000 <= await folder_size(tmp_path / "pod") < 200_000
    assert await folder_size(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("volumes", "containers", "evicted_by"),
    [
        # Bytes of volumes v (at most 1Ki) and w, and of containers.
        ({"v": 1024}, {"a": 1024}, ""),
        ({"v": 1025}, {}, 'EmptyDir volume "v"'),
        ({"w": 1 << 30}, {}, "total limit of containers 3Ki"),
        ({"w": 1024, "v": 1024}, {"a": 1024}, ""),
        ({"w": 1024, "v": 1024}, {"a": 1024, "free": 1}, "total limit of containers 3Ki"),
        ({"memory": 1 << 30}, {}, ""),
        ({}, {"b": 2048}, ""),
        ({}, {"b": 2049}, "Container b exceeded"),
        ({}, {"free": 3072}, ""),
    ],
)
def test_limits_are_exceeded_by_a_byte(
    volumes: dict[str, int], containers: dict[str, int], evicted_by: str
) -> None:
    spec = limited(a="1Ki", b="2Ki")
    memory = core_v1.EmptyDirVolumeSource(medium="Memory")
    spec.volumes.append(core_v1.Volume(name="memory", empty_dir=memory))
    message = excess(spec, DiskUsage(volumes, containers))
    assert evicted_by in message and bool(message) is bool(evicted_by)


def test_a_volume_of_the_limit_zero_has_none() -> None:
    one = pod(volumes=[{"name": "v", "emptyDir": {"sizeLimit": "0"}}])
    assert excess(one.spec, DiskUsage({"v": 1 << 30})) == ""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, False),
        ({"volumes": [{"name": "v", "emptyDir": {}}]}, False),
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}]}, True),
        (
            {
                "containers": [
                    {"name": "c", "image": "i", "resources": {"limits": {"ephemeral-storage": "1"}}}
                ]
            },
            True,
        ),
        (
            {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"memory": "1"}}}]},
            False,
        ),
        (
            {
                "initContainers": [
                    {"name": "i", "image": "i", "resources": {"limits": {"ephemeral-storage": "1"}}}
                ]
            },
            True,
        ),
    ],
)
def test_only_pods_with_limits_are_measured(spec: dict[str, Any], expected: bool) -> None:
    assert is_limited(pod(**spec).spec) is expected


async def test_logs_count_with_what_containers_write(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "0.log").write_bytes(bytes(50_000))
    used = await measure(pod().spec, {"v": tmp_path}, {"c": tmp_path / "logs"}, {"c": 1_000_000})
    assert 1_050_000 <= used.containers["c"] < 1_150_000
    assert used.volumes["v"] >= 50_000
