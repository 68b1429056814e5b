"""Pods that nobody will finish."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.builders import node, pod
from tests.controllers.bench import Bench
from tests.controllers.builders import ago, ended, leaving, node_that_is, running
from tiphys.api import core_v1
from tiphys.controllers import podgc
from tiphys.machinery.nodes import OUT_OF_SERVICE


def test_pods_of_missing_nodes_go_after_the_quarantine() -> None:
    lost, missing = pod("lost", nodeName="gone"), dict[str, float]()
    assert podgc.collect([lost], {}, missing, 0.0) == []
    assert podgc.collect([lost], {}, missing, 39.0) == []
    assert podgc.collect([lost], {}, missing, 40.0) == [podgc.Lost(lost, orphaned=True)]
    there = {"gone": node_that_is("True")}
    assert podgc.collect([lost], there, missing, 99.0) == [] and missing == {}


def out_of_service(ready: str) -> core_v1.Node:
    node = node_that_is(ready)
    node.spec.taints = [core_v1.Taint(key=OUT_OF_SERVICE, effect="NoExecute")]
    return node


@pytest.mark.parametrize(
    ("one", "node", "collected"),
    [
        (leaving(pod(nodeName="n")), node_that_is("Unknown"), False),
        (leaving(pod(nodeName="n")), out_of_service("Unknown"), True),
        (leaving(pod(nodeName="n")), out_of_service("True"), False),
        (pod(nodeName="n"), out_of_service("Unknown"), False),
        (leaving(pod()), node_that_is("True"), True),
        (pod(), node_that_is("True"), False),
    ],
)
def test_pods_on_their_way_out_do_not_wait_for_nobody(
    one: core_v1.Pod, node: core_v1.Node, collected: bool
) -> None:
    found = podgc.collect([one], {"n": node}, {}, 0.0)
    assert found == ([podgc.Lost(one)] if collected else [])


def test_of_too_many_finished_pods_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(podgc, "KEPT_FINISHED", 2)
    pods = [running("r")]
    for name, phase, age in (("a", "Failed", 1), ("b", "Succeeded", 9), ("c", "Failed", 5)):
        finished = ended(name, phase)
        finished.metadata.creation_timestamp = ago(age)
        pods.append(finished)
    assert [lost.pod.metadata.name for lost in podgc.collect(pods, {}, {}, 0.0)] == ["b"]
    leaving(pods[2])
    assert len(podgc.collect(pods, {}, {}, 0.0)) == 1, "it is collected once"


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def pods_gc(bench: Bench) -> podgc.PodGarbageCollector:
    return bench.start(podgc.PodGarbageCollector)


@together
async def test_a_pod_of_a_node_that_is_gone_fails_and_goes(
    bench: Bench, pods_gc: podgc.PodGarbageCollector
) -> None:
    made = pod("lost", nodeName=f"{bench.namespace}-gone")
    made.metadata.finalizers = ["a.b/c"]
    await bench.add(made)
    here = await bench.add(node(bench.namespace))
    await bench.add(pod("kept", nodeName=bench.namespace))
    await bench.seen()
    for later in (0, 39):
        bench.later = later
        assert await pods_gc.reconcile("all") == 20
    lost = await bench.get(core_v1.Pod, "lost")
    assert lost is not None and not lost.metadata.deletion_timestamp
    bench.later = 40
    await pods_gc.reconcile("all")
    lost = await bench.get(core_v1.Pod, "lost")
    assert lost is not None and lost.status.phase == "Failed" and lost.metadata.deletion_timestamp
    [condition] = [each for each in lost.status.conditions if each.type == "DisruptionTarget"]
    assert (condition.status, condition.reason) == ("True", "DeletionByPodGC")
    assert await bench.get(core_v1.Pod, "kept") is not None
    await bench.change(lost, metadata={"finalizers": None})
    await bench.remove(here)


@together
async def test_a_pod_that_was_deleted_before_it_was_bound_is_no_disruption(
    bench: Bench, pods_gc: podgc.PodGarbageCollector
) -> None:
    made = pod("p")
    made.metadata.finalizers = ["a.b/c"]
    standing = await bench.add(made)
    await bench.remove(standing, grace=0)
    await bench.seen()
    await pods_gc.reconcile("all")
    found = await bench.get(core_v1.Pod, "p")
    assert found is not None and found.status.phase == "Failed"
    assert [each.type for each in found.status.conditions if each.type == "DisruptionTarget"] == []
    await bench.change(found, metadata={"finalizers": None})


@together
async def test_a_pod_that_is_gone_already_is_no_failure(
    bench: Bench, pods_gc: podgc.PodGarbageCollector
) -> None:
    standing = await bench.add(pod("p"))
    await bench.remove(standing, grace=0)
    await pods_gc._remove(podgc.Lost(standing, orphaned=True))
    again = await bench.add(pod("p"))
    await pods_gc._remove(podgc.Lost(standing))
    found = await bench.get(core_v1.Pod, "p")
    assert found is not None and found.metadata.uid == again.metadata.uid
    assert await bench.queued(pods_gc) == []
