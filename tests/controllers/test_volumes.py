"""Volumes follow their claims."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.builders import pod
from tests.controllers.bench import Bench
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.storage_v1 import StorageClass
from tiphys.controllers.volumes import VolumeController, _keeps
from tiphys.testing import LocalCluster

_PROVISIONER = "example.com/provisioner"


def volume_and_claim() -> tuple[core_v1.PersistentVolume, core_v1.PersistentVolumeClaim]:
    """For each other; the volume's provisioner has something to do at its end."""
    mode = {"accessModes": ["ReadWriteOnce"]}
    claim_ref = {"namespace": "default", "name": "c"}
    csi = {"driver": "example.com", "volumeHandle": "1"}
    spec = {**mode, "capacity": {"storage": "1Gi"}, "claimRef": claim_ref, "csi": csi}
    volume = {"metadata": {"name": "pv", "finalizers": [_PROVISIONER]}, "spec": spec}
    wish = {**mode, "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"metadata": claim_ref, "spec": wish}
    return (
        from_builtins(volume, core_v1.PersistentVolume),
        from_builtins(claim, core_v1.PersistentVolumeClaim),
    )


async def test_a_volume_that_was_deleted_before_its_claim_is_released() -> None:
    async with LocalCluster(controllers=True) as cluster:
        for made in volume_and_claim():
            await cluster.client.create(made)

        async def is_in(phase: str) -> list[str]:
            volume = await cluster.client.get(core_v1.PersistentVolume, "pv")
            return volume.metadata.finalizers if volume.status.phase == phase else []

        await cluster.eventually(lambda: is_in("Bound"))
        await cluster.client.delete(core_v1.PersistentVolume, "pv")
        await cluster.client.delete(core_v1.PersistentVolumeClaim, "c", "default")
        await cluster.eventually(lambda: is_in("Released"))

        async def is_left_to_its_provisioner() -> bool:
            return await is_in("Released") == [_PROVISIONER]

        await cluster.eventually(is_left_to_its_provisioner)


async def test_a_volume_of_which_somebody_else_wrote_while_it_was_bound_is_bound() -> None:
    async with LocalCluster(controllers=True) as cluster:
        for made in volume_and_claim():
            await cluster.client.create(made)

        async def is_bound() -> bool:
            volume = await cluster.client.get(core_v1.PersistentVolume, "pv")
            return volume.status.phase == "Bound"

        await cluster.eventually(is_bound)
        lost = {"status": {"phase": "Pending"}}  # as if that write had been overtaken
        await cluster.client.patch(core_v1.PersistentVolume, "pv", lost, subresource="status")
        await cluster.eventually(is_bound)


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")
Claim = core_v1.PersistentVolumeClaim
Volume = core_v1.PersistentVolume
BOUND_BY = "pv.kubernetes.io/bound-by-controller"
COMPLETE = "pv.kubernetes.io/bind-completed"


@pytest_asyncio.fixture(loop_scope="package")
async def binder(bench: Bench) -> VolumeController:
    return bench.start(VolumeController)


def claim(class_name: str, **spec: Any) -> Claim:
    """Of a class of the test's own, so that no other test's volumes fit."""
    wish = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": class_name,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return from_builtins({"metadata": {"name": "c"}, "spec": {**wish, **spec}}, Claim)


def volume(bench: Bench, **spec: Any) -> Volume:
    given = {
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
        "storageClassName": bench.namespace,
        "capacity": {"storage": "2Gi"},
        "hostPath": {"path": "/x"},
    }
    return from_builtins({"metadata": {"name": bench.namespace}, "spec": {**given, **spec}}, Volume)


def storage_class(bench: Bench, provisioner: str = "example.com/p", mode: str = "Immediate") -> Any:
    made = StorageClass(metadata=ObjectMeta(name=bench.namespace), provisioner=provisioner)
    made.volume_binding_mode = mode
    return made


async def step(bench: Bench, binder: VolumeController, kind: str = "claim") -> None:
    name = bench.namespace if kind == "volume" else bench.key("c" if kind == "claim" else "p")
    await bench.step(binder, f"{kind}/{name}")


async def phases(bench: Bench) -> tuple[str, str]:
    """Of the claim and the volume."""
    c, v = await bench.get(Claim, "c"), await bench.get(Volume, bench.namespace)
    return c.status.phase if c else "", v.status.phase if v else ""


@together
async def test_a_claim_and_the_volume_that_fits_are_bound_to_each_other(
    bench: Bench, binder: VolumeController
) -> None:
    made = await bench.add(claim(bench.namespace))
    await bench.add(volume(bench))
    await step(bench, binder)
    assert await phases(bench) == ("Bound", "Bound")
    c, v = await bench.get(Claim, "c"), await bench.get(Volume, bench.namespace)
    assert c is not None and v is not None and v.spec.claim_ref is not None
    assert (c.spec.volume_name, v.spec.claim_ref.uid) == (bench.namespace, made.metadata.uid)
    assert c.metadata.annotations[BOUND_BY] == c.metadata.annotations[COMPLETE] == "yes"
    assert v.metadata.annotations[BOUND_BY] == "yes"
    assert dict(c.status.capacity) == {"storage": "2Gi"}
    assert c.status.access_modes == ["ReadWriteOnce", "ReadOnlyMany"]
    await step(bench, binder)
    assert await bench.get(Claim, "c") == c and bench.reasons() == []


@pytest.mark.parametrize("by", ["claim", "volume"])
@together
async def test_what_a_user_has_named_is_not_marked_as_the_controllers_choice(
    bench: Bench, binder: VolumeController, by: str
) -> None:
    ref = {"namespace": bench.namespace, "name": "c"}
    named = {"volumeName": bench.namespace} if by == "claim" else {}
    await bench.add(claim(bench.namespace, **named))
    await bench.add(volume(bench, **({"claimRef": ref} if by == "volume" else {})))
    await step(bench, binder)
    assert await phases(bench) == ("Bound", "Bound")
    c, v = await bench.get(Claim, "c"), await bench.get(Volume, bench.namespace)
    assert c is not None and v is not None
    marked = [BOUND_BY in each.metadata.annotations for each in (c, v)]
    assert marked == ([False, True] if by == "claim" else [True, False])


@together
async def test_a_claim_waits_for_the_volume_it_names_and_for_no_other(
    bench: Bench, binder: VolumeController
) -> None:
    await bench.add(claim(bench.namespace, volumeName="missing"))
    await bench.add(volume(bench))
    await step(bench, binder)
    assert (await phases(bench))[0] == "Pending" and bench.reasons() == []


@pytest.mark.parametrize(
    ("provisioner", "mode", "reasons", "annotated"),
    [
        (None, "", ["ProvisioningFailed"], None),
        ("example.com/p", "Immediate", ["ExternalProvisioning"], "example.com/p"),
        ("example.com/p", "WaitForFirstConsumer", ["WaitForFirstConsumer"], None),
        ("kubernetes.io/no-provisioner", "Immediate", [], None),
    ],
)
@together
async def test_a_claim_without_a_volume_is_left_to_its_class(
    bench: Bench,
    binder: VolumeController,
    provisioner: str | None,
    mode: str,
    reasons: list[str],
    annotated: str | None,
) -> None:
    if provisioner is not None:
        await bench.add(storage_class(bench, provisioner, mode))
    await bench.add(claim(bench.namespace))
    await step(bench, binder)
    c = await bench.get(Claim, "c")
    assert c is not None and bench.reasons() == reasons
    for name in ("volume.kubernetes.io", "volume.beta.kubernetes.io"):
        assert c.metadata.annotations.get(f"{name}/storage-provisioner") == annotated
    assert c.status.phase == "Pending"


@together
async def test_who_asks_for_no_class_is_told_that_nothing_is_there(
    bench: Bench, binder: VolumeController
) -> None:
    await bench.add(claim("", accessModes=["ReadWriteOncePod"]))
    await step(bench, binder)
    assert bench.reasons() == ["FailedBinding"]


@pytest.mark.parametrize(
    ("selected", "named", "bound"),
    [(False, False, False), (True, False, True), (False, True, True)],
)
@together
async def test_with_late_binding_a_volume_is_taken_once_a_node_is_chosen_or_it_was_meant(
    bench: Bench, binder: VolumeController, selected: bool, named: bool, bound: bool
) -> None:
    await bench.add(storage_class(bench, mode="WaitForFirstConsumer"))
    made = claim(bench.namespace, **({"volumeName": bench.namespace} if named else {}))
    if selected:
        made.metadata.annotations["volume.kubernetes.io/selected-node"] = "n"
    await bench.add(made)
    await bench.add(volume(bench))
    await step(bench, binder)
    assert ((await phases(bench))[0] == "Bound") is bound


@together
async def test_a_claim_whose_volume_is_gone_is_lost_and_says_so_once(
    bench: Bench, binder: VolumeController
) -> None:
    await bench.add(claim(bench.namespace))
    v = await bench.add(volume(bench))
    await step(bench, binder)
    await bench.change(v, metadata={"finalizers": None})
    await bench.remove(v)
    for reasons in (["ClaimLost"], []):
        await step(bench, binder)
        assert await phases(bench) == ("Lost", "") and bench.reasons() == reasons


@together
async def test_a_volume_of_somebody_else_is_not_taken(
    bench: Bench, binder: VolumeController
) -> None:
    ref = {"namespace": bench.namespace, "name": "c", "uid": "another"}
    await bench.add(volume(bench, claimRef=ref))
    await bench.add(claim(bench.namespace, volumeName=bench.namespace))
    await step(bench, binder)
    await step(bench, binder, "volume")
    assert await phases(bench) == ("Pending", "Released")


@together
async def test_a_volume_follows_its_claim(bench: Bench, binder: VolumeController) -> None:
    v = await bench.add(volume(bench))
    await step(bench, binder, "volume")
    assert (await phases(bench))[1] == "Available"
    c = await bench.add(claim(bench.namespace))
    await step(bench, binder)
    await bench.say(v, phase="Pending")
    await step(bench, binder, "volume")
    assert (await phases(bench))[1] == "Bound"
    with bench.unseen(Claim):
        binder._claims._objects.clear()
        await step(bench, binder, "volume")
    assert (await phases(bench))[1] == "Bound", "the server has the claim"
    await bench.change(c, metadata={"finalizers": None})
    await bench.remove(c)
    await step(bench, binder, "volume")
    assert (await phases(bench))[1] == "Released"
    await step(bench, binder, "other")


@together
async def test_a_volume_reserved_by_hand_leads_to_the_claim(
    bench: Bench, binder: VolumeController
) -> None:
    ref = {"namespace": bench.namespace, "name": "c"}
    await bench.add(volume(bench, claimRef=ref))
    assert await bench.queued(binder) == ["claim/c", f"volume/{bench.namespace}"]
    await step(bench, binder, "volume")
    assert (await phases(bench))[1] == "Available"
    assert await bench.queued(binder) == ["claim/c", f"volume/{bench.namespace}"]


@together
async def test_a_deleted_volume_stays_while_its_claim_is_there(
    bench: Bench, binder: VolumeController
) -> None:
    c = await bench.add(claim(bench.namespace))
    v = await bench.add(volume(bench))
    await step(bench, binder)
    await bench.remove(v)
    await step(bench, binder, "volume")
    assert await bench.get(Volume, bench.namespace) is not None
    await bench.change(c, metadata={"finalizers": None})
    await bench.remove(c)
    await step(bench, binder, "volume")
    assert await bench.get(Volume, bench.namespace) is None


def mounting(name: str = "p", node: str = "n") -> core_v1.Pod:
    source = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
    return pod(name, nodeName=node, volumes=[source])


@pytest.mark.parametrize(
    ("user", "stays"), [(mounting(), True), (mounting(node=""), False), (pod("p"), False)]
)
@together
async def test_a_deleted_claim_stays_while_a_pod_uses_it(
    bench: Bench, binder: VolumeController, user: core_v1.Pod, stays: bool
) -> None:
    c = await bench.add(claim(bench.namespace))
    await bench.add(user)
    await step(bench, binder)
    assert await bench.get(Claim, "c") is not None
    await bench.remove(c)
    await step(bench, binder)
    assert (await bench.get(Claim, "c") is not None) is stays


@pytest.mark.parametrize(
    ("named", "deleted", "grace", "keeps"),
    [
        (True, False, None, True),
        (True, True, 0, True),
        (False, False, None, True),
        (False, True, 30, True),
        (False, True, 0, False),
    ],
)
def test_claims_of_ephemeral_volumes_do_not_wait_for_a_pod_that_is_done(
    named: bool, deleted: bool, grace: int | None, keeps: bool
) -> None:
    one = mounting()
    one.metadata.deletion_timestamp = "x" if deleted else None
    one.metadata.deletion_grace_period_seconds = grace
    assert _keeps(one, "c" if named else "p-v") is keeps


@together
async def test_ephemeral_volumes_get_claims_that_belong_to_their_pod(
    bench: Bench, binder: VolumeController
) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": to_builtins(claim("x").spec)}
    volumes = [
        {"name": "plain", "emptyDir": {}},
        {"name": "own", "ephemeral": {"volumeClaimTemplate": template}},
    ]
    one = await bench.add(pod("p", volumes=volumes))
    assert await bench.queued(binder) == ["claim/p-own", "pod/p"]
    await step(bench, binder, "pod")
    [made] = await bench.all(Claim)
    assert (made.metadata.name, made.metadata.labels) == ("p-own", {"a": "b"})
    assert made.metadata.owner_references[0].uid == one.metadata.uid
    await step(bench, binder, "pod")
    with bench.unseen(Claim):
        binder._claims._objects.clear()
        await step(bench, binder, "pod")
    assert len(await bench.all(Claim)) == 1
    await bench.change(made, metadata={"finalizers": None})
    await bench.remove(made)
    await bench.say(one, phase="Failed")
    await step(bench, binder, "pod")
    assert await bench.all(Claim) == [], "a pod that has ended needs none"
    await bench.queued(binder)
    await bench.remove(one, grace=0)
    assert await bench.queued(binder) == ["claim/p-own"]


@together
async def test_volumes_and_classes_lead_to_claims_that_wait(
    bench: Bench, binder: VolumeController
) -> None:
    await bench.add(claim(bench.namespace))
    assert await bench.queued(binder) == ["claim/c"]
    await bench.add(storage_class(bench))
    assert await bench.queued(binder) == ["claim/c"]
    v = await bench.add(volume(bench))
    assert await bench.queued(binder) == ["claim/c", f"volume/{bench.namespace}"]
    await step(bench, binder)
    await bench.queued(binder)
    await bench.change(v, metadata={"labels": {"a": "b"}})
    assert await bench.queued(binder) == ["claim/c", f"volume/{bench.namespace}"]
    await bench.client.delete(StorageClass, bench.namespace)
    assert await bench.queued(binder) == [], "it is bound"
