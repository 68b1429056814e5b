"""Which pods make room for a critical one."""

from __future__ import annotations

import pytest

from tests.builders import pod
from tests.node.builders import node_context
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.footprint import units
from tiphys.node.pod.managedpod import ManagedPod
from tiphys.node.pod.preemption import NoneToPreempt, make_room, to_preempt

CRITICAL = pod("critical", priority=2_000_000_000)
CONTEXT = node_context()


def running(
    name: str, qos: str, cpu: str = "0", memory: str = "0", priority: int = 0
) -> ManagedPod:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    one = pod(name, containers=[{"name": "c", "image": "i", "resources": resources}])
    one.metadata.uid, one.spec.priority, one.status.qos_class = name, priority, qos
    return ManagedPod(CONTEXT, one)


LOW = running("low", "BestEffort")
SMALL = running("small", "Burstable", "100m", "100Mi")
LARGE = running("large", "Burstable", "500m", "100Mi")
MEMORY = running("memory", "Burstable", "100m", "500Mi")
SURE = running("sure", "Guaranteed", "500m", "500Mi")
OTHER = running("other", "Guaranteed", "900m", "900Mi", priority=2_000_000_000)
ALL = [LOW, SMALL, LARGE, MEMORY, SURE, OTHER]


def chosen(those: list[ManagedPod], /, **lacking: str) -> list[str]:
    amounts = {name: units(name, text) for name, text in lacking.items()}
    return [one.pod.metadata.name for one in to_preempt(CRITICAL, those, amounts)]


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [
        ({"pods": "1"}, ["low"]),
        ({"cpu": "100m"}, ["small"]),
        ({"cpu": "400m"}, ["large"]),
        ({"cpu": "600m"}, ["large", "small"]),
        ({"memory": "400Mi"}, ["memory"]),
        ({"cpu": "500m", "memory": "500Mi"}, ["memory", "large"]),
        ({"cpu": "800m"}, ["large", "sure"]),
        ({"pods": "6"}, None),
        ({"cpu": "2"}, None),
    ],
)
def test_as_few_as_possible_and_the_cheapest_go(
    lacking: dict[str, str], expected: list[str] | None
) -> None:
    if expected is not None:
        assert sorted(chosen(ALL, **lacking)) == sorted(expected)
        return
    with pytest.raises(NoneToPreempt, match="no set of running pods found to reclaim resources"):
        chosen(ALL, **lacking)


def test_critical_pods_stay() -> None:
    with pytest.raises(NoneToPreempt, match=r"\[\(res: cpu, q: 100\), \]$"):
        chosen([OTHER], cpu="100m")


async def test_room_is_there_when_they_have_ended() -> None:
    victim = running("victim", "Burstable", "1")
    victim.pod.spec.termination_grace_period_seconds = 7
    tasks = TaskGroup("test")
    making = tasks.start(make_room(CRITICAL, [victim], {"cpu": 500}), "make-room")
    await victim.changed()
    assert victim.failure is not None and victim.eviction_grace == 7.0
    assert victim.failure.reason == "Preempting" and not making.done()
    victim.ended.set()
    assert await making == [victim]
