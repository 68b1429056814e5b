"""The volumes of a node's pods, as the node's agent has them kept."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.node.csi.builders import Node, a_pod
from tests.node.csi.builders import node as node
from tests.node.csi.driverprogram import NAME
from tests.node.volumes.growing import Cluster, volume
from tiphys.api import core_v1
from tiphys.node.csi import messages as m
from tiphys.node.csi.nodevolumes import NodeVolumes
from tiphys.node.volumes.growth import VolumeGrowth


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def volumes(node: Node, cluster: Cluster) -> NodeVolumes:
    """Of the node, with its driver and what it has mounted."""
    growth = VolumeGrowth(cluster, cluster)  # type: ignore[arg-type]
    made = NodeVolumes(
        None,  # type: ignore[arg-type]
        "n",
        node.folder,
        node.objects,  # type: ignore[arg-type]
        growth,
        lambda: node.shown,
        lambda: None,
    )
    made.drivers, made._mounter = node.drivers, node.mounter
    made._expander._drivers, made._expander._mounter = node.drivers, node.mounter
    node.objects.by_name[core_v1.PersistentVolume, "pv"] = volume("2Gi")
    claim = cluster.claim
    claim.spec.volume_name = "pv"
    node.objects.by_name[core_v1.PersistentVolumeClaim, "c"] = claim
    node.objects.by_name[core_v1.PersistentVolumeClaim, "a-e"] = claim
    return made


CLAIMED = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
EPHEMERAL = {"name": "e", "ephemeral": {}}
INLINE = {"name": "i", "csi": {"driver": NAME}}


def mounting(*sources: dict[str, Any], uid: str = "a") -> core_v1.Pod:
    made = a_pod(uid, volumes=[*sources, {"name": "plain", "emptyDir": {}}])
    made.metadata.name = uid
    return made


async def test_what_is_mounted_is_known_released_and_forgotten(
    node: Node, volumes: NodeVolumes
) -> None:
    one = mounting(CLAIMED)
    path = await volumes.mount_claimed(one, volume("2Gi"), read_only=True)
    assert path.endswith("/mount") and volumes.pod_uids() == {"a"}
    assert node.program.last("Publish").readonly
    assert volumes.in_use() == node.mounter.holdings.in_use()
    await volumes.release("a")
    assert volumes.pod_uids() == set() and "Unpublish" in node.program.methods()


async def test_a_volume_inside_the_pods_spec_is_mounted_by_its_name(
    node: Node, volumes: NodeVolumes
) -> None:
    node.objects.describe(volumeLifecycleModes=["Ephemeral"])
    one = mounting(INLINE)
    await volumes.mount_inline(one, one.spec.volumes[0])
    assert set(volumes._mounter.holdings.of_pod("a")) == {"i"}
    [mounted] = await volumes._mounted_for(one)
    assert mounted.claim is None and mounted.volume.name == "i"
    await volumes.refresh(one)
    assert node.program.methods() == ["Publish"], "it does not want to be asked again"
    node.objects.describe(volumeLifecycleModes=["Ephemeral"], requiresRepublish=True)
    await volumes.refresh(one)
    assert node.program.methods() == ["Publish", "Publish"]


@pytest.mark.parametrize("source", [CLAIMED, EPHEMERAL])
async def test_a_claim_is_found_by_its_name_or_by_its_pods(
    node: Node, volumes: NodeVolumes, source: dict[str, Any]
) -> None:
    one = mounting(source)
    assert await volumes._mounted_for(one) == [], "nothing is mounted"
    await volumes.mount_claimed(one, volume("2Gi"), read_only=False)
    [mounted] = await volumes._mounted_for(one)
    assert mounted.claim is not None and mounted.published.name == "pv"
    assert mounted.volume.name == source["name"]


async def test_a_volume_that_has_grown_is_expanded_when_it_is_refreshed(
    node: Node, volumes: NodeVolumes
) -> None:
    one = mounting(CLAIMED)
    await volumes.mount_claimed(one, volume("2Gi"), read_only=False)
    await volumes.refresh(one)
    assert node.program.methods()[-1] == "Expand"
    expansions = node.program.methods().count("Expand")
    del node.objects.by_name[core_v1.PersistentVolume, "pv"]
    await volumes.refresh(one)
    assert node.program.methods().count("Expand") == expansions, "nobody knows the volume"


async def test_what_one_volume_refuses_does_not_keep_others_from_being_refreshed(
    node: Node, volumes: NodeVolumes
) -> None:
    modes = {"volumeLifecycleModes": ["Ephemeral", "Persistent"], "requiresRepublish": True}
    node.objects.describe(**modes)
    one = mounting(INLINE, CLAIMED)
    await volumes.mount_inline(one, one.spec.volumes[0])
    await volumes.mount_claimed(one, volume("2Gi"), read_only=False)
    node.program.refuses["NodePublishVolume"] = grpc.StatusCode.INTERNAL, "no"
    await volumes.refresh(one)
    assert "Expand" not in node.program.methods()
    node.program.refuses.clear()
    node.program.calls.clear()
    await volumes.refresh(one)
    assert node.program.methods().count("Publish") == 2


async def test_how_full_volumes_are_is_asked_once_a_minute(
    node: Node, volumes: NodeVolumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = mounting(CLAIMED)
    await volumes.mount_claimed(one, volume("2Gi"), read_only=False)
    asked = []

    async def usage(published: Any) -> list[m.VolumeUsage]:
        asked.append(published.name)
        return [m.VolumeUsage(unit=1, total=100, used=30, available=70)]

    monkeypatch.setattr(volumes, "_usage", usage)
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    await volumes._measure({"a": one, "b": mounting(uid="b")})
    [measured] = volumes.usage["a"]
    assert set(volumes.usage) == {"a"} and measured.claim == ("", "c")
    now = 1059.0
    await volumes._measure({"a": one})
    assert asked == ["pv"]
    now = 1060.0
    await volumes._measure({})
    assert asked == ["pv"] and volumes.usage == {}, "a pod that is gone has none"


async def test_a_driver_is_asked_how_full_a_volume_is_if_it_can_say(
    node: Node, volumes: NodeVolumes
) -> None:
    one = mounting(CLAIMED)
    await volumes.mount_claimed(one, volume("2Gi"), read_only=False)
    assert await volumes._usage_of(one) == [], "it says nothing"
    request = node.program.last("NodeGetVolumeStats".removeprefix("Node").removesuffix("Volume"))
    assert request.volume_id == "disk-1" and request.volume_path.endswith("/mount")
    node.program.refuses["NodeGetVolumeStats"] = grpc.StatusCode.INTERNAL, "no"
    assert await volumes._usage_of(one) == []
    node.program.calls.clear()
    node.drivers.get(NAME).can = frozenset()
    assert await volumes._usage_of(one) == [] and node.program.calls == []


async def test_what_pods_had_that_are_gone_is_taken_back(node: Node, volumes: NodeVolumes) -> None:
    for uid in ("a", "b"):
        await volumes.mount_claimed(mounting(CLAIMED, uid=uid), volume("2Gi"), read_only=False)
    await volumes._clean({"a"})
    assert volumes.pod_uids() == {"a"}
    node.program.refuses["NodeUnpublishVolume"] = grpc.StatusCode.INTERNAL, "busy"
    await volumes._clean(set())
    assert volumes.pod_uids() == {"a"}, "it is tried again"
    node.program.refuses.clear()
    await volumes._clean(set())
    assert volumes.pod_uids() == set() and node.program.methods()[-1] == "Unstage"


@pytest.mark.parametrize(
    ("given", "period"), [({}, 0), ({"nodeAllocatableUpdatePeriodSeconds": 60}, 60)]
)
async def test_how_often_a_driver_wants_to_be_asked(
    node: Node, volumes: NodeVolumes, given: dict[str, Any], period: int
) -> None:
    node.objects.describe(**given)
    assert await volumes._period_of(NAME) == period
    assert await volumes._period_of("unheard") == 0


async def test_one_round_of_housekeeping_at_a_time(node: Node, volumes: NodeVolumes) -> None:
    volumes.keep_house({})
    first = volumes._cleaning, volumes._measuring, volumes._renewing
    volumes.keep_house({})
    assert (volumes._cleaning, volumes._measuring, volumes._renewing) == first
    for task in first:
        assert task is not None
        await task
    volumes.keep_house({})
    assert volumes._cleaning is not first[0] and volumes._measuring is not first[1]
    assert volumes._renewing is not first[2]
    await volumes.stop()
