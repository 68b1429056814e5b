"""What pods have on the node's disk: limits, logs, ownership."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from tests.builders import pod
from tests.node.builders import actions
from tiphys.api import core_v1
from tiphys.node.cri import rotation
from tiphys.node.eviction import DiskUsage, excess, folder_size, is_limited
from tiphys.node.logs import LogOptions, read
from tiphys.node.ownership import give_to_group
from tiphys.node.states import PodState
from tiphys.node.volumes import memory_size

LINE = b"2026-01-01T00:00:00.000000000Z stdout F %s\n"


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


def test_what_has_been_evicted_is_not_begun_anew() -> None:
    one = pod()
    one.status.phase, one.status.reason = "Failed", "Evicted"
    computed = actions(one, PodState("u"))
    assert computed.finished and computed.kill_pod and not computed.make_sandbox


async def test_a_folder_is_measured_without_what_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "large").write_bytes(bytes(1 << 20))
    (tmp_path / "pod" / "link").symlink_to(tmp_path / "large")
    (tmp_path / "pod" / "file").write_bytes(bytes(100_000))
    assert 100_000 <= await folder_size(tmp_path / "pod") < 200_000
    assert await folder_size(tmp_path / "none") == 0


@pytest.mark.parametrize(
    ("limits", "size", "expected"),
    [
        (("64Mi", "32Mi"), None, 96 << 20),
        (("64Mi", ""), None, 1 << 30),
        (("64Mi",), "1Mi", 1 << 20),
        (("64Mi",), "1Gi", 64 << 20),
    ],
)
def test_volumes_in_memory_are_no_larger_than_their_pods(
    limits: tuple[str, ...], size: str | None, expected: int
) -> None:
    containers = [
        {"name": f"c{n}", "image": "i", "resources": {"limits": {"memory": limit} if limit else {}}}
        for n, limit in enumerate(limits)
    ]
    source = core_v1.EmptyDirVolumeSource(medium="Memory", size_limit=size)  # type: ignore[arg-type]
    assert memory_size(pod(containers=containers).spec, source, {"memory": "1Gi"}) == expected


def test_full_logs_are_set_aside_compressed_and_removed(tmp_path: Path) -> None:
    folder = tmp_path / "ns_p_u" / "c"
    folder.mkdir(parents=True)
    for number in range(6):
        (folder / "0.log").write_bytes(bytes([number]) * 100)
        assert rotation.is_full(tmp_path, "ns_p_u/c", "0.log", largest=99)
        aside = rotation.rotate(tmp_path, "ns_p_u/c", "0.log")
        os.rename(folder / aside, folder / f"0.log.2026010{number}")
    names = sorted(os.listdir(folder))
    assert names == [
        "0.log.20260102.gz",
        "0.log.20260103.gz",
        "0.log.20260104.gz",
        "0.log.20260105",
    ]
    assert gzip.decompress((folder / names[0]).read_bytes()) == b"\2" * 100
    rotation.remove(tmp_path, "ns_p_u/c", "0.log")
    assert os.listdir(folder) == [] and rotation.folders_by_uid(tmp_path) == {"u": "ns_p_u"}
    rotation.remove_folder(tmp_path, "ns_p_u")
    assert not rotation.folders_by_uid(tmp_path)


def test_links_among_logs_are_not_followed(tmp_path: Path) -> None:
    folder, precious = tmp_path / "ns_p_u" / "c", tmp_path / "precious"
    folder.mkdir(parents=True)
    precious.write_bytes(bytes(200))
    (folder / "0.log").write_bytes(bytes(200))
    (folder / "0.log.2026").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        rotation.rotate(tmp_path, "ns_p_u/c", "0.log")
    assert precious.stat().st_size == 200


async def test_followers_of_a_log_go_on_with_the_new_one(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    log.write_bytes(LINE % b"one")
    file = os.open(log, os.O_RDONLY)
    seen: list[bytes] = []

    def renewed(old: int) -> int | None:
        newer = os.open(log, os.O_RDONLY)
        if os.path.sameopenfile(old, newer):
            os.close(newer)
            return None
        return newer

    async for chunk in read(file, LogOptions(follow=True), lambda: b"two\n" not in seen, renewed):
        seen.extend(chunk.splitlines(True))
        if seen == [b"one\n"]:
            log.rename(tmp_path / "0.log.2026")
            log.write_bytes(LINE % b"two")
    os.close(file)
    assert seen == [b"one\n", b"two\n"]


@pytest.mark.root
def test_a_volume_is_given_to_a_group_but_not_what_its_links_lead_to(tmp_path: Path) -> None:
    volume, outside = tmp_path / "v", tmp_path / "outside"
    (volume / "a").mkdir(parents=True)
    (volume / "a" / "file").touch(0o600)
    outside.touch(0o600)
    (volume / "link").symlink_to(outside)
    give_to_group(str(volume), 4321, None)
    facts = [
        (os.stat(p).st_gid, os.stat(p).st_mode & 0o7777)
        for p in (volume, volume / "a", volume / "a" / "file", outside)
    ]
    assert facts == [(4321, 0o2775), (4321, 0o2775), (4321, 0o660), (outside.stat().st_uid, 0o600)]
    os.chown(volume / "a", -1, 0)
    give_to_group(str(volume), 4321, "OnRootMismatch")
    assert (volume / "a").stat().st_gid == 0, "the folder itself fits"
    give_to_group(str(volume), 4321, "Always")
    assert (volume / "a").stat().st_gid == 4321
