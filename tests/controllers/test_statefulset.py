"""Pods and claims of stateful sets."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.builders import pod
from tests.controllers.bench import Bench
from tiphys.api.apps_v1 import ControllerRevision, StatefulSet, StatefulSetSpec
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import PersistentVolumeClaim, Pod
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.controllers import statefulset
from tiphys.controllers.statefulset import StatefulSetController
from tiphys.machinery.errors import StatusError


def stateful(**spec: object) -> StatefulSet:
    meta = ObjectMeta(name="s", namespace="default")
    return StatefulSet(metadata=meta, spec=from_builtins(spec, StatefulSetSpec))


def test_a_pod_has_its_name_and_its_claims() -> None:
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "other", "emptyDir": {}}]
    owner = stateful(
        serviceName="svc",
        template={"spec": {"containers": [], "volumes": volumes}},
        volumeClaimTemplates=[{"metadata": {"name": "data"}}],
    )
    made = statefulset.new_pod(owner, owner.spec.template, 1, "r")
    assert (made.metadata.name, made.metadata.generate_name) == ("s-1", "")
    assert (made.spec.hostname, made.spec.subdomain) == ("s-1", "svc")
    assert made.metadata.labels == {
        "statefulset.kubernetes.io/pod-name": "s-1",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": "r",
    }
    claims = {v.name: v.persistent_volume_claim for v in made.spec.volumes}
    assert claims["other"] is None
    assert claims["data"] is not None and claims["data"].claim_name == "data-s-1"


def test_a_claim_has_the_labels_of_its_set() -> None:
    template = {"metadata": {"name": "data", "labels": {"a": "b"}}, "spec": {}}
    owner = stateful(
        selector={"matchLabels": {"app": "s"}},
        volumeClaimTemplates=[template],
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Retain"},
    )
    made = statefulset.new_claim(owner, owner.spec.volume_claim_templates[0], pod("s-0"))
    assert (made.metadata.name, made.metadata.namespace) == ("data-s-0", "default")
    assert made.metadata.labels == {"a": "b", "app": "s"}
    assert [ref.kind for ref in made.metadata.owner_references] == ["StatefulSet"]


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")
LABELS = {"app": "s"}


@pytest_asyncio.fixture(loop_scope="package")
async def sets(bench: Bench) -> StatefulSetController:
    return bench.start(StatefulSetController)


def wanted(replicas: int = 2, **spec: object) -> StatefulSet:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [CONTAINER]}}
    given = {"selector": {"matchLabels": LABELS}, "serviceName": "s", "template": template}
    return stateful(replicas=replicas, **{**given, **spec})


CONTAINER = {"name": "c", "image": "i:1"}
STORAGE = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
CLAIMS = {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": STORAGE}]}
READY = {"type": "Ready", "status": "True"}


async def names(bench: Bench, kind: type = Pod) -> list[str]:
    return [each.metadata.name for each in await bench.all(kind)]


async def settle(bench: Bench, sets: StatefulSetController, steps: int = 3) -> None:
    """Has every pod become ready between steps."""
    for _ in range(steps):
        await bench.step(sets, "s")
        for each in await bench.all(Pod):
            if each.status.phase == "Pending":
                await bench.say(each, phase="Running", conditions=[READY])


@together
async def test_pods_come_one_after_the_other_and_go_from_the_last(
    bench: Bench, sets: StatefulSetController
) -> None:
    made = await bench.add(wanted(2))
    await bench.step(sets, "s")
    await bench.step(sets, "s")
    assert await names(bench) == ["s-0"], "the second waits for the first"
    await settle(bench, sets)
    assert await names(bench) == ["s-0", "s-1"]
    assert bench.reasons() == ["SuccessfulCreate"] * 2
    await bench.step(sets, "s")
    found = await bench.get(StatefulSet, "s")
    assert found is not None
    assert (found.status.replicas, found.status.ready_replicas) == (2, 2)
    assert found.status.current_revision == found.status.update_revision != ""
    await bench.change(made, spec={"replicas": 1})
    await bench.step(sets, "s")
    assert bench.reasons() == ["SuccessfulDelete"]
    assert await bench.step(sets, "none") is None


@together
async def test_claims_come_before_their_pod_and_again_when_they_are_missed(
    bench: Bench, sets: StatefulSetController
) -> None:
    await bench.add(wanted(1, **CLAIMS))
    await bench.step(sets, "s")
    assert await names(bench, PersistentVolumeClaim) == ["data-s-0"]
    assert "Claim data-s-0 Pod s-0" in bench.events.recorded[0].message
    assert bench.reasons() == ["SuccessfulCreate"] * 2
    await bench.step(sets, "s")
    await bench.queued(sets)
    [claim] = await bench.all(PersistentVolumeClaim)
    await bench.change(claim, metadata={"finalizers": None})
    await bench.remove(claim)
    assert await bench.queued(sets) == ["s"]
    await bench.step(sets, "s")
    assert await names(bench, PersistentVolumeClaim) == ["data-s-0"]
    assert bench.reasons() == ["SuccessfulCreate"]
    [again] = await bench.all(Pod)
    await bench.say(again, phase="Running")
    [claim] = await bench.all(PersistentVolumeClaim)
    await bench.change(claim, metadata={"finalizers": None})
    await bench.remove(claim)
    await bench.step(sets, "s")
    assert await names(bench, PersistentVolumeClaim) == [], "a pod that runs does not wait"


@together
async def test_claims_go_with_whom_the_policy_says(
    bench: Bench, sets: StatefulSetController
) -> None:
    policy = {"whenScaled": "Retain", "whenDeleted": "Delete"}
    made = await bench.add(wanted(1, **CLAIMS, persistentVolumeClaimRetentionPolicy=policy))
    await settle(bench, sets)
    [claim] = await bench.all(PersistentVolumeClaim)
    assert [ref.kind for ref in claim.metadata.owner_references] == ["StatefulSet"]
    keep = {"whenScaled": "Retain", "whenDeleted": "Retain"}
    await bench.change(made, spec={"persistentVolumeClaimRetentionPolicy": keep})
    await bench.step(sets, "s")
    [claim] = await bench.all(PersistentVolumeClaim)
    assert claim.metadata.owner_references == []
    other = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u", "controller": True}
    await bench.change(claim, metadata={"ownerReferences": [other]})
    await bench.change(made, spec={"persistentVolumeClaimRetentionPolicy": policy})
    bench.reasons()
    await bench.step(sets, "s")
    assert bench.reasons() == ["ConflictingController"]


@together
async def test_a_claim_that_still_goes_with_an_earlier_pod_is_waited_for(
    bench: Bench, sets: StatefulSetController
) -> None:
    policy = {"whenScaled": "Delete", "whenDeleted": "Retain"}
    claim = PersistentVolumeClaim(metadata=ObjectMeta(name="data-s-0"))
    claim.spec = from_builtins(STORAGE, type(claim.spec))
    earlier = OwnerReference(api_version="v1", kind="Pod", name="s-0", uid="earlier")
    claim.metadata.owner_references = [earlier]
    standing = await bench.add(claim)
    await bench.add(wanted(1, **CLAIMS, persistentVolumeClaimRetentionPolicy=policy))
    await bench.step(sets, "s")
    assert await names(bench) == []
    await bench.change(standing, metadata={"ownerReferences": None})
    await bench.step(sets, "s")
    assert await names(bench) == ["s-0"]


@pytest.mark.parametrize(
    ("phase", "reason"),
    [("Failed", "RecreatingFailedPod"), ("Succeeded", "RecreatingTerminatedPod")],
)
@together
async def test_a_pod_that_has_ended_is_made_anew_at_once_and_then_later(
    bench: Bench, sets: StatefulSetController, phase: str, reason: str
) -> None:
    await bench.add(wanted(1))
    await bench.step(sets, "s")
    bench.reasons()
    [one] = await bench.all(Pod)
    await bench.say(one, phase=phase)
    await bench.step(sets, "s")
    assert bench.events.recorded[0].message.endswith(f"is recreating {phase.lower()} Pod s-0")
    assert bench.reasons() == [reason, "SuccessfulDelete"]
    await bench.step(sets, "s")
    [again] = await bench.all(Pod)
    assert again.metadata.uid != one.metadata.uid
    await bench.say(again, phase=phase)
    bench.reasons()
    wait = await bench.step(sets, "s")
    assert wait == 1 and bench.reasons() == []
    bench.later = 2
    await bench.step(sets, "s")
    assert bench.reasons() == [reason, "SuccessfulDelete"]


@together
async def test_what_is_refused_is_told(bench: Bench, sets: StatefulSetController) -> None:
    made = wanted(1)
    bench.refuse(made.spec.template)
    await bench.add(made)
    with pytest.raises(StatusError):
        await bench.step(sets, "s")
    assert bench.reasons() == ["FailedCreate"]
    await bench.allow()
    await bench.step(sets, "s")
    assert await names(bench) == ["s-0"]


@together
async def test_a_change_goes_from_the_last_to_the_first_and_history_is_kept(
    bench: Bench, sets: StatefulSetController
) -> None:
    made = await bench.add(wanted(2, revisionHistoryLimit=0))
    await settle(bench, sets)
    image = {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}
    await bench.change(made, spec=image)
    bench.reasons()
    await bench.step(sets, "s")
    assert [each for each in bench.reasons() if each == "SuccessfulDelete"]
    await settle(bench, sets, 6)
    pods = await bench.all(Pod)
    assert {each.spec.containers[0].image for each in pods} == {"i:2"}
    await bench.step(sets, "s")
    [revision] = await bench.all(ControllerRevision)
    assert revision.revision == 2
    await bench.change(made, spec={"template": {"spec": {"containers": [CONTAINER]}}})
    await bench.step(sets, "s")
    assert [each.revision for each in await bench.all(ControllerRevision)] != [2]


@together
async def test_an_earlier_template_is_the_newest_revision_again(
    bench: Bench, sets: StatefulSetController
) -> None:
    made = await bench.add(wanted(0))
    for image in ("i:1", "i:2", "i:1"):
        containers = {"spec": {"containers": [{"name": "c", "image": image}]}}
        await bench.change(made, spec={"template": containers})
        await bench.step(sets, "s")
        await bench.step(sets, "s")
    revisions = await bench.all(ControllerRevision)
    assert sorted(each.revision for each in revisions) == [2, 3]


@together
async def test_a_revision_whose_name_is_taken_gets_another(
    bench: Bench, sets: StatefulSetController
) -> None:
    made = await bench.add(wanted(0))
    await bench.step(sets, "s")
    [revision] = await bench.all(ControllerRevision)
    await bench.remove(revision)
    revision.data = {"spec": {"template": {}}}
    revision.metadata.owner_references = []
    revision.metadata.resource_version = ""
    await bench.add(revision)
    await bench.step(sets, "s")
    found = await bench.get(StatefulSet, "s")
    assert found is not None and found.status.collision_count == 1
    assert len(await bench.all(ControllerRevision)) == 2
    assert made.metadata.name == "s"


@together
async def test_a_revision_of_the_same_content_is_taken_for_it(
    bench: Bench, sets: StatefulSetController
) -> None:
    await bench.add(wanted(0))
    await bench.step(sets, "s")
    with bench.unseen(ControllerRevision):
        sets._history._written.clear()
        sets._history._revisions._indexes["owner"].objects.clear()
        await bench.step(sets, "s")
    found = await bench.get(StatefulSet, "s")
    assert found is not None and not found.status.collision_count
    assert len(await bench.all(ControllerRevision)) == 1


@together
async def test_who_leads_to_the_set(bench: Bench, sets: StatefulSetController) -> None:
    await bench.add(wanted(1))
    await bench.step(sets, "s")
    assert await bench.queued(sets) == ["s"]
    [one] = await bench.all(Pod)
    await bench.change(one, metadata={"labels": {"x": "y"}})
    assert await bench.queued(sets) == ["s"]
    await bench.add(pod("t-4", labels={"a": "b"}))
    assert await bench.queued(sets) == ["t"]
    await bench.add(pod("t-5"))
    await bench.add(pod("loose", labels={"a": "b"}))
    assert await bench.queued(sets) == []


@pytest.mark.parametrize(("name", "adopted"), [("s-0", True), ("s-x", False), ("t-0", False)])
@together
async def test_a_pod_is_adopted_by_its_name(
    bench: Bench, sets: StatefulSetController, name: str, adopted: bool
) -> None:
    await bench.add(wanted(1))
    await bench.add(pod(name, labels=LABELS))
    await bench.step(sets, "s")
    found = await bench.get(Pod, name)
    assert found is not None and bool(found.metadata.owner_references) is adopted


@pytest.mark.parametrize(
    ("phase", "number", "leaving", "waits"),
    [
        ("Pending", 0, "", True),
        ("Running", 0, "", False),
        ("Pending", 1, "", False),
        ("Pending", 0, "pod", False),
        ("Pending", 0, "set", False),
    ],
)
def test_who_may_wait_for_a_claim(phase: str, number: int, leaving: str, waits: bool) -> None:
    owner = wanted(1)
    one = pod(f"s-{number}")
    one.status.phase = phase
    gone = {"pod": one, "set": owner}.get(leaving)
    if gone is not None:
        gone.metadata.deletion_timestamp = "x"
    assert statefulset._waits(owner, one) is waits
