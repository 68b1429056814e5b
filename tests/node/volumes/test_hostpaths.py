"""Folders of the node that pods mount."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.node.volumes.hostpaths import ClaimedVolumes, host_path
from tiphys.node.volumes.kubeletfolder import KubeletFolder
from tiphys.node.volumes.localdisks import LocalDisks
from tiphys.node.volumes.nodrivers import NoDrivers
from tiphys.node.volumes.volumefiles import VolumeError


@pytest.mark.parametrize(
    ("kind", "present", "result"),
    [
        ("", "", "folder"),
        ("", "file", "file"),
        ("DirectoryOrCreate", "", "folder"),
        ("FileOrCreate", "", "file"),
        ("Directory", "folder", "folder"),
        ("File", "file", "file"),
        ("Directory", "file", "error"),
        ("Directory", "", "error"),
        ("File", "folder", "error"),
        ("Socket", "file", "error"),
        ("CharDevice", "file", "error"),
        ("BlockDevice", "file", "error"),
    ],
)
def test_types_of_host_paths(tmp_path: Path, kind: str, present: str, result: str) -> None:
    place = tmp_path / "deep" / "place" if kind in ("", "DirectoryOrCreate") else tmp_path / "place"
    if present:
        place.parent.mkdir(exist_ok=True)
        place.mkdir() if present == "folder" else place.touch()
    source = core_v1.HostPathVolumeSource(path=str(place), type=kind)
    kubelet = KubeletFolder(tmp_path / "kubelet")
    if result == "error":
        with pytest.raises(VolumeError, match="hostPath type check failed"):
            host_path(source, kubelet)
        return
    assert host_path(source, kubelet) == str(place)
    assert place.is_dir() if result == "folder" else place.is_file()


def volume(**source: Any) -> core_v1.PersistentVolume:
    body = {
        "metadata": {"name": "pv", "annotations": source.pop("annotations", {})},
        "spec": source,
    }
    return from_builtins(body, core_v1.PersistentVolume)


def claim(phase: str = "Bound", owner: str = "") -> core_v1.PersistentVolumeClaim:
    owners = [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": owner}] if owner else []
    body = {
        "metadata": {"name": "c", "ownerReferences": owners},
        "spec": {"volumeName": "pv"},
        "status": {"phase": phase},
    }
    return from_builtins(body, core_v1.PersistentVolumeClaim)


async def path_of(
    *objects: Any, is_own: bool = False, read_only: bool = True, **security: Any
) -> str:
    async def get(kind: Any, namespace: str, name: str) -> Any:
        return next((one for one in objects if isinstance(one, kind)), None)

    one = pod()
    one.metadata.uid = "u"
    one.spec.security_context = core_v1.PodSecurityContext(**security)
    nowhere = Path("/nowhere")
    references: Any = SimpleNamespace(get=get)
    growth: Any = None  # nothing grows here
    claimed = ClaimedVolumes(
        references, KubeletFolder(nowhere), LocalDisks(nowhere), NoDrivers(), growth
    )
    return await claimed.path(one, "c", read_only, is_own)


async def test_volumes_on_the_nodes_disk(tmp_path: Path) -> None:
    for source in ({"hostPath": {"path": str(tmp_path)}}, {"local": {"path": str(tmp_path)}}):
        assert await path_of(claim(), volume(**source)) == str(tmp_path)


@pytest.mark.parametrize(
    ("objects", "is_own", "message"),
    [
        ([], False, 'persistentvolumeclaim "c" is not bound'),
        ([claim("Pending")], False, 'persistentvolumeclaim "c" is not bound'),
        ([claim()], True, r"PVC default/c was not created for pod default/p \(pod is not owner\)"),
        ([claim(owner="other")], True, "pod is not owner"),
        ([claim()], False, 'persistentvolume "pv" is of a kind that this node does not support'),
        ([claim(owner="u")], True, 'persistentvolume "pv" is of a kind'),
        ([claim(), volume(nfs={"server": "s", "path": "/"})], False, "does not support"),
        ([claim(), volume(local={"path": "/no/such"})], False, 'path "/no/such" does not exist'),
        (
            [claim(), volume(local={"path": "/dev/null"})],
            False,
            "only directory and block device are supported",
        ),
    ],
)
async def test_claims_that_cannot_be_mounted(objects: Any, is_own: bool, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        await path_of(*objects, is_own=is_own)


PROVISIONED = {"pv.kubernetes.io/provisioned-by": "tiphys.io/local-path"}


@pytest.mark.parametrize(("annotations", "mode"), [(PROVISIONED, 0o777), ({}, 0o755)])
async def test_any_user_may_write_to_what_was_provisioned(
    tmp_path: Path, annotations: dict[str, str], mode: int
) -> None:
    place = tmp_path / "volumes" / "v"
    source = {"hostPath": {"path": str(place)}, "annotations": annotations}
    await path_of(claim(), volume(**source))
    assert place.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("kind", "annotations", "read_only", "is_given"),
    [
        ("hostPath", PROVISIONED, False, True),
        ("hostPath", PROVISIONED, True, False),
        ("hostPath", {}, False, False),
        ("local", {}, False, True),
        ("local", {}, True, False),
    ],
)
async def test_a_folder_that_is_a_volume_of_its_own_is_given_to_the_pods_group(
    tmp_path: Path, kind: str, annotations: dict[str, str], read_only: bool, is_given: bool
) -> None:
    one = volume(**{kind: {"path": str(tmp_path)}}, annotations=annotations)
    await path_of(claim(), one, read_only=read_only, fs_group=os.getgid())
    assert bool(tmp_path.stat().st_mode & stat.S_ISGID) == is_given
