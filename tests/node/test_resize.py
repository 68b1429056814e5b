"""Resizing in place: from the wish through the allocation to the fact."""

from __future__ import annotations

import json
from typing import Any

from tests.builders import pod
from tests.node.test_lifecycle import container, names, state
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.node.admission import Footprint
from tiphys.node.lifecycle import decide
from tiphys.node.resize import Resources, shortage
from tiphys.node.runtime import EXITED
from tiphys.node.status import pod_status

ROOM = {"cpu": "4", "memory": "4Gi", "pods": "10", "ephemeral-storage": "1Gi"}


def sized(
    cpu: str, memory: str = "1Gi", policy: list[dict[str, str]] | None = None, **more: Any
) -> core_v1.Pod:
    resources = {
        "requests": {"cpu": cpu, "memory": memory},
        "limits": {"cpu": cpu, "memory": memory},
    }
    made = {"name": "c", "image": "i", "resources": resources, "resizePolicy": policy or []}
    return pod(containers=[made], **more)


def statuses(one: core_v1.Pod, shown: Any, resources: Resources) -> core_v1.PodStatus:
    return pod_status(one, shown, {}, {"c"}, {"c"}, "containerd", "10.0.0.1", 100.0, resources)


def test_room_for_a_larger_pod() -> None:
    others = [Footprint(sized("2").spec)]
    assert shortage(Footprint(sized("2").spec), others, ROOM) is None
    assert shortage(Footprint(sized("2500m").spec), others, ROOM) == (
        "Deferred",
        "Node didn't have enough resource: cpu, requested: 2500, used: 2000, capacity: 4000",
    )
    reason, message = shortage(Footprint(sized("1", "5Gi").spec), others, ROOM) or ("", "")
    assert reason == "Infeasible" and message.startswith(
        "Node didn't have enough capacity: memory, requested: 5368709120"
    )


def test_a_container_keeps_what_it_has_until_it_is_given_more() -> None:
    before, shown = sized("1"), state(container())
    resources = Resources(before)
    resources.give("c", "id-c-0", before.spec.containers[0].resources)
    after = sized("2")
    assert not resources.unfinished(after, shown)  # nobody has let it
    assert resources.of(after.spec.containers[0]).resources.requests["cpu"] == "1"
    resources.pending = ("Deferred", "no room")
    status = statuses(after, shown, resources)
    [told] = status.container_statuses
    assert (
        told.resources is not None
        and told.allocated_resources["cpu"] == told.resources.requests["cpu"] == "1"
    )
    held = {c.type: (c.status, c.reason, c.message) for c in status.conditions}
    assert (
        held["PodResizePending"] == ("True", "Deferred", "no room")
        and "PodResizeInProgress" not in held
    )

    resources.allocate(after)
    [(target, id, anew)] = resources.unfinished(after, shown)
    assert (target.resources.requests["cpu"], id, anew) == ("2", "id-c-0", False)
    [told] = statuses(after, shown, resources).container_statuses
    assert told.resources is not None and (
        told.allocated_resources["cpu"],
        told.resources.limits["cpu"],
    ) == ("2", "1")
    resources.error = "busy"
    [condition] = [
        c for c in statuses(after, shown, resources).conditions if c.type.startswith("PodResize")
    ]
    assert (condition.type, condition.reason, condition.message) == (
        "PodResizeInProgress",
        "Error",
        "busy",
    )
    resources.give("c", id, target.resources)
    assert not resources.unfinished(after, shown) and not resources.conditions(after, shown)


def test_the_policy_decides_who_starts_anew() -> None:
    policy = [
        {"resourceName": "memory", "restartPolicy": "RestartContainer"},
        {"resourceName": "cpu", "restartPolicy": "NotRequired"},
    ]
    shown = state(container())
    for cpu, memory, anew in (("2", "1Gi", False), ("1", "2Gi", True), ("2", "2Gi", True)):
        before, after = sized("1", policy=policy), sized(cpu, memory, policy)
        resources = Resources(before)
        resources.give("c", "id-c-0", before.spec.containers[0].resources)
        resources.allocate(after)
        assert [row[2] for row in resources.unfinished(after, shown)] == [anew]


def test_who_ended_to_be_larger_starts_at_once() -> None:
    ended = state(container(what=EXITED, finished=100.0))
    for policy in ("Always", "OnFailure"):
        plan = decide(sized("1", restartPolicy=policy), ended, 100.0, set(), set(), {}, {"c"})
        assert names(plan) == [("c", 1)] and not plan.finished


def test_a_new_agent_knows_from_the_status() -> None:
    after = sized("2")
    told = {
        "name": "c",
        "containerID": "containerd://id-c-0",
        "allocatedResources": {"cpu": "1", "memory": "1Gi"},
        "resources": {
            "requests": {"cpu": "1", "memory": "1Gi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
    }
    after.status = from_builtins({"containerStatuses": [told]}, core_v1.PodStatus)
    resources = Resources(after)
    assert resources.allocated["c"].requests["cpu"] == "1"
    assert resources.spec(after).containers[0].resources.limits["cpu"] == "1"
    resources.allocate(after)
    assert [row[1] for row in resources.unfinished(after, state(container()))] == ["id-c-0"]


def test_statuses_tell_resources_of_all_that_last() -> None:
    plain = pod(
        initContainers=[{"name": "i", "image": "i"}],
        ephemeralContainers=[{"name": "e", "image": "i"}],
    )
    status = to_builtins(statuses(plain, state(container()), Resources(plain)))
    assert (
        status["containerStatuses"][0]["resources"]
        == {}
        == status["initContainerStatuses"][0]["resources"]
    )
    assert "resources" not in status["ephemeralContainerStatuses"][0], json.dumps(status)
