"""Pods as CRI lists them."""

from __future__ import annotations

import pytest

from tiphys.node.cri import messages as m
from tiphys.node.cri.listing import pod_states, usage_by_pod, with_status
from tiphys.node.states import ContainerState

LABELS = {"io.kubernetes.pod.uid": "u", "io.kubernetes.pod.name": "p"}


def sandbox(id: str, created: int, state: int = 0) -> m.PodSandbox:
    meta = m.PodSandboxMetadata(name="p", namespace="default", uid="u", attempt=created)
    return m.PodSandbox(id=id, metadata=meta, state=state, created_at=created * 10**9)


def container(name: str, attempt: int, created: int, state: int = 1) -> m.Container:
    return m.Container(
        id=f"{name}{attempt}",
        pod_sandbox_id="new",
        metadata=m.ContainerMetadata(name=name, attempt=attempt),
        state=state,
        created_at=created * 10**9,
        labels=LABELS,
    )


def test_the_newest_sandbox_counts() -> None:
    listed = [sandbox("new", 9), sandbox("old", 1, state=1), sandbox("older", 0, state=1)]
    state = pod_states(listed, [])["u"]
    assert state.sandbox is not None
    assert (state.sandbox.id, state.sandbox.ready, state.sandbox.created_at) == ("new", True, 9.0)
    assert state.old_sandboxes == ["older", "old"]
    assert state.sandbox_ids() == ["older", "old", "new"]


def test_the_newest_attempt_of_a_container_counts() -> None:
    listed = [
        container("c", 2, 9),
        container("c", 0, 1),
        container("c", 1, 5),
        container("d", 0, 3),
    ]
    state = pod_states([], listed)["u"]
    assert [one.attempt for one in state.containers.values()] == [2, 0]
    assert state.previous["c"].attempt == 1
    assert (state.name, state.containers["c"].sandbox) == ("p", "new")


@pytest.mark.parametrize(
    ("number", "name"), [(0, "created"), (1, "running"), (2, "exited"), (3, "exited")]
)
def test_states_of_containers(number: int, name: str) -> None:
    [state] = pod_states([], [container("c", 0, 1, number)]).values()
    assert state.containers["c"].state == name


@pytest.mark.parametrize(("number", "ready"), [(0, True), (1, False)])
def test_states_of_sandboxes(number: int, ready: bool) -> None:
    state = pod_states([sandbox("s", 1, number)], [])["u"]
    assert state.sandbox is not None and state.sandbox.ready is ready


def test_what_a_status_adds() -> None:
    status = m.ContainerStatus(
        state=2,
        created_at=10**9,
        started_at=2 * 10**9,
        finished_at=3 * 10**9,
        exit_code=7,
        reason="Error",
        message="m",
        image=m.ImageSpec(image="img"),
        image_ref="ref",
    )
    told = with_status(ContainerState("c1", "c", 1, sandbox="s"), status)
    assert (told.id, told.name, told.attempt, told.sandbox) == ("c1", "c", 1, "s")
    assert (told.state, told.exit_code, told.reason, told.message) == ("exited", 7, "Error", "m")
    assert (told.created_at, told.started_at, told.finished_at) == (1.0, 2.0, 3.0)
    assert (told.image, told.image_ref) == ("img", "ref")


def test_usage_is_by_pod_and_container() -> None:
    def value(number: int) -> m.UInt64Value:
        return m.UInt64Value(value=number)

    stats = m.ContainerStats(
        attributes=m.ContainerAttributes(labels={**LABELS, "io.kubernetes.container.name": "c"}),
        cpu=m.CpuUsage(usage_core_nano_seconds=value(1)),
        memory=m.MemoryUsage(
            working_set_bytes=value(2),
            usage_bytes=value(3),
            rss_bytes=value(4),
            page_faults=value(5),
            major_page_faults=value(6),
            available_bytes=value(7),
        ),
        writable_layer=m.FilesystemUsage(used_bytes=value(8)),
    )
    used = usage_by_pod([stats, m.ContainerStats()])["u"]["c"]
    assert (used.cpu, used.working_set, used.usage, used.rss) == (1, 2, 3, 4)
    assert (used.faults, used.major, used.available, used.disk) == (5, 6, 7, 8)
