"""How a pod's volumes are mounted in its containers."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from tests.node.volumes.builders import mounting, volumes
from tiphys.api import core_v1
from tiphys.node.volumes import podvolumes, subpaths
from tiphys.node.volumes.podvolumes import Volumes
from tiphys.node.volumes.volumefiles import VolumeError


def mounts_of(here: Volumes, one: core_v1.Pod, paths: dict[str, str]) -> list[Any]:
    return here.mounts(one, one.spec.containers[0], paths, {"NAME": "sub"}, 2)


def test_a_container_has_its_mounts_its_log_and_its_hosts(tmp_path: Path) -> None:
    one = mounting({"emptyDir": {}}, readOnly=True, recursiveReadOnly="Enabled")
    data, log, hosts = mounts_of(volumes(tmp_path), one, {"v": "/host"})
    assert (data.host, data.path, data.read_only) == ("/host", "/v", True)
    assert log.path == "/dev/termination-log" and log.host.endswith("/c/2")
    assert hosts.path == "/etc/hosts" and hosts.host.endswith("/u/etc-hosts")


def test_a_container_may_bring_its_own_hosts(tmp_path: Path) -> None:
    one = mounting({"emptyDir": {}}, mountPath="/etc/hosts")
    paths = [each.path for each in mounts_of(volumes(tmp_path), one, {"v": "/host"})]
    assert paths == ["/etc/hosts", "/dev/termination-log"]


@pytest.mark.parametrize(
    ("mount", "part"), [({"subPath": "a"}, "a"), ({"subPathExpr": "$(NAME)/x"}, "sub/x")]
)
def test_a_part_of_a_volume_is_mounted_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mount: dict[str, str], part: str
) -> None:
    bound: list[Path] = []
    monkeypatch.setattr(subpaths, "bind", lambda handle, place: bound.append(place))
    host = tmp_path / "host"
    host.mkdir(mode=0o700)
    one = mounting({"emptyDir": {}}, **mount)
    data, *_ = mounts_of(volumes(tmp_path), one, {"v": str(host)})
    assert Path(data.host).parts[-4:] == ("volume-subpaths", "v", "c", "0")
    assert [str(place) for place in bound] == [data.host]
    assert stat.S_IMODE((host / part).stat().st_mode) == 0o700, "as the volume's own"


@pytest.mark.parametrize(
    ("part", "problem"),
    [("/a", "must not be an absolute path"), ("a/../../b", "must not contain '..'")],
)
def test_a_part_lies_within_its_volume(tmp_path: Path, part: str, problem: str) -> None:
    one = mounting({"emptyDir": {}}, subPathExpr=part)
    with pytest.raises(VolumeError, match=problem):
        mounts_of(volumes(tmp_path), one, {"v": str(tmp_path)})


def test_a_part_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    one = mounting({"emptyDir": {}}, subPath="a")
    with pytest.raises(VolumeError, match='failed to prepare subPath for volumeMount "v"'):
        mounts_of(volumes(tmp_path), one, {"v": str(tmp_path / "missing")})


@pytest.mark.parametrize("is_block", [True, False])
def test_block_volumes_are_devices_and_others_are_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_block: bool
) -> None:
    monkeypatch.setattr(podvolumes, "_is_block", lambda path: is_block)
    one = mounting({"persistentVolumeClaim": {"claimName": "c"}})
    container = one.spec.containers[0]
    container.volume_devices = [core_v1.VolumeDevice(name="v", device_path="/dev/x")]
    here = volumes(tmp_path)
    if is_block:
        [device] = here.devices(container, {"v": "/dev/null"})
        assert (device.host, device.path, device.permissions) == (
            "/dev/null",
            "/dev/x",
            "mrw",
        )
        with pytest.raises(VolumeError, match="has volumeMode Block"):
            mounts_of(here, one, {"v": "/x"})
    else:
        with pytest.raises(VolumeError, match="has volumeMode Filesystem"):
            here.devices(container, {"v": "/x"})
        assert mounts_of(here, one, {"v": "/x"})


def test_devices_are_told_from_files(tmp_path: Path) -> None:
    assert not podvolumes._is_block(str(tmp_path)) and not podvolumes._is_block("/none")


@pytest.mark.parametrize(
    ("where", "mode", "propagates"),
    [
        ("containers", "Bidirectional", True),
        ("containers", "HostToContainer", True),
        ("containers", "None", False),
        ("containers", None, False),
        ("init_containers", "Bidirectional", True),
    ],
)
def test_mounts_pass_where_a_container_wants_them_to(
    where: str, mode: str | None, propagates: bool
) -> None:
    one = mounting({"emptyDir": {}}, mountPropagation=mode)
    if where == "init_containers":
        one.spec.init_containers, one.spec.containers = one.spec.containers, []
    assert podvolumes._propagates(one, "v") is propagates
    assert not podvolumes._propagates(one, "other")


async def test_a_folder_of_the_kubelet_is_shared_where_a_container_wants_its_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[Path] = []
    monkeypatch.setattr(podvolumes, "make_shared", shared.append)
    monkeypatch.setattr(podvolumes, "host_path", lambda source, kubelet: source.path)
    for path, mode, count in (
        ("/var/lib/kubelet", "Bidirectional", 1),
        ("/var/lib/kubelet", None, 1),
        ("/etc", "Bidirectional", 1),
    ):
        one = mounting({"hostPath": {"path": path}}, mountPropagation=mode)
        assert await volumes(tmp_path).set_up(one) == {"v": path}
        assert len(shared) == count


@pytest.mark.parametrize(
    ("mode", "number"), [("None", 0), ("HostToContainer", 1), ("Bidirectional", 2), (None, 0)]
)
def test_how_mounts_pass_is_a_number_of_cri(tmp_path: Path, mode: str | None, number: int) -> None:
    one = mounting({"emptyDir": {}}, mountPropagation=mode)
    data, *_ = mounts_of(volumes(tmp_path), one, {"v": "/host"})
    assert (data.propagation, data.recursion, data.name) == (number, "", "v")
