"""What happens while a pod's worker looks elsewhere: starts that end during a read, probes in a container's first second."""

from __future__ import annotations

import asyncio
import copy
from types import SimpleNamespace
from typing import Any

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.hollow import HollowRuntime
from tiphys.node.probes import Prober
from tiphys.node.reporting import StatusWriter
from tiphys.node.runtime import CREATED, ContainerPlan, PodState
from tiphys.node.worker import PodWorker


class SlowToTell(HollowRuntime):
    """Says what there was when it was asked, when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def pod(self, uid: str) -> PodState:
        seen = copy.deepcopy(await super().pod(uid))
        self.asked.set()
        await self.let.wait()
        return seen


async def test_a_container_that_was_started_during_a_look_is_not_started_again() -> None:
    one, runtime = pod(restartPolicy="Never"), SlowToTell()
    one.metadata.uid = "u"
    shared: Any = SimpleNamespace(now=lambda: 0.0, runtime=runtime, client=None)
    worker = PodWorker(shared, one)
    worker.state.sandbox = await runtime.run_sandbox(one, 0, ([], [], []), "p")
    looking = asyncio.create_task(worker._read_state())
    await runtime.asked.wait()
    plan = ContainerPlan(one.spec.containers[0], 0, "i", [], [], {}, [])
    worker.state.containers["c"] = await runtime.start_container(one, worker.state.sandbox, plan)
    worker._start_ended("c")
    runtime.let.set()
    await looking
    assert worker.state.containers["c"].state != CREATED
    worker._begin(one.spec.containers[0], 0)
    assert not worker._starting, "that attempt has been made"


def test_failures_of_a_startup_probe_count_by_periods() -> None:
    probe = core_v1.Probe(period_seconds=10, failure_threshold=3)
    runtime: Any = SimpleNamespace(name="containerd://1")
    prober = Prober("startup", probe, core_v1.Container(name="c"), "id", runtime, str)
    at = [0.0]
    while not prober.exhausted:
        _, pause = prober.count(False)
        at.append(at[-1] + pause)
    assert len([one for one in at if one <= 1.01]) == 11, "asked often in the first second"
    assert 20 < at[-2] < 22, "given up at the third period, not before"


async def test_a_reason_that_holds_no_more_is_taken_back() -> None:
    sent: list[Any] = []

    async def patch(kind: Any, name: str, change: Any, *_: Any) -> Any:
        sent.append(change["status"]["conditions"])
        return one

    one, status = pod(), core_v1.PodStatus()
    one.status.conditions = [
        core_v1.PodCondition(type="Ready", status="False", reason="ContainersNotReady", message="m")
    ]
    status.conditions = [
        core_v1.PodCondition(type=kind, status="True") for kind in ("Ready", "Initialized")
    ]
    client: Any = SimpleNamespace(patch=patch)
    await StatusWriter(client).write(one, status)
    [[ready, initialized]] = sent
    assert (ready["reason"], ready["message"]) == (None, None) and "reason" not in initialized
