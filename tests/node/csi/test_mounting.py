"""Volumes are staged once, published for each pod and taken back, over an agent's end, too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from tests.node.csi.builders import SOURCE, Node, a_pod
from tests.node.csi.builders import node as node
from tests.node.csi.driverprogram import NAME, PLUGIN, DriverProgram
from tiphys.api import core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.node.csi.source import VolumeSource, attachment_name, of_inline, of_persistent
from tiphys.node.volumes.kubeletfolder import SHOWN
from tiphys.node.volumes.volumefiles import VolumeError, VolumePending, VolumesExhausted


async def test_a_volume_is_staged_once_and_published_for_each_pod(node: Node) -> None:
    for uid in ("a", "b"):
        path = await node.mounter.mount(a_pod(uid), SOURCE)
        assert path == f"{node.folder.root}/pods/{uid}/volumes/kubernetes.io~csi/pv/mount"
    assert node.program.methods() == ["Stage", "Publish", "Publish"]
    published = node.program.last("Publish")
    assert published.target_path == f"{SHOWN}/pods/b/volumes/kubernetes.io~csi/pv/mount"
    assert published.staging_target_path == node.program.last("Stage").staging_target_path
    assert published.volume_context == {"tier": "fast"}


async def test_it_is_unstaged_after_the_last_pod(node: Node) -> None:
    for uid in ("a", "b"):
        await node.mounter.mount(a_pod(uid), SOURCE)
    await node.mounter.release("a")
    assert "Unstage" not in node.program.methods()
    await node.mounter.release("b")
    assert node.program.methods()[-2:] == ["Unpublish", "Unstage"]
    assert node.files() == []


async def test_another_agent_takes_back_what_one_before_it_mounted(node: Node) -> None:
    await node.mounter.mount(a_pod("a"), SOURCE)
    node.restart()
    with pytest.raises(VolumeError, match="not found in the list of registered CSI drivers"):
        await node.mounter.release("a")
    await node.drivers.register(PLUGIN)
    await node.mounter.release("a")
    assert node.program.methods()[-2:] == ["Unpublish", "Unstage"]
    assert node.mounter.holdings.pod_uids() == set()


async def test_a_volume_for_one_pod_waits_for_the_one_that_has_it(node: Node) -> None:
    source = replace(SOURCE, access_modes=["ReadWriteOncePod"])
    await node.mounter.mount(a_pod("a"), source)
    await node.mounter.mount(a_pod("a"), source)
    with pytest.raises(VolumeError) as refused:
        await node.mounter.mount(a_pod("b"), source)
    assert refused.value.event == (
        'MountVolume.SetUp failed for volume "pv" : volume uses the ReadWriteOncePod access mode '
        "and is already in use by another pod"
    )
    await node.mounter.release("a")
    await node.mounter.mount(a_pod("b"), source)


async def test_what_failed_to_be_unstaged_is_tried_again(node: Node) -> None:
    await node.mounter.mount(a_pod("a"), SOURCE)
    node.program.refuses["NodeUnstageVolume"] = grpc.StatusCode.INTERNAL, "busy"
    with pytest.raises(VolumeError, match="rpc error: code = Internal desc = busy"):
        await node.mounter.release("a")
    node.program.refuses.clear()
    await node.mounter.unstage_unused()
    assert node.program.methods()[-1] == "Unstage"
    assert node.files() == []


async def test_a_refusal_is_an_event_in_upstreams_words(node: Node) -> None:
    node.program.refuses["NodePublishVolume"] = grpc.StatusCode.PERMISSION_DENIED, "not yours"
    with pytest.raises(VolumeError) as refused:
        await node.mounter.mount(a_pod("a"), SOURCE)
    why = "rpc error: code = PermissionDenied desc = not yours"
    assert refused.value.event == f'MountVolume.SetUp failed for volume "pv" : {why}'


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, ["Stage", "Unstage"]),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ["Stage", "Unpublish", "Unstage"]),
    ],
)
async def test_what_a_driver_may_still_be_publishing_is_taken_back(
    node: Node, code: grpc.StatusCode, calls: list[str]
) -> None:
    node.program.refuses["NodePublishVolume"] = code, "no"
    with pytest.raises(VolumeError):
        await node.mounter.mount(a_pod("a"), SOURCE)
    await node.mounter.release("a")
    assert node.program.methods() == calls
    assert node.files() == []


@pytest.mark.parametrize(
    ("code", "calls"),
    [(grpc.StatusCode.INVALID_ARGUMENT, []), (grpc.StatusCode.ABORTED, ["Unstage"])],
)
async def test_what_a_driver_may_still_be_staging_is_taken_back(
    node: Node, code: grpc.StatusCode, calls: list[str]
) -> None:
    node.program.refuses["NodeStageVolume"] = code, "no"
    for _ in range(2):
        with pytest.raises(VolumeError):
            await node.mounter.mount(a_pod("a"), SOURCE)
    await node.mounter.release("a")
    assert node.program.methods() == calls
    assert node.files() == []


async def test_what_another_agent_staged_is_taken_back_after_a_refusal(node: Node) -> None:
    await node.mounter.mount(a_pod("a"), SOURCE)
    node.restart()
    await node.drivers.register(PLUGIN)
    node.program.refuses["NodeStageVolume"] = grpc.StatusCode.INVALID_ARGUMENT, "no"
    with pytest.raises(VolumeError):
        await node.mounter.mount(a_pod("a"), SOURCE)
    await node.mounter.release("a")
    assert node.program.methods()[-2:] == ["Unpublish", "Unstage"]


async def test_what_a_pod_still_waits_for_is_not_unstaged(node: Node) -> None:
    node.program.refuses["NodePublishVolume"] = grpc.StatusCode.INTERNAL, "busy"
    with pytest.raises(VolumeError):
        await node.mounter.mount(a_pod("a"), SOURCE)
    await node.mounter.unstage_unused()
    node.program.refuses.clear()
    await node.mounter.mount(a_pod("a"), SOURCE)
    assert node.program.methods() == ["Stage", "Publish"]


async def test_a_driver_that_is_not_there_is_an_event(node: Node) -> None:
    await node.drivers.deregister(PLUGIN)
    with pytest.raises(VolumeError) as missing:
        await node.mounter.mount(a_pod("a"), SOURCE)
    assert missing.value.event == (
        'MountVolume.MountDevice failed for volume "pv" : kubernetes.io/csi: attacher.MountDevice '
        f"failed to create newCsiDriverClient: driver name {NAME} not found in the list of "
        "registered CSI drivers"
    )


async def test_a_volume_waits_until_it_is_attached_and_said_to_be_in_use(node: Node) -> None:
    node.objects.describe(attachRequired=True)
    unique = f"kubernetes.io/csi/{NAME}^disk-1"

    async def waits() -> None:
        with pytest.raises(VolumePending):
            await node.mounter.mount(a_pod("a"), SOURCE)

    await waits()
    assert node.mounter.holdings.in_use() == [unique]
    node.report()
    await waits()
    node.shown.status.volumes_attached = [core_v1.AttachedVolume(name=unique)]
    await waits()
    attachment = storage_v1.VolumeAttachment()
    attachment.status.attached = True
    attachment.status.attachment_metadata = {"device": "/dev/x"}
    name = attachment_name(NAME, "disk-1", "n")
    node.objects.by_name[storage_v1.VolumeAttachment, name] = attachment
    await node.mounter.mount(a_pod("a"), SOURCE)
    assert node.program.last("Publish").publish_context == {"device": "/dev/x"}
    node.restart()
    assert node.mounter.holdings.in_use() == [unique]
    node.objects.describe(attachRequired=False)
    await node.mounter.refresh_drivers()
    assert node.mounter.holdings.in_use() == [], "the driver attaches no more"


@pytest.mark.parametrize(("period", "is_exhausted"), [(10, True), (None, False)])
async def test_a_node_that_has_too_many_volumes_asks_for_the_limit_anew(
    node: Node, period: int | None, is_exhausted: bool
) -> None:
    node.objects.describe(attachRequired=True, nodeAllocatableUpdatePeriodSeconds=period)
    with pytest.raises(VolumePending):
        await node.mounter.mount(a_pod("a"), SOURCE)
    node.report()
    attachment = storage_v1.VolumeAttachment()
    attachment.status.attach_error = storage_v1.VolumeError(message="full", error_code=8)
    name = attachment_name(NAME, "disk-1", "n")
    node.objects.by_name[storage_v1.VolumeAttachment, name] = attachment
    with pytest.raises(VolumePending) as waits:
        await node.mounter.mount(a_pod("a"), SOURCE)
    assert isinstance(waits.value, VolumesExhausted) is is_exhausted
    node.program.info.max_volumes_per_node = 7
    await node.drivers.renew(_every_hour)
    assert node.told.drivers[NAME].limit == (7 if is_exhausted else 0)


async def _every_hour(driver: str) -> int:
    return 3600


async def test_a_volume_that_needs_no_attaching_any_more_is_reported_as_free(node: Node) -> None:
    node.objects.describe(attachRequired=True)
    with pytest.raises(VolumePending):
        await node.mounter.mount(a_pod("a"), SOURCE)
    node.objects.describe(attachRequired=False)
    reports = node.reports
    await node.mounter.mount(a_pod("a"), SOURCE)
    assert (node.mounter.holdings.in_use(), node.reports) == ([], reports + 1)


async def test_a_pod_that_waited_in_vain_uses_nothing(node: Node) -> None:
    node.objects.describe(attachRequired=True)
    with pytest.raises(VolumePending):
        await node.mounter.mount(a_pod("a"), SOURCE)
    assert node.mounter.holdings.pod_uids() == {"a"}
    await node.mounter.release("a")
    assert (node.mounter.holdings.in_use(), node.mounter.holdings.pod_uids()) == ([], set())


async def test_an_inline_volume_is_told_of_its_pod_and_not_staged(node: Node) -> None:
    node.objects.describe(volumeLifecycleModes=["Ephemeral"], podInfoOnMount=True)
    volume = {"name": "own", "csi": {"driver": NAME, "volumeAttributes": {"a": "b"}}}
    owner = a_pod("u", volumes=[volume])
    await node.mounter.mount(owner, of_inline(owner, owner.spec.volumes[0]))
    assert node.program.methods() == ["Publish"]
    context = node.program.last("Publish").volume_context
    assert context["csi.storage.k8s.io/ephemeral"] == "true"
    assert (context["csi.storage.k8s.io/pod.uid"], context["a"]) == ("u", "b")


@pytest.mark.parametrize("in_secrets", [True, False])
async def test_tokens_come_as_the_driver_asks(node: Node, in_secrets: bool) -> None:
    wanted = [{"audience": "vault"}]
    node.objects.describe(tokenRequests=wanted, serviceAccountTokenInSecrets=in_secrets)
    await node.mounter.mount(a_pod("a"), SOURCE)
    request = node.program.last("Publish")
    holder, other = request.secrets, request.volume_context
    if not in_secrets:
        holder, other = other, holder
    key = "csi.storage.k8s.io/serviceAccount.tokens"
    token = '{"token":"token for vault","expirationTimestamp":"2026-01-01T00:00:00Z"}'
    assert holder[key] == f'{{"vault":{token}}}'
    assert key not in other


async def test_only_who_wants_it_is_published_again(node: Node) -> None:
    await node.mounter.mount(a_pod("a"), SOURCE)
    await node.mounter.republish(a_pod("a"), SOURCE)
    assert node.program.methods() == ["Stage", "Publish"]
    node.objects.describe(requiresRepublish=True)
    await node.mounter.republish(a_pod("a"), SOURCE)
    assert node.program.methods() == ["Stage", "Publish", "Publish"]


async def test_files_are_given_to_the_pods_group(node: Node) -> None:
    node.objects.describe(fsGroupPolicy="File")
    grouped = a_pod("a", securityContext={"fsGroup": 4321})
    path = await node.mounter.mount(grouped, SOURCE)
    assert Path(path).stat().st_gid == 4321


async def test_secrets_and_options_of_the_persistent_volume(node: Node) -> None:
    reference = {"namespace": "ns", "name": "key"}
    csi = {"driver": NAME, "volumeHandle": "h", "fsType": "xfs"}
    csi |= {"nodeStageSecretRef": reference}
    spec = {"csi": csi, "mountOptions": ["noatime"], "accessModes": ["ReadWriteMany"]}
    body = {"metadata": {"name": "pv"}, "spec": spec}
    source = of_persistent(from_builtins(body, core_v1.PersistentVolume), read_only=True)
    with pytest.raises(
        VolumeError, match=r'fetching NodeStageSecretRef ns/key failed: .*"key" not'
    ):
        await node.mounter.mount(a_pod("a"), source)
    node.objects.by_name[core_v1.Secret, "key"] = core_v1.Secret(data={"user": b"me"})
    await node.mounter.mount(a_pod("a"), source)
    staged, published = node.program.last("Stage"), node.program.last("Publish")
    assert staged.secrets == {"user": "me"}
    assert staged.volume_capability.mount.mount_flags == ["noatime"]
    assert (staged.volume_capability.mount.fs_type, published.readonly) == ("xfs", True)
    assert staged.volume_capability.access_mode.mode == 5


async def test_a_record_that_is_a_link_is_not_read(node: Node, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    data = f'{{"driverName":"{NAME}","volumeHandle":"h","specVolID":"pv"}}'
    (outside / "vol_data.json").write_text(data)
    place = node.folder.root / "pods/a/volumes/kubernetes.io~csi"
    place.mkdir(parents=True)
    (place / "pv").symlink_to(outside)
    (place / "other").mkdir()
    (place / "other/vol_data.json").symlink_to(outside / "vol_data.json")
    node.restart()
    assert node.mounter.holdings.pod_uids() == set()


async def test_a_block_volume_has_places_of_its_own(node: Node) -> None:
    source = VolumeSource(name="pv", driver=NAME, handle="disk-1", is_block=True)
    await node.mounter.mount(a_pod("a"), source)
    devices = f"{SHOWN}/plugins/kubernetes.io/csi/volumeDevices"
    assert node.program.last("Stage").staging_target_path == f"{devices}/staging/pv"
    published = node.program.last("Publish")
    assert published.target_path == f"{devices}/publish/pv/a"
    assert published.volume_capability.block is not None
    node.restart()
    await node.drivers.register(PLUGIN)
    await node.mounter.release("a")
    assert node.program.methods()[-2:] == ["Unpublish", "Unstage"]
    assert node.files() == []


async def test_a_driver_that_restarts_is_found_again(node: Node) -> None:
    await node.mounter.mount(a_pod("a"), SOURCE)
    await node.program.stop()
    node.program = DriverProgram(node.folder)
    await node.program.start()
    await node.mounter.mount(a_pod("b"), SOURCE)
    assert node.program.methods() == ["Publish"]
