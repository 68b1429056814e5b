"""Containers that try to make the node, which is root, read, write, mount or delete what is not
theirs."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.storage_v1 import StorageClass
from tiphys.machinery import handles
from tiphys.node.containers.logs import LogOptions, end_of_log, read
from tiphys.node.cri.runtime import CRIRuntime
from tiphys.node.probes.handlers import http_get
from tiphys.node.states import PodIdentity
from tiphys.node.volumes.mounts import unmount_below
from tiphys.node.volumes.podfiles import make_termination_log, termination_message, write_hosts
from tiphys.node.volumes.projection import File, write_files
from tiphys.node.volumes.subpaths import SubPath, SubPathError, mount_sub_path
from tiphys.testing import LocalCluster

LIBC = ctypes.CDLL(None)
root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder of the machine that no pod has."""
    folder = tmp_path / "host"
    folder.mkdir()
    (folder / "precious").write_text("kept")
    return folder


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume that a container can do anything in, and mounts below it that go afterwards."""
    folder = tmp_path / "pod" / "volumes" / "kubernetes.io~empty-dir" / "v"
    folder.mkdir(parents=True)
    yield folder
    unmount_below(tmp_path)


def untouched(host: Path) -> bool:
    return [path.name for path in host.iterdir()] == ["precious"] and (
        host / "precious"
    ).read_text() == "kept"


def test_an_update_deletes_nothing_where_a_link_leads(volume: Path, host: Path) -> None:
    write_files(volume, {"a": File(b"1")})
    (volume / "..data").unlink()
    (volume / "..data").symlink_to(host)
    (volume / "..2020_01_01").symlink_to(host)
    write_files(volume, {"a": File(b"2")})
    assert untouched(host) and (volume / "a").read_bytes() == b"2"


def test_an_update_writes_nothing_where_a_link_leads(volume: Path, host: Path) -> None:
    write_files(volume, {"precious": File(b"1"), "dir/b": File(b"1")})
    dated = volume / os.readlink(volume / "..data")
    dated.rename(volume / "away")
    dated.symlink_to(host)
    for name in ("..data_tmp", "precious"):
        handles_gone(volume, name)
        (volume / name).symlink_to(host / "precious")
    write_files(volume, {"precious": File(b"2"), "dir/b": File(b"1")}, group=os.getegid())
    assert untouched(host) and (volume / "precious").read_bytes() == b"2"


def handles_gone(folder: Path, name: str) -> None:
    with handles.folder(folder) as at:
        handles.remove_tree(at, name)


def test_names_of_files_do_not_leave_the_volume(volume: Path, host: Path) -> None:
    for name in ("../../host/precious", "/etc/x", "a/../../b", "..data/x", "nul\0", "x" * 5000, ""):
        with pytest.raises((OSError, ValueError)):
            write_files(volume, {name: File(b"stolen")})
    assert untouched(host) and not list(volume.iterdir())


def test_a_folder_that_was_a_link_for_a_moment_is_not_mounted(volume: Path, host: Path) -> None:
    (volume / "dir").mkdir()
    (volume / "dir" / "precious").touch()
    (volume / "link").symlink_to(host)
    ended = threading.Event()

    def exchange() -> None:
        while not ended.is_set():
            LIBC.renameat2(-100, bytes(volume / "dir"), -100, bytes(volume / "link"), 2)

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        reached = {where(volume, "dir/precious") for _ in range(3000)}
    finally:
        ended.set()
        thread.join()
    assert None in reached and volume / "dir/precious" in reached, (
        "it was exchanged while we looked"
    )
    assert host / "precious" not in reached


def where(volume: Path, path: str) -> Path | None:
    """What a search below a volume ends at."""
    with handles.folder(volume) as at, contextlib.suppress(OSError):
        found = handles.find(at, path, str(volume), 0o755)
        try:
            return Path(os.readlink(f"/proc/self/fd/{found}"))
        finally:
            os.close(found)
    return None


def test_links_in_a_volume_lead_on_inside_and_not_out(
    tmp_path: Path, volume: Path, host: Path
) -> None:
    neighbour = tmp_path / "pod" / "volumes" / "kubernetes.io~empty-dir" / "v10"
    neighbour.mkdir()
    (volume / "deep").mkdir()
    links = {
        "up": "..",
        "out": str(host),
        "near": str(neighbour),
        "loop": "loop",
        "proc": "/proc/self/root",
    }
    links |= {
        "in": "deep",
        "deep/back": "../deep/../in",
        "own": f"{volume}/deep",
        "many": "../" * 1000,
    }
    for name, target in links.items():
        (volume / name).symlink_to(target)
    assert (
        where(volume, "deep/back") == where(volume, "own") == where(volume, "in") == volume / "deep"
    )
    for name in (
        "up",
        "out",
        "near",
        "loop",
        "proc",
        "many",
        "out/precious",
        "deep/../..",
        "/",
        "n\0",
    ):
        assert where(volume, name) is None, name


@root
def test_a_sub_path_is_what_was_opened_whatever_stands_there_later(
    tmp_path: Path, volume: Path, host: Path
) -> None:
    volume.chmod(0o2777)
    wanted = SubPath(str(volume), "a/b", "v", "c", 0)
    shown = Path(mount_sub_path(tmp_path / "pod", wanted))
    assert (volume / "a/b").stat().st_mode & 0o7777 == 0o2777, "the volume's own mode"
    (volume / "a/b").rename(volume / "kept")
    (volume / "a/b").symlink_to(host)
    (shown / "file").touch()
    assert (volume / "kept/file").exists() and untouched(host)
    with pytest.raises(SubPathError, match="leads outside"):
        mount_sub_path(tmp_path / "pod", wanted)
    (volume / "one").write_text("file")
    assert (
        Path(mount_sub_path(tmp_path / "pod", SubPath(str(volume), "one", "v", "c", 1))).read_text()
        == "file"
    )


def test_sub_paths_that_lead_up_are_refused_in_upstreams_words(
    tmp_path: Path, volume: Path
) -> None:
    for path, why in (
        ("/etc", "must not be an absolute path"),
        ("a/../b", r"must not contain '\.\.'"),
    ):
        with pytest.raises(SubPathError, match=why):
            mount_sub_path(tmp_path / "pod", SubPath(str(volume), path, "v", "c", 0))


def test_what_a_pod_leaves_is_removed_and_what_it_links_to_stays(volume: Path, host: Path) -> None:
    (volume / "link").symlink_to(host)
    os.mkfifo(volume / "pipe")
    at = os.open(volume, os.O_RDONLY)
    for _ in range(400):  # deeper than a recursion or open files would go
        os.mkdir("d", dir_fd=at)
        os.symlink(host, "l", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    handles_gone(volume.parents[3], "pod")
    assert untouched(host) and not volume.parents[2].exists()


def test_two_who_remove_the_same_leave_nothing(tmp_path: Path) -> None:
    for number in range(40):
        for way in range(8):
            (tmp_path / f"pod{number}" / f"{way}" / "a" / "b").mkdir(parents=True)
        with ThreadPoolExecutor(2) as both:
            list(both.map(handles_gone, [tmp_path] * 2, [f"pod{number}"] * 2))
    assert list(tmp_path.iterdir()) == []


@root
def test_what_is_mounted_in_a_volume_is_not_emptied(volume: Path, host: Path) -> None:
    (volume / "there \\ it is").mkdir()
    bind_folder(host, volume / "there \\ it is")
    with pytest.raises(OSError, match="mounted"):
        handles_gone(volume.parents[3], "pod")
    assert untouched(host)
    unmount_below(volume.parents[2])
    handles_gone(volume.parents[3], "pod")
    assert untouched(host) and not volume.exists()


def bind_folder(what: Path, place: Path) -> None:
    from tiphys.node.volumes.mounts import _BIND, _mount

    _mount(os.fsencode(what), place, None, _BIND, None)


async def test_logs_and_termination_messages_are_files_and_no_links(
    tmp_path: Path, host: Path
) -> None:
    runtime = CRIRuntime("/nonexistent", tmp_path / "logs", "/x")
    folder = tmp_path / "logs" / "ns_pod_u" / "c"
    folder.mkdir(parents=True)
    (folder / "0.log").symlink_to(host / "precious")
    os.mkfifo(folder / "1.log")
    (folder.parent / "d").symlink_to(host)
    (host / "0.log").touch()
    for container, attempt in (("c", 0), ("c", 1), ("d", 0)):
        with pytest.raises(OSError):
            runtime.open_log(PodIdentity("ns", "pod", "u"), container, attempt)
    log = make_termination_log(tmp_path / "pod", "c", 0)
    log.unlink()
    log.symlink_to(host / "precious")
    assert termination_message(tmp_path / "pod", "c", 0) == ""
    with pytest.raises(OSError):
        make_termination_log(tmp_path / "pod", "c", 0)
    assert (host / "precious").read_text() == "kept"


def test_a_pods_hosts_file_is_not_written_through_a_link(tmp_path: Path, host: Path) -> None:
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "etc-hosts").symlink_to(host / "precious")
    with pytest.raises(OSError):
        write_hosts(tmp_path / "pod", pod(), ["10.0.0.1"], "p", "")
    assert untouched(host)


async def test_of_huge_files_only_what_is_wanted_is_read(tmp_path: Path) -> None:
    log = make_termination_log(tmp_path, "c", 0)
    os.truncate(log, 2 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(termination_message(tmp_path, "c", 0)) == 4096
    file = os.open(log, os.O_RDONLY)
    assert end_of_log(file, 80, 2048) == ""
    os.truncate(log, 64 << 20)
    assert [part async for part in read(file, LogOptions(), lambda: False)] == []
    assert [part async for part in read(file, LogOptions(tail=10**9), lambda: False)] == []
    os.close(file)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "kilobytes"


def forged(folder: Path, name: str) -> dict[str, Any]:
    """A volume that says of itself that it was provisioned, and for a claim that is gone."""
    claim = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "none", "uid": "u"}
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": str(folder)},
        "persistentVolumeReclaimPolicy": "Delete",
        "claimRef": claim,
        "storageClassName": "standard",
    }
    annotations = {"pv.kubernetes.io/provisioned-by": "tiphys.io/local-path"}
    return {"metadata": {"name": name, "annotations": annotations}, "spec": spec}


async def test_a_volume_that_only_says_it_was_provisioned_deletes_no_folder(
    tmp_path: Path, cluster: LocalCluster
) -> None:
    folder = tmp_path / "pvc-forged"
    folder.mkdir()
    await cluster.client.create(
        from_builtins(forged(folder, "pvc-forged"), core_v1.PersistentVolume)
    )

    async def refused() -> bool:
        events = (await cluster.client.list(core_v1.Event, "default")).items
        return any(e.reason == "VolumeFailedDelete" and "no record" in e.message for e in events)

    await cluster.eventually(refused)
    assert folder.exists()


async def test_a_folder_that_was_provisioned_goes_with_its_claim(
    tmp_path: Path, cluster: LocalCluster, host: Path
) -> None:
    kind = {
        "metadata": {"name": "here"},
        "provisioner": "tiphys.io/local-path",
        "parameters": {"path": str(tmp_path)},
    }
    await cluster.client.create(from_builtins(kind, StorageClass))
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "here",
    }
    claim = from_builtins(
        {"metadata": {"name": "c", "namespace": "default"}, "spec": spec},
        core_v1.PersistentVolumeClaim,
    )
    await cluster.client.create(claim)

    async def volumes() -> list[core_v1.PersistentVolume]:
        return (await cluster.client.list(core_v1.PersistentVolume)).items

    async def bound() -> bool:
        return [volume.status.phase for volume in await volumes()] == ["Bound"]

    await cluster.eventually(bound)
    [volume] = await volumes()
    assert volume.spec.host_path is not None
    folder = Path(volume.spec.host_path.path)
    folder.mkdir()
    (folder / "link").symlink_to(host)
    await cluster.client.delete(core_v1.PersistentVolumeClaim, "c", "default")

    async def gone() -> bool:
        records = (await cluster.client.list(core_v1.ConfigMap, "kube-system")).items
        return not await volumes() and not [
            r for r in records if r.metadata.name.startswith("local-path-")
        ]

    await cluster.eventually(gone)
    assert not folder.exists() and untouched(host)


async def test_a_probe_says_one_request_and_reads_no_more_than_its_answer(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        with contextlib.suppress(OSError):
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while not writer.is_closing():  # a body without an end
                writer.write(bytes(1 << 20))
                await writer.drain()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]

        async def asked(path: str, *headers: core_v1.HTTPHeader) -> bool:
            action = core_v1.HTTPGetAction(
                host="127.0.0.1", port=port, path=path, http_headers=list(headers)
            )
            return (await http_get(action, core_v1.Container(name="c"), "").ask(5.0)).well

        assert await asked("/a?b=c%20d\r\nEvil: 1\r\n\r\nFLUSHALL ü")
        assert not await asked("/", core_v1.HTTPHeader(name="X", value="1\r\n\r\nFLUSHALL"))
    [said] = heard
    assert (
        said.split(b"\r\n")[0]
        == b"GET /a?b=c%20d%0D%0AEvil:%201%0D%0A%0D%0AFLUSHALL%20%C3%BC HTTP/1.1"
    )
    assert said.count(b"\r\n\r\n") == 1 and b"Evil: 1" not in said
