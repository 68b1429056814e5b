"""What is asked of the kernel: mount(2) itself needs root, and is tested with containers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiphys.node.volumes import mounts

RDONLY, NOSUID, NODEV, NOEXEC, BIND = 1, 2, 4, 8, 4096
REC, SHARED = 1 << 14, 1 << 20


class Kernel:
    """Keeps what is asked of it. `refuses`: it mounts nothing; `mounted`: how often unmounting a
    path succeeds."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refuses = False
        self.mounted: dict[bytes, int] = {}

    def mount(self, source: bytes, path: bytes, kind: Any, flags: int, options: Any) -> int:
        self.asked.append((source, path, kind, flags, options))
        return -1 if self.refuses else 0

    def umount2(self, path: bytes, flags: int) -> int:
        assert flags == 2 | 8, "lazily, and no link is followed"
        self.asked.append(("unmount", path))
        left = self.mounted.get(path, 0)
        self.mounted[path] = left - 1
        return 0 if left > 0 else -1


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    made = Kernel()
    monkeypatch.setattr(mounts, "_LIBC", made)
    yield made


@pytest.mark.parametrize(("executable", "flags"), [(True, 6), (False, 14)])
def test_a_tmpfs_has_no_devices(
    kernel: Kernel, tmp_path: Path, executable: bool, flags: int
) -> None:
    mounts.mount_tmpfs(tmp_path, "size=1", executable)
    assert kernel.asked == [(b"tmpfs", os.fsencode(tmp_path), b"tmpfs", flags, b"size=1")]


def test_huge_pages_are_mounted_by_their_size(kernel: Kernel, tmp_path: Path) -> None:
    mounts.mount_huge_pages(tmp_path, 2 << 20)
    assert kernel.asked == [
        (b"nodev", os.fsencode(tmp_path), b"hugetlbfs", NOSUID | NODEV, b"pagesize=2097152")
    ]


def test_nothing_is_mounted_twice(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.ismount", lambda path: True)
    mounts.mount_tmpfs(tmp_path, "size=1")
    mounts.mount_huge_pages(tmp_path, 2 << 20)
    assert kernel.asked == []


def test_a_refusal_names_the_place(kernel: Kernel, tmp_path: Path) -> None:
    kernel.refuses = True
    with pytest.raises(OSError, match=str(tmp_path)):
        mounts.mount_tmpfs(tmp_path, "")


def test_an_image_can_only_be_read(kernel: Kernel, tmp_path: Path) -> None:
    place, flags = os.fsencode(tmp_path), RDONLY | NOSUID | NODEV | NOEXEC
    mounts.mount_read_only("bind", "/la:yer,1", ["rbind", "ro"], tmp_path)
    over = b"lowerdir=/la\\:yer\\,1:" + place
    assert kernel.asked == [(b"overlay", place, b"overlay", flags, over)]
    kernel.asked.clear()
    mounts.mount_read_only("overlay", "overlay", ["lowerdir=a:b", "ro", "x"], tmp_path)
    assert kernel.asked == [(b"overlay", place, b"overlay", flags, b"lowerdir=a:b,x")]


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_handle_is_bound_where_something_of_its_kind_is_made(
    kernel: Kernel, tmp_path: Path, is_folder: bool
) -> None:
    source, place = tmp_path / "source", tmp_path / "a" / "place"
    source.mkdir() if is_folder else source.touch()
    handle = os.open(source, os.O_RDONLY)
    for _ in range(2):  # the second replaces what is there
        mounts.bind(handle, place)
        assert place.is_dir() is is_folder and place.stat().st_mode & 0o007 == 0
        assert kernel.asked[-1] == (
            f"/proc/self/fd/{handle}".encode(),
            os.fsencode(place),
            None,
            BIND,
            None,
        )
    assert ("unmount", os.fsencode(place)) in kernel.asked
    os.close(handle)


def test_what_is_bound_already_stays(kernel: Kernel, tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    mounts.bind(handle, tmp_path)
    assert kernel.asked == []
    os.close(handle)


def test_everything_that_lies_on_a_path_is_unmounted(kernel: Kernel, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path)
    kernel.mounted[path] = 2
    mounts.unmount(tmp_path)
    assert kernel.asked == [("unmount", path)] * 3


MOUNTINFO = (
    b"1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
    b"2 1 8:2 / /data rw - ext4 /dev/sdb rw\n"
    b"3 2 0:5 / /data/in\\040ner rw - tmpfs tmpfs rw\n"
    b"4 2 0:5 / /data/in\\040ner/deep rw - tmpfs tmpfs rw\n"
    b"5 2 0:6 / /database rw - tmpfs tmpfs rw\n"
    b"6 1 0:7 / /twice rw - tmpfs tmpfs rw\n"
    b"7 1 0:8 / /twice rw master:1 shared:9 - tmpfs tmpfs rw\n"
)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda path: MOUNTINFO)


def test_blanks_in_paths_are_read(table: None) -> None:
    assert "/data/in ner" in mounts.mount_points()
    assert mounts._plain(b"a\\134b\\040") == b"a\\b "


def test_the_innermost_is_unmounted_first_and_nothing_beside(kernel: Kernel, table: None) -> None:
    mounts.unmount_below(Path("/data"))
    assert kernel.asked == [("unmount", b"/data/in ner/deep"), ("unmount", b"/data/in ner")]


@pytest.mark.parametrize(
    ("folder", "shared"),
    [("/", True), ("/etc", True), ("/data", False), ("/data/x", False), ("/twice", True)],
)
def test_a_folder_is_shared_as_the_mount_it_lies_on(table: None, folder: str, shared: bool) -> None:
    assert mounts._is_shared(Path(folder)) is shared


@pytest.mark.parametrize("is_mount", [True, False])
def test_a_folder_is_made_shared_once(
    kernel: Kernel, table: None, monkeypatch: pytest.MonkeyPatch, is_mount: bool
) -> None:
    monkeypatch.setattr("os.path.ismount", lambda path: is_mount)
    mounts.make_shared(Path("/etc"))
    assert kernel.asked == []
    mounts.make_shared(Path("/data"))
    bound = [] if is_mount else [(b"/data", b"/data", None, BIND, None)]
    assert kernel.asked == [*bound, (b"none", b"/data", None, SHARED | REC, None)]


def test_a_device_is_mounted_where_its_number_is(
    table: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Facts:
        st_rdev = os.makedev(8, 2)

    monkeypatch.setattr("os.stat", lambda path: Facts)
    assert mounts.is_mounted("/dev/sdb")
    Facts.st_rdev = os.makedev(8, 3)
    assert not mounts.is_mounted("/dev/sdc")
