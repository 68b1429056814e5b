"""A daemon set's steps, one by one, on nodes that are there."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.builders import node
from tests.builders import pod as plain_pod
from tests.controllers.bench import Bench
from tests.controllers.builders import owned_by
from tiphys.api import core_v1
from tiphys.api.apps_v1 import ControllerRevision, DaemonSet
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.controllers.daemonset import DaemonSetController
from tiphys.machinery.errors import StatusError

pytestmark = pytest.mark.asyncio(loop_scope="package")

LABELS = {"app": "d"}


def daemon(**labels: str) -> DaemonSet:
    made = DaemonSet(metadata=ObjectMeta(name="d"))
    made.spec.selector = LabelSelector(match_labels=LABELS)
    made.spec.template.metadata.labels = LABELS
    made.spec.template.spec.containers = [core_v1.Container(name="c", image="i:1")]
    made.spec.template.spec.node_selector = labels
    return made


@pytest_asyncio.fixture(loop_scope="package")
async def sets(bench: Bench) -> AsyncIterator[DaemonSetController]:
    """With two nodes of the test's own, on which alone its daemons run."""
    for name in ("a", "b"):
        made = await bench.add(node(f"{bench.namespace}-{name}", own=bench.namespace))
        await bench.change(made, spec={"taints": None})  # of a node that has not come yet
    yield bench.start(DaemonSetController)
    for name in ("a", "b"):
        await bench.client.delete(core_v1.Node, f"{bench.namespace}-{name}")


async def numbers(bench: Bench) -> tuple[int, int, int]:
    """How many pods are wanted, there, and of the newest template."""
    found = await bench.get(DaemonSet, "d")
    assert found is not None
    status = found.status
    scheduled = status.current_number_scheduled
    return status.desired_number_scheduled, scheduled, status.updated_number_scheduled or 0


async def test_every_node_gets_a_pod_and_a_change_replaces_them(
    bench: Bench, sets: DaemonSetController
) -> None:
    made = await bench.add(daemon(own=bench.namespace))
    await bench.step(sets, "d")
    assert bench.reasons() == ["SuccessfulCreate"] * 2
    await bench.step(sets, "d")
    assert await numbers(bench) == (2, 2, 2)
    [revision] = await bench.all(ControllerRevision)
    digest = revision.metadata.name.removeprefix("d-")
    pods = await bench.all(core_v1.Pod)
    assert {pod.metadata.labels["controller-revision-hash"] for pod in pods} == {digest}
    image = {"template": {"spec": {"containers": [{"name": "c", "image": "i:2"}]}}}
    await bench.change(made, spec={**image, "revisionHistoryLimit": 0})
    await bench.step(sets, "d")
    assert bench.reasons() == ["SuccessfulDelete"] * 2, "none of them was available"
    await bench.step(sets, "d")
    await bench.step(sets, "d")
    assert await numbers(bench) == (2, 2, 2)
    [kept] = await bench.all(ControllerRevision)
    assert kept.revision == 2, "the history keeps none"


async def test_what_is_not_seen_yet_is_not_made_twice(
    bench: Bench, sets: DaemonSetController
) -> None:
    await bench.add(daemon(own=bench.namespace))
    with bench.unseen(core_v1.Pod):
        await bench.step(sets, "d")
        await bench.step(sets, "d")
    assert len(await bench.all(core_v1.Pod)) == 2


async def test_a_refused_pod_is_told_and_tried_again(
    bench: Bench, sets: DaemonSetController
) -> None:
    made = daemon(own=bench.namespace)
    bench.refuse(made.spec.template)
    await bench.add(made)
    for _ in range(2):
        with pytest.raises(StatusError):
            await bench.step(sets, "d")
        assert bench.reasons() == ["FailedCreate"] * 2
    await bench.allow()
    await bench.step(sets, "d")
    assert len(await bench.all(core_v1.Pod)) == 2


async def test_a_pod_that_failed_is_replaced_and_then_waits_longer(
    bench: Bench, sets: DaemonSetController
) -> None:
    await bench.add(daemon(own=bench.namespace))
    await bench.step(sets, "d")
    for _ in range(2):
        [pod] = [
            each
            for each in await bench.all(core_v1.Pod)
            if f"{bench.namespace}-a" in str(each.spec.affinity)
        ]
        bench.reasons()
        await bench.say(pod, phase="Failed")
        assert await bench.step(sets, "d") is None
        assert bench.reasons() == ["FailedDaemonPod", "SuccessfulDelete"]
        await bench.step(sets, "d")
        [again] = [
            each
            for each in await bench.all(core_v1.Pod)
            if f"{bench.namespace}-a" in str(each.spec.affinity)
        ]
        await bench.say(again, phase="Failed")
        wait = await bench.step(sets, "d")
        assert wait == 1
        bench.later += 1
        bench.reasons()
        assert await bench.step(sets, "d") is None
        assert bench.reasons() == ["FailedDaemonPod", "SuccessfulDelete"]
        await bench.step(sets, "d")
        bench.later += 1801  # after which earlier failures do not count


async def test_who_leads_to_the_set(bench: Bench, sets: DaemonSetController) -> None:
    await bench.add(daemon(own=bench.namespace))
    await bench.step(sets, "d")
    assert await bench.queued(sets) == ["d"]
    [first, *_] = await bench.all(core_v1.Pod)
    await bench.change(first, metadata={"labels": {"x": "y"}})
    assert await bench.queued(sets) == ["d"]
    await bench.add(plain_pod("orphan", labels=LABELS))
    assert await bench.queued(sets) == ["d"]
    for stranger in (plain_pod("other", labels={"a": "b"}), plain_pod("bare")):
        await bench.add(stranger)
    alien = owned_by(plain_pod("alien", labels=LABELS), "d", "u")
    alien.metadata.owner_references[0].api_version = "apps/v1"
    await bench.add(alien)
    assert await bench.queued(sets) == []
    one = await bench.client.get(core_v1.Node, f"{bench.namespace}-a")
    await bench.say(one, conditions=[{"type": "Ready", "status": "True"}])
    assert await bench.queued(sets) == [], "a heartbeat"
    await bench.change(one, metadata={"labels": {"disk": "fast"}})
    assert await bench.queued(sets) == ["d"]
    await bench.change(one, spec={"unschedulable": True})
    assert await bench.queued(sets) == ["d"]


async def test_one_that_is_gone_is_forgotten(bench: Bench, sets: DaemonSetController) -> None:
    sets._expectations.expect(bench.key("gone"), creations=1)
    assert await bench.step(sets, "gone") is None
    assert sets._expectations.met(bench.key("gone"))


async def test_a_pod_that_is_gone_already_is_no_failure(
    bench: Bench, sets: DaemonSetController
) -> None:
    made = await bench.add(daemon(own=bench.namespace))
    await bench.step(sets, "d")
    await bench.change(made, spec={"template": {"spec": {"nodeSelector": {"own": "other"}}}})
    bench.reasons()
    with bench.unseen(core_v1.Pod):
        for pod in await bench.all(core_v1.Pod):
            await bench.remove(pod, grace=0)
        await bench.step(sets, "d")
    assert bench.reasons() == [] and sets._expectations.met(bench.key("d"))
