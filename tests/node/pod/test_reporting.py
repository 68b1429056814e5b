"""Statuses on their way to the API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import StatusServer, client_of, node_context, running
from tiphys.api import core_v1
from tiphys.machinery.errors import StatusError
from tiphys.node.pod.reporting import StatusReporter
from tiphys.node.pod.statuswriter import StatusWriter
from tiphys.node.resources.admission import Rejection


def conditions(**values: str) -> list[core_v1.PodCondition]:
    return [core_v1.PodCondition(type=kind, status=value) for kind, value in values.items()]


async def test_a_reason_that_does_not_hold_any_more_is_removed() -> None:
    one, server = pod(), StatusServer()
    one.status.conditions = conditions(Ready="False")
    one.status.conditions[0].reason = "ContainersNotReady"
    status = core_v1.PodStatus(conditions=conditions(Ready="True", Initialized="True"))
    await StatusWriter(client_of(patch=server.patch)).write(one, status)
    ready, initialized = server.sent[0]["status"]["conditions"]
    assert (ready["reason"], ready["message"]) == (None, None)
    assert "reason" not in initialized


async def test_conditions_of_others_stay_and_resizes_that_are_over_go() -> None:
    one, server = pod(), StatusServer()
    one.status.conditions = conditions(
        PodResizePending="True", PodResizeInProgress="True", Other="True"
    )
    status = core_v1.PodStatus(conditions=conditions(PodResizePending="True"))
    await StatusWriter(client_of(patch=server.patch)).write(one, status)
    sent = server.sent[0]["status"]["conditions"]
    assert [one["type"] for one in sent] == ["PodResizePending", "PodResizeInProgress"]
    assert sent[1]["$patch"] == "delete"


async def test_the_same_status_is_written_once() -> None:
    one, server = pod(), StatusServer()
    writer = StatusWriter(client_of(patch=server.patch))
    status = core_v1.PodStatus(phase="Running")
    first = await writer.write(one, status)
    assert await writer.write(one, copy.deepcopy(status)) is one and first is not one
    await writer.write(one, core_v1.PodStatus(phase="Failed"))
    assert [change["status"]["phase"] for change in server.sent] == ["Running", "Failed"]


@pytest.mark.parametrize("code", [404, 409])
async def test_a_pod_that_is_gone_has_no_status(code: int) -> None:
    one, server = pod(), StatusServer()
    server.code = code
    writer = StatusWriter(client_of(patch=server.patch))
    assert await writer.write(one, core_v1.PodStatus(phase="Running")) is one
    server.code = 0
    await writer.write(one, core_v1.PodStatus(phase="Running"))
    assert len(server.sent) == 1, "what was not written is written again"


async def test_other_refusals_are_raised() -> None:
    server = StatusServer()
    server.code = 403
    with pytest.raises(StatusError):
        await StatusWriter(client_of(patch=server.patch)).write(pod(), core_v1.PodStatus())


async def reporter(**spec: Any) -> tuple[StatusReporter, Any, StatusServer]:
    server = StatusServer()
    managed = await running(pod(**spec), node_context(client=client_of(patch=server.patch)))
    managed.pod.metadata.resource_version = "0"
    managed.holds_room = True
    return StatusReporter(managed), managed, server


async def test_the_pod_becomes_what_was_written() -> None:
    reports, managed, server = await reporter(restartPolicy="Always")
    await reports.report()
    assert managed.pod.metadata.resource_version == "1" and managed.holds_room
    assert server.sent[0]["status"]["phase"] == "Running"


async def test_a_newer_pod_is_kept() -> None:
    reports, managed, _ = await reporter(restartPolicy="Always")
    managed.pod.metadata.resource_version = "7"
    await reports.report()
    assert managed.pod.metadata.resource_version == "7"


async def test_a_pod_that_has_ended_gives_up_its_room() -> None:
    reports, managed, _ = await reporter(restartPolicy="Always")
    managed.failure = Rejection("Evicted", "too much")
    await reports.report()
    assert not managed.holds_room


async def test_the_final_status_has_a_final_phase() -> None:
    reports, _, server = await reporter(restartPolicy="Always")
    await reports.report(is_final=True)
    assert server.sent[0]["status"]["phase"] == "Failed"


async def test_a_rejected_pod_has_failed() -> None:
    reports, managed, server = await reporter(restartPolicy="Always")
    managed.pod.metadata.generation = 3
    await reports.reject(Rejection("OutOfcpu", "no cpu"))
    assert server.sent[0]["status"] == {
        "observedGeneration": 3,
        "phase": "Failed",
        "reason": "OutOfcpu",
        "message": "Pod was rejected: no cpu",
        "startTime": "1970-01-01T00:01:40Z",
    }
    assert managed.node.recorder.recorded == [("Warning", "OutOfcpu", "no cpu", "")]
    server.code = 404
    await reports.reject(Rejection("OutOfcpu", "no cpu"))
