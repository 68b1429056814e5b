"""Where a pod's volumes lie, and when they go."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import config_map, pod
from tiphys.api import core_v1
from tiphys.node.volumes.growth import VolumeGrowth
from tiphys.node.volumes.nodrivers import NoDrivers
from tiphys.node.volumes.podvolumes import Volumes, memory_size
from tiphys.node.volumes.volumefiles import VolumeError


def volumes(root: Path, *objects: Any) -> Volumes:
    async def get(kind: Any, namespace: str, name: str) -> Any:
        return next(
            (one for one in objects if isinstance(one, kind) and one.metadata.name == name), None
        )

    references: Any = SimpleNamespace(get=get)
    nobody: Any = None
    growth = VolumeGrowth(nobody, nobody)
    return Volumes(root, references, {"memory": "1Gi"}, NoDrivers(), growth)


def mounting(source: dict[str, Any], **mount: Any) -> core_v1.Pod:
    container = {
        "name": "c",
        "image": "i",
        "volumeMounts": [{"name": "v", "mountPath": "/v", **mount}],
    }
    one = pod(containers=[container], volumes=[{"name": "v", **source}])
    one.metadata.uid = "u"
    return one


@pytest.mark.parametrize(
    ("source", "read_only"),
    [
        ({"configMap": {"name": "c"}}, True),
        ({"projected": {"sources": [{"configMap": {"name": "c"}}]}}, True),
        (
            {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            True,
        ),
        ({"secret": {"secretName": "c"}}, True),
        ({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, True),
        ({"persistentVolumeClaim": {"claimName": "c"}}, False),
        ({"emptyDir": {}}, False),
    ],
)
def test_what_is_made_of_objects_is_read_only(
    tmp_path: Path, source: dict[str, Any], read_only: bool
) -> None:
    one = mounting(source, readOnly=False)
    [mount, *_] = volumes(tmp_path).mounts(one, one.spec.containers[0], {"v": str(tmp_path)}, {}, 0)
    assert mount.read_only is read_only


async def test_what_cannot_be_a_file_is_told_and_not_raised_as_a_mistake(tmp_path: Path) -> None:
    wrong = {"items": [{"key": "k", "path": "a\0b"}], "name": "c"}
    with pytest.raises(VolumeError, match="not a path"):
        await volumes(tmp_path, config_map(k="v")).set_up(mounting({"configMap": wrong}))
    with pytest.raises(VolumeError, match="hostPath"):
        await volumes(tmp_path).set_up(mounting({"hostPath": {"path": "/\0"}}))


async def test_a_read_only_volume_has_room_for_what_is_mounted_inside(tmp_path: Path) -> None:
    one = mounting({"configMap": {"name": "c"}})
    inner = [
        core_v1.VolumeMount(name="w", mount_path=path) for path in ("/v/a/b/", "/v/a/b/c", "/vx/y")
    ]
    one.spec.containers[0].volume_mounts += inner
    paths = await volumes(tmp_path, config_map(k="v")).set_up(one)
    assert {path.name for path in Path(paths["v"]).iterdir() if not path.name.startswith("..")} == {
        "a",
        "k",
    }
    assert [path.name for path in Path(paths["v"], "a").iterdir()] == ["b"]
    await volumes(tmp_path, config_map(k="w")).refresh(one)
    assert Path(paths["v"], "k").read_text() == "w" and Path(paths["v"], "a/b").is_dir()


async def test_a_pods_volumes_are_there_until_it_is_torn_down(tmp_path: Path) -> None:
    here = volumes(tmp_path, config_map(k="v"))
    one = mounting({"configMap": {"name": "c"}})
    paths = await here.set_up(one)
    assert Path(paths["v"], "k").read_text() == "v" and here.pod_uids() == {"u"}
    here.tear_down("u")
    here.tear_down("u")
    assert here.pod_uids() == set() and not here.folder("u").exists()


async def test_of_a_pod_that_has_ended_the_volumes_go_and_the_rest_stays(tmp_path: Path) -> None:
    here = volumes(tmp_path)
    paths = await here.set_up(mounting({"emptyDir": {}}))
    Path(paths["v"], "large").write_text("x")
    (here.folder("u") / "etc-hosts").write_text("y")
    for _ in range(2):
        here.release("u")
    assert not Path(paths["v"]).exists() and (here.folder("u") / "etc-hosts").exists()
    here.release("never-there")


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


@pytest.mark.parametrize(
    ("medium", "group", "mode"),
    [("", None, 0o777), ("", 7, 0o2777), ("Memory", None, 0o1777), ("Memory", 7, 0o3777)],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs")
async def test_the_modes_of_empty_folders(
    tmp_path: Path, medium: str, group: int | None, mode: int
) -> None:
    here = volumes(tmp_path)
    one = mounting({"emptyDir": {"medium": medium}})
    one.spec.security_context = core_v1.PodSecurityContext(fs_group=group)
    try:
        place = Path((await here.set_up(one))["v"])
        assert stat.S_IMODE(place.stat().st_mode) == mode
        assert place.stat().st_gid == (group or 0)
    finally:
        here.tear_down("u")
