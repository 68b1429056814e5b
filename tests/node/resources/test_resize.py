"""Resizing in place: from the spec through the allocation to what the container has."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import container, records, state, status_of
from tiphys.api import core_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.node.containers.records import ContainerRecords
from tiphys.node.resources.admission import Footprint, Rejection
from tiphys.node.resources.resize import Resources, resizable, shortage
from tiphys.node.states import EXITED, PodState

ROOM = {"cpu": "4", "memory": "4Gi", "pods": "10", "ephemeral-storage": "1Gi"}


def sized(
    cpu: str, memory: str = "1Gi", policy: list[dict[str, str]] | None = None, **more: Any
) -> core_v1.Pod:
    amounts = {"cpu": cpu, "memory": memory}
    resources = {"requests": amounts, "limits": amounts}
    one = {"name": "c", "image": "i", "resources": resources, "resizePolicy": policy or []}
    return pod(containers=[one], **more)


def started(one: core_v1.Pod) -> tuple[Resources, ContainerRecords]:
    """The resources of a pod whose container was started with them."""
    known = records("c", "c")
    resources = Resources(one, known)
    resources.set_actual("c", "id-c-0", one.spec.containers[0].resources)
    return resources, known


def shown_cpu(one: core_v1.Pod, resources: Resources, known: ContainerRecords) -> tuple[str, str]:
    """(allocated, actual) CPU in the status."""
    [status] = status_of(one, state(container()), known, resources=resources).container_statuses
    assert status.resources is not None
    return status.allocated_resources["cpu"], status.resources.limits["cpu"]


@pytest.mark.parametrize(
    ("cpu", "memory", "reason", "message"),
    [
        ("2", "1Gi", "", ""),
        ("2", "3Gi", "", ""),
        (
            "2001m",
            "1Gi",
            "Deferred",
            "Node didn't have enough resource: cpu, requested: 2001, used: 2000, capacity: 4000",
        ),
        (
            "4",
            "1Gi",
            "Deferred",
            "Node didn't have enough resource: cpu, requested: 4000, used: 2000, capacity: 4000",
        ),
        (
            "4001m",
            "1Gi",
            "Infeasible",
            "Node didn't have enough capacity: cpu, requested: 4001, capacity: 4000",
        ),
        (
            "1",
            "5Gi",
            "Infeasible",
            "Node didn't have enough capacity: memory, requested: 5368709120, capacity: 4294967296",
        ),
    ],
)
def test_room_for_a_larger_pod(cpu: str, memory: str, reason: str, message: str) -> None:
    others = [Footprint(sized("2").spec)]
    expected = Rejection(reason, message) if reason else None
    assert shortage(Footprint(sized(cpu, memory).spec), others, ROOM) == expected


def test_a_container_keeps_what_it_has_until_it_is_granted_more() -> None:
    resources, known = started(sized("1"))
    after = sized("2")
    assert not resources.are_granted(after)
    assert not resources.unfinished(after, state(container()))
    assert resources.with_allocated(after.spec.containers[0]).resources.requests["cpu"] == "1"
    assert shown_cpu(after, resources, known) == ("1", "1")


def test_what_was_granted_shows_before_the_container_has_it() -> None:
    resources, known = started(sized("1"))
    after = sized("2")
    resources.grant(after)
    assert resources.are_granted(after)
    [resize] = resources.unfinished(after, state(container()))
    assert (resize.container.resources.requests["cpu"], resize.id) == ("2", "id-c-0")
    assert shown_cpu(after, resources, known) == ("2", "1")
    resources.set_actual("c", resize.id, resize.container.resources)
    assert not resources.unfinished(after, state(container()))
    assert shown_cpu(after, resources, known) == ("2", "2")


def conditions(resources: Resources, one: core_v1.Pod, shown: PodState) -> list[tuple[str, ...]]:
    return [(c.type, c.reason, c.message) for c in resources.conditions(one, shown)]


def test_conditions_of_a_resize() -> None:
    shown, after = state(container()), sized("2")
    resources, known = started(sized("1"))
    assert conditions(resources, after, shown) == []
    resources.pending = Rejection("Deferred", "no room")
    assert conditions(resources, after, shown) == [("PodResizePending", "Deferred", "no room")]
    resources.grant(after)
    assert conditions(resources, after, shown) == [("PodResizeInProgress", "", "")]
    resources.error = "busy"
    assert conditions(resources, after, shown) == [("PodResizeInProgress", "Error", "busy")]
    resources.error = ""
    resources.set_actual("c", "id-c-0", after.spec.containers[0].resources)
    known["c"].restart_for_resize = True
    assert conditions(resources, after, shown) == [("PodResizeInProgress", "", "")]


POLICY = [
    {"resourceName": "memory", "restartPolicy": "RestartContainer"},
    {"resourceName": "cpu", "restartPolicy": "NotRequired"},
]


@pytest.mark.parametrize(
    ("cpu", "memory", "policy", "restarts"),
    [
        ("1", "1Gi", POLICY, []),
        ("2", "1Gi", POLICY, [False]),
        ("1", "2Gi", POLICY, [True]),
        ("2", "2Gi", POLICY, [True]),
        ("2", "2Gi", [], [False]),
    ],
)
def test_the_policy_decides_what_restarts(
    cpu: str, memory: str, policy: list[dict[str, str]], restarts: list[bool]
) -> None:
    resources, _ = started(sized("1", policy=policy))
    after = sized(cpu, memory, policy)
    resources.grant(after)
    unfinished = resources.unfinished(after, state(container()))
    assert [resize.restarts for resize in unfinished] == restarts


@pytest.mark.parametrize("side", ["requests", "limits"])
def test_a_change_of_requests_or_limits_alone_is_applied(side: str) -> None:
    resources, _ = started(sized("1"))
    after = sized("1")
    setattr(after.spec.containers[0].resources, side, {"cpu": "2", "memory": "1Gi"})
    resources.grant(after)
    assert len(resources.unfinished(after, state(container()))) == 1


@pytest.mark.parametrize(("what", "attempt"), [(EXITED, 0), ("created", 0), ("running", 1)])
def test_what_does_not_run_or_is_another_attempt_is_not_resized(what: str, attempt: int) -> None:
    resources, _ = started(sized("1"))
    after = sized("2")
    resources.grant(after)
    assert not resources.unfinished(after, state(container(what=what, attempt=attempt)))


def test_a_new_agent_reads_the_allocation_from_the_status() -> None:
    amounts = {"cpu": "1", "memory": "1Gi"}
    shown = {
        "name": "c",
        "containerID": "containerd://id-c-0",
        "allocatedResources": amounts,
        "resources": {"requests": amounts, "limits": amounts},
    }
    after = sized("2")
    after.status = from_builtins({"containerStatuses": [shown]}, core_v1.PodStatus)
    resources = Resources(after, records())
    assert resources.allocated_spec(after).containers[0].resources.limits["cpu"] == "1"
    assert not resources.are_granted(after)
    resources.grant(after)
    assert [resize.id for resize in resources.unfinished(after, state(container()))] == ["id-c-0"]


def test_init_containers_are_resized_too() -> None:
    side = {"name": "side", "image": "i", "restartPolicy": "Always"}
    one = pod(initContainers=[{"name": "init", "image": "i"}, side])
    assert [spec.name for spec in resizable(one.spec)] == ["c", "init", "side"]


def test_statuses_have_resources_of_all_but_ephemeral_containers() -> None:
    plain = pod(
        initContainers=[{"name": "i", "image": "i"}],
        ephemeralContainers=[{"name": "e", "image": "i"}],
    )
    status = to_builtins(status_of(plain, state(container())))
    assert status["containerStatuses"][0]["resources"] == {}
    assert status["initContainerStatuses"][0]["resources"] == {}
    assert "resources" not in status["ephemeralContainerStatuses"][0]


def test_a_pod_gets_resources_as_a_whole_that_had_none() -> None:
    one = sized("100m")
    resources, _ = started(one)
    assert not resources.pod_is_unfinished(), "nothing was made for it yet"
    resources.pod_was_reserved()
    assert not resources.pod_is_unfinished()
    one.spec.resources = core_v1.ResourceRequirements(requests={"cpu": "200m"})
    assert not resources.are_granted(one) and not resources.pod_is_unfinished()
    resources.grant(one)
    assert resources.pod_is_unfinished()
    resources.pod_was_reserved()
    assert not resources.pod_is_unfinished()


def test_a_new_agent_gives_a_pod_what_the_one_before_did_not_come_to() -> None:
    one = sized("100m")
    one.spec.resources = core_v1.ResourceRequirements(requests={"cpu": "200m"})
    one.status.container_statuses = [core_v1.ContainerStatus(name="c", container_id="x://id-c-0")]
    resources, _ = started(one)
    resources.grant(one)
    assert resources.pod_is_unfinished()
