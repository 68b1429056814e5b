"""What is asked of containerd about images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.node.cri.containerd import Containerd, Refusal, fault
from tiphys.node.cri import messages as m
from tiphys.node.cri import snapshots as s
from tiphys.node.cri.runtime import CRIRuntime
from tiphys.node.naming import Resolver

UID_LABEL = "io.kubernetes.pod.uid"
RESOLVER = Resolver(["10.0.0.10"], ["svc"], ["ndots:5"])


async def test_an_image_that_is_there_is_asked_for_once(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    assert not await runtime.has_image("i")
    containerd.answers["ImageStatus"] = m.ImageStatusResponse(image=m.Image())
    assert not await runtime.has_image("i"), "it has no id"
    containerd.answers["ImageStatus"] = m.ImageStatusResponse(image=m.Image(id="x"))
    for _ in range(2):
        assert await runtime.has_image("i")
    assert containerd.methods().count("ImageStatus") == 3
    await runtime.remove_image("i")
    assert containerd.last("RemoveImage").image.image == "i"
    assert await runtime.has_image("i") and containerd.methods().count("ImageStatus") == 4


@pytest.mark.parametrize(
    ("image", "id", "user", "size"),
    [
        (None, "", (None, ""), 0),
        (m.Image(id="x", size=9), "x", (None, ""), 9),
        (m.Image(id="x", uid=m.Int64Value(value=0)), "x", (0, ""), 0),
        (m.Image(id="x", username="me"), "x", (None, "me"), 0),
    ],
)
async def test_facts_of_an_image(
    containerd: Containerd, runtime: CRIRuntime, image: Any, id: str, user: Any, size: int
) -> None:
    containerd.answers["ImageStatus"] = m.ImageStatusResponse(image=image)
    assert await runtime.image_id("i") == id and await runtime.image_user("i") == user
    assert await runtime.image_size("i") == size


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (Refusal("broken"), "broken"),
        (
            Refusal("no such tag", grpc.StatusCode.NOT_FOUND),
            "rpc error: code = NotFound desc = no such tag",
        ),
        (
            Refusal("", grpc.StatusCode.DEADLINE_EXCEEDED),
            "pulling i took longer than 30 minutes",
        ),
    ],
)
async def test_why_an_image_cannot_be_pulled(
    containerd: Containerd, runtime: CRIRuntime, refusal: Refusal, text: str
) -> None:
    containerd.answers["PullImage"] = refusal
    assert await fault(runtime.pull("i", None)) == ("ErrImagePull", text)


async def test_an_image_is_pulled_with_what_opens_its_registry(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    await runtime.pull("i", None)
    assert containerd.last("PullImage").auth is None
    await runtime.pull("i", {"username": "me", "password": "x"})
    assert containerd.last("PullImage").auth.username == "me"


async def test_images_have_names_and_sizes(containerd: Containerd, runtime: CRIRuntime) -> None:
    image = m.Image(repo_digests=["a@sha256:1"], repo_tags=["a:1"], size=5)
    containerd.answers["ListImages"] = m.ListImagesResponse(images=[image])
    assert await runtime.images() == [(["a@sha256:1", "a:1"], 5)]


async def test_an_image_is_mounted_as_a_view_of_its_layers(
    containerd: Containerd, runtime: CRIRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted: list[tuple[Any, ...]] = []
    monkeypatch.setattr("tiphys.node.cri.images.mount_read_only", lambda *a: mounted.append(a))
    info = {"info": '{"chainID":"sha256:9"}'}
    containerd.answers["ImageStatus"] = m.ImageStatusResponse(info=info)
    view = s.MountsResponse(mounts=[s.Mount(type="bind", source="/layer", third=["ro"])])
    containerd.answers["View"] = view
    await runtime.mount_image("i", "u", "v", tmp_path)
    assert mounted == [("bind", "/layer", ["ro"], tmp_path)]
    asked = containerd.last("View")
    assert (asked.parent, asked.key) == ("sha256:9", "tiphys-volume-u-v")
    assert asked.labels["tiphys.io/pod-uid"] == "u" and containerd.last("ImageStatus").verbose
    containerd.answers["View"] = Refusal("there", grpc.StatusCode.ALREADY_EXISTS)
    fourth = s.Mount(type="overlay", source="o", third=["target"], fourth=["lowerdir=x"])
    containerd.answers["Mounts"] = s.MountsResponse(mounts=[fourth])
    await runtime.mount_image("i", "u", "v", tmp_path)
    assert mounted[1] == ("overlay", "o", ["lowerdir=x"], tmp_path)
    containerd.answers["View"] = Refusal("no parent", grpc.StatusCode.NOT_FOUND)
    assert await fault(runtime.mount_image("i", "u", "v", tmp_path)) == (
        "CreateContainerError",
        "failed to mount image volume: no parent",
    )
    monkeypatch.setattr("os.path.ismount", lambda place: True)
    await runtime.mount_image("i", "u", "v", tmp_path)  # it is there already


async def test_a_mount_that_the_kernel_refuses_is_told(
    containerd: Containerd, runtime: CRIRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("not permitted")

    monkeypatch.setattr("tiphys.node.cri.images.mount_read_only", refuse)
    reason, text = await fault(runtime.mount_image("i", "u", "v", tmp_path))
    assert reason == "CreateContainerError" and "containerd does not know image i" in text
    containerd.answers["ImageStatus"] = m.ImageStatusResponse(info={"info": "{}"})
    containerd.answers["View"] = s.MountsResponse(mounts=[s.Mount()])
    reason, text = await fault(runtime.mount_image("i", "u", "v", tmp_path))
    assert (reason, text) == ("CreateContainerError", "failed to mount image volume: not permitted")


async def test_the_views_of_a_pod_are_removed_one_by_one(
    containerd: Containerd, runtime: CRIRuntime
) -> None:
    names = [s.Info(name="a"), s.Info(name="b")]
    containerd.answers["List"] = [s.ListResponse(info=names), s.ListResponse(info=names[:1])]
    containerd.answers["Remove"] = lambda asked: Refusal("busy") if asked.key == "a" else None
    await runtime.release_images("u")
    removed = [request.key for method, request in containerd.calls if method == "Remove"]
    assert removed == ["a", "b", "a"]
    assert containerd.last("List").filters == ['labels."tiphys.io/pod-uid"=="u"']


# --- logs ---
