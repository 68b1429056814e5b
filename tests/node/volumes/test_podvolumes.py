"""Where a pod's volumes lie, and when they go."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.builders import config_map, pod
from tests.node.volumes.builders import mounting, volumes
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.node.volumes import podvolumes
from tiphys.node.volumes.nodrivers import NoDrivers
from tiphys.node.volumes.podvolumes import memory_size
from tiphys.node.volumes.volumefiles import VolumeError


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


@pytest.mark.parametrize(
    ("asked", "read_only"),
    [
        ({"readOnly": False}, False),
        ({"readOnly": True}, False),
        ({"readOnly": True, "recursiveReadOnly": "IfPossible"}, True),
    ],
)
def test_an_image_is_mounted_as_it_is(
    tmp_path: Path, asked: dict[str, Any], read_only: bool
) -> None:
    one = mounting({"image": {"reference": "i"}}, **asked)
    [mount, *_] = volumes(tmp_path).mounts(one, one.spec.containers[0], {"v": str(tmp_path)}, {}, 0)
    assert mount.read_only is read_only  # else runc would drop noexec


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


# --- each kind of volume ---


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """What would be mounted as a tmpfs, which needs root."""
    made: list[tuple[Path, str]] = []
    monkeypatch.setattr(
        podvolumes, "mount_tmpfs", lambda path, options: made.append((path, options))
    )
    return made


def secret() -> core_v1.Secret:
    return core_v1.Secret(metadata=ObjectMeta(name="s"), data={"k": b"v"})


@pytest.mark.parametrize(
    ("source", "kind", "files", "in_memory"),
    [
        ({"emptyDir": {}}, "empty-dir", {}, False),
        ({"emptyDir": {"medium": "Memory"}}, "empty-dir", {}, True),
        ({"configMap": {"name": "c"}}, "config-map", {"k": "v"}, False),
        ({"secret": {"secretName": "s"}}, "secret", {"k": "v"}, True),
        ({"projected": {"sources": [{"configMap": {"name": "c"}}]}}, "projected", {"k": "v"}, True),
        ({"image": {"reference": "i"}}, "image", {}, False),
    ],
)
async def test_a_volume_is_set_up_by_its_kind(
    tmp_path: Path,
    mounted: list[tuple[Path, str]],
    source: dict[str, Any],
    kind: str,
    files: dict[str, str],
    in_memory: bool,
) -> None:
    here, one = volumes(tmp_path, config_map(k="v"), secret()), mounting(source)
    paths = await here.set_up(one)
    place = Path(paths["v"])
    assert place == here.folder("u") / "volumes" / f"kubernetes.io~{kind}" / "v"
    assert {name: (place / name).read_text() for name in files} == files
    assert [path for path, _ in mounted] == ([place] if in_memory else [])


async def test_a_medium_that_a_pod_cannot_have_is_named(tmp_path: Path) -> None:
    for medium, problem in (("HugePages", "the pod asks for no huge pages"), ("SSD", "'SSD'")):
        with pytest.raises(VolumeError, match=problem):
            await volumes(tmp_path).set_up(mounting({"emptyDir": {"medium": medium}}))


async def test_a_volume_that_is_of_no_kind_we_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="of a kind that this node does not support") as error:
        await volumes(tmp_path).set_up(mounting({"nfs": {"server": "s", "path": "/p"}}))
    assert error.value.volume == "v"


@pytest.mark.parametrize(
    ("medium", "group", "mode"),
    [
        ("", None, 0o777),
        ("Memory", None, 0o1777),
        ("", os.getegid(), 0o2777),
        ("Memory", os.getegid(), 0o3777),
    ],
)
async def test_who_may_write_to_an_empty_folder(
    tmp_path: Path, mounted: list[tuple[Path, str]], medium: str, group: int | None, mode: int
) -> None:
    one = mounting({"emptyDir": {"medium": medium, "sizeLimit": "1Mi"}})
    if group is not None:
        one.spec.security_context = core_v1.PodSecurityContext(fs_group=group)
    paths = await volumes(tmp_path).set_up(one)
    assert stat.S_IMODE(os.stat(paths["v"]).st_mode) == mode
    assert [options for _, options in mounted] == ([f"size={1 << 20}"] if medium else [])


async def test_what_changed_is_written_again_and_a_lack_is_borne(
    tmp_path: Path, mounted: list[tuple[Path, str]]
) -> None:
    held = config_map(k="v")
    here, one = volumes(tmp_path, held), mounting({"configMap": {"name": "c"}})
    [path] = (await here.set_up(one)).values()
    held.data = {"k": "w"}
    await here.refresh(one)
    assert (Path(path) / "k").read_text() == "w"
    held.metadata.name = "gone"
    await here.refresh(one)
    assert (Path(path) / "k").read_text() == "w"


async def test_what_a_pod_has_is_known_and_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmounted: list[Path] = []
    monkeypatch.setattr(podvolumes, "unmount_below", unmounted.append)
    here = volumes(tmp_path)
    assert here.pod_uids() == set()
    here.release("u")
    here.tear_down("u")
    await here.set_up(mounting({"emptyDir": {}}))
    here.write_hosts(mounting({"emptyDir": {}}), ["10.0.0.1"], "h", "")
    assert here.pod_uids() == {"u"}
    here.release("u")
    assert not (here.folder("u") / "volumes").exists() and (here.folder("u") / "etc-hosts").exists()
    here.tear_down("u")
    assert here.pod_uids() == set() and unmounted == [here.folder("u")] * 4
    await here.give_back("u")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"configMap": {"name": "c", "items": [{"key": "x", "path": "p"}]}},
            "references non-existent config key: x",
        ),
        (
            {"secret": {"secretName": "s", "items": [{"key": "x", "path": "p"}]}},
            "references non-existent secret key: x",
        ),
    ],
)
async def test_what_is_not_there_is_missed_unless_it_is_optional(
    tmp_path: Path, mounted: list[tuple[Path, str]], source: dict[str, Any], text: str
) -> None:
    here = volumes(tmp_path, config_map(k="v"), secret())
    with pytest.raises(VolumeError, match=text):
        await here.set_up(mounting(source))
    [(kind, given)] = source.items()
    [path] = (await here.set_up(mounting({kind: {**given, "optional": True}}))).values()
    assert [name for name in os.listdir(path) if not name.startswith("..")] == []


async def test_keys_are_shown_as_items_with_modes_of_their_own(
    tmp_path: Path, mounted: list[tuple[Path, str]]
) -> None:
    items = [{"key": "k", "path": "a/b", "mode": 0o400}, {"key": "l", "path": "c"}]
    source = {"configMap": {"name": "c", "items": items, "defaultMode": 0o640}}
    held = config_map(k="v", l="w", m="x")
    held.binary_data = {"l": b"bin"}
    [path] = (await volumes(tmp_path, held).set_up(mounting(source))).values()
    place = Path(path)
    assert (place / "a" / "b").read_text() == "v" and (place / "c").read_text() == "bin"
    assert not (place / "m").exists()
    modes = [stat.S_IMODE((place / name).stat().st_mode) for name in ("a/b", "c")]
    assert modes == [0o400, 0o640]


async def test_a_projection_puts_its_sources_together(
    tmp_path: Path, mounted: list[tuple[Path, str]]
) -> None:
    fields = [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
    limits = {"resource": "limits.memory", "containerName": "c"}
    fields += [{"path": "memory", "resourceFieldRef": limits}]
    token = {"path": "token", "audience": "a"}
    sources: list[dict[str, Any]] = [
        {"configMap": {"name": "c"}},
        {"secret": {"name": "s"}},
        {"downwardAPI": {"items": fields}},
        {"serviceAccountToken": token},
    ]
    here = volumes(tmp_path, config_map(k="map"), secret())
    asked = []

    async def give(pod: core_v1.Pod, audience: str, seconds: int) -> str:
        asked.append((audience, seconds))
        return "signed"

    here._files._references.token = give  # type: ignore[method-assign]
    [path] = (await here.set_up(mounting({"projected": {"sources": sources}}))).values()
    place = Path(path)
    texts = {name: (place / name).read_text() for name in ("k", "name", "memory", "token")}
    assert texts == {"k": "v", "name": "p", "memory": str(1 << 30), "token": "signed"}
    assert asked == [("a", 3600)]


def refuse(*_: Any) -> None:
    raise OSError("not permitted")


async def test_what_the_kernel_refuses_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(podvolumes, "mount_tmpfs", refuse)
    with pytest.raises(VolumeError, match="mounting a tmpfs failed: not permitted"):
        await volumes(tmp_path).set_up(mounting({"emptyDir": {"medium": "Memory"}}))
    monkeypatch.setattr(podvolumes, "write_files", refuse)
    with pytest.raises(VolumeError, match=r"^not permitted$"):
        await volumes(tmp_path, config_map(k="v")).set_up(mounting({"configMap": {"name": "c"}}))
    monkeypatch.setattr(podvolumes, "make_shared", refuse)
    with pytest.raises(VolumeError, match="sharing mounts below /x: not permitted"):
        podvolumes._make_shared(Path("/x"))


class Drivers(NoDrivers):
    """Has something of a pod, and gives it back."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pod_uids(self) -> set[str]:
        return {"u"}

    async def release(self, uid: str) -> None:
        self.calls.append(f"release {uid}")

    async def mount_inline(self, one: core_v1.Pod, volume: core_v1.Volume) -> str:
        self.calls.append(f"inline {volume.name}")
        return "/inline"


async def test_drivers_have_their_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unmounted: list[Path] = []
    monkeypatch.setattr(podvolumes, "unmount_below", unmounted.append)
    here, drivers = volumes(tmp_path), Drivers()
    here._drivers = drivers
    assert here.pod_uids() == {"u"}
    assert await here.set_up(mounting({"csi": {"driver": "d"}})) == {"v": "/inline"}
    await here.give_back("other")
    assert drivers.calls == ["inline v"]
    await here.give_back("u")
    assert drivers.calls[-1] == "release u"
    assert unmounted == [here.folder("u") / "volume-subpaths"]


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, ("c", True, False)),
        ({"ephemeral": {}}, ("p-v", False, True)),
    ],
)
async def test_claims_are_looked_up_by_their_name(
    tmp_path: Path, source: dict[str, Any], asked: tuple[str, bool, bool]
) -> None:
    here = volumes(tmp_path)

    async def path(one: core_v1.Pod, name: str, read_only: bool, is_own: bool) -> str:
        assert (name, read_only, is_own) == asked
        return "/claimed"

    here._claimed.path = path  # type: ignore[method-assign]
    assert await here.set_up(mounting(source)) == {"v": "/claimed"}
