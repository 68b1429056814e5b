"""Local volumes that are block devices, on loop devices."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.node.volumes.growth import GrowthError
from tiphys.node.volumes.localdisks import LocalDisks
from tiphys.node.volumes.mounts import is_mounted, unmount_below
from tiphys.node.volumes.volumefiles import VolumeError

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/dev/loop-control").exists(), reason="needs loop devices"
)


def _may_grow_mounted() -> bool:
    status = Path("/proc/self/status").read_text()
    capabilities = int(status.partition("CapEff:")[2].split()[0], 16)
    return bool(capabilities & 1 << 24)  # CAP_SYS_RESOURCE


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A disk of 8 MiB with nothing on it. What a test mounts below tmp_path/pods goes with it."""
    file = tmp_path / "disk"
    file.write_bytes(bytes(8 << 20))
    name = subprocess.check_output(["losetup", "-f", "--show", str(file)], text=True).strip()
    try:
        yield name
    finally:
        unmount_below(tmp_path / "pods")
        subprocess.run(["losetup", "-d", name], check=True)


def volume(device: str, options: list[str] | None = None) -> core_v1.PersistentVolume:
    spec = {"local": {"path": device}, "mountOptions": options or []}
    return from_builtins({"metadata": {"name": "pv"}, "spec": spec}, core_v1.PersistentVolume)


async def test_an_empty_disk_is_formatted_once_for_all_pods(tmp_path: Path, device: str) -> None:
    disks = LocalDisks(tmp_path / "pods")
    places = [disks.mount(uid, volume(device, ["noatime"]), False) for uid in ("a", "b")]
    first, second = await asyncio.gather(*places)
    Path(first, "file").write_text("hello")
    assert Path(second, "file").read_text() == "hello"
    assert first == str(tmp_path / "pods/a/volumes/kubernetes.io~local-volume/pv")
    assert await disks.mount("a", volume(device), False) == first  # once more, as it is
    mounted = next(line for line in Path("/proc/mounts").read_text().splitlines() if first in line)
    assert mounted.split()[2] == "ext4" and "noatime" in mounted


async def test_what_a_pod_wrote_is_there_for_the_next_one(tmp_path: Path, device: str) -> None:
    disks = LocalDisks(tmp_path / "pods")
    Path(await disks.mount("a", volume(device), False), "file").write_text("hello")
    unmount_below(tmp_path / "pods" / "a")
    assert not is_mounted(device)
    assert Path(await disks.mount("b", volume(device), False), "file").read_text() == "hello"


async def test_a_disk_with_partitions_is_left_alone(tmp_path: Path, device: str) -> None:
    partition = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0x83, 0, 3, 0, 1, 64)
    before = bytes(446) + partition + bytes(48) + b"\x55\xaa"
    Path(device).write_bytes(before)
    with pytest.raises(VolumeError, match="local: failed to mount device"):
        await LocalDisks(tmp_path / "pods").mount("a", volume(device), False)
    assert Path(device).read_bytes().startswith(before)
    assert os.listdir(tmp_path / "pods/a/volumes/kubernetes.io~local-volume") == []


async def test_nothing_is_formatted_for_who_only_reads(tmp_path: Path, device: str) -> None:
    with pytest.raises(VolumeError, match="cannot mount unformatted disk"):
        await LocalDisks(tmp_path / "pods").mount("a", volume(device), True)
    assert not any(Path(device).read_bytes()[: 1 << 16])


@pytest.mark.skipif(not _may_grow_mounted(), reason="ext4 grows with CAP_SYS_RESOURCE alone")
async def test_the_file_system_grows_with_its_disk(tmp_path: Path, device: str) -> None:
    disks = LocalDisks(tmp_path / "pods")
    place = await disks.mount("a", volume(device), False)
    before = os.statvfs(place).f_blocks
    os.truncate(tmp_path / "disk", 16 << 20)
    await asyncio.to_thread(subprocess.run, ["losetup", "-c", device], check=True)
    assert disks.of_pod("a") == ["pv"]
    await disks.grow("a", volume(device), "16Mi")
    assert os.statvfs(place).f_blocks > 1.8 * before


async def test_a_file_system_that_cannot_grow_is_an_error(tmp_path: Path, device: str) -> None:
    await asyncio.to_thread(subprocess.run, ["mkfs.ext2", "-q", device], check=True)
    with pytest.raises(GrowthError, match="resize of format ext2 is not supported"):
        await LocalDisks(tmp_path / "pods").grow("a", volume(device), "16Mi")
