"""Pods that nobody will finish."""

from __future__ import annotations

import pytest

from tests.builders import pod
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
