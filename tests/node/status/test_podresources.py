"""What a pod's status says of its resources as a whole."""

from __future__ import annotations

from typing import Any

from tests.builders import pod
from tests.node.builders import container, state, status_of
from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.node.states import EXITED, PodState


def asking(first: dict[str, Any], second: dict[str, Any], **spec: Any) -> core_v1.Pod:
    containers = [
        {"name": name, "image": "i", "resources": resources}
        for name, resources in (("a", first), ("b", second))
    ]
    one = pod(containers=containers, restartPolicy="Always", **spec)
    one.status.qos_class = "Burstable"
    return one


HALF = {"cpu": "500m", "memory": "1Gi"}
BOTH = {"requests": HALF, "limits": {"cpu": "1", "memory": "2Gi"}}


def resources(one: core_v1.Pod, shown: PodState) -> Any:
    return to_builtins(status_of(one, shown).resources)


def running() -> PodState:
    return state(container("a"), container("b"))


def test_requests_and_limits_of_containers_are_summed() -> None:
    one = asking(BOTH, BOTH)
    sums = {"requests": {"cpu": "1", "memory": "2147483648"}}
    sums["limits"] = {"cpu": "2", "memory": "4294967296"}
    assert resources(one, running()) == sums
    assert to_builtins(status_of(one, running()).allocated_resources) == sums["requests"]


def test_a_limit_of_the_pod_is_one_that_all_containers_have() -> None:
    one = asking(BOTH, {"requests": HALF, "limits": {"cpu": "1"}})
    assert resources(one, running())["limits"] == {"cpu": "2"}
    assert set(resources(one, PodState("u"))["limits"]) == {"cpu", "memory"}


def test_other_resources_are_shown_until_the_pod_runs() -> None:
    disk = {"requests": {"cpu": "1", "ephemeral-storage": "1Gi"}}
    one = asking(disk, {})
    assert set(resources(one, PodState("u"))["requests"]) == {"cpu", "ephemeral-storage"}
    assert set(resources(one, running())["requests"]) == {"cpu"}
    ended = state(container("a", EXITED), container("b", EXITED))
    one.spec.restart_policy = "Never"
    assert set(resources(one, ended)["requests"]) == {"cpu", "ephemeral-storage"}


def test_a_pod_that_asks_for_nothing_has_nothing() -> None:
    assert resources(asking({}, {}), running()) == {}
    assert status_of(asking({}, {}), running()).allocated_resources == {}
