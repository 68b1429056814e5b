"""The worker of a pod, step by step."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.builders import pod
from tests.node.builders import RecordingRuntime, StatusServer, client_of, node_context
from tiphys.api import core_v1
from tiphys.node.hollow import EXIT_AFTER
from tiphys.node.pod import worker
from tiphys.node.pod.worker import PodWorker
from tiphys.node.resources.admission import Rejection
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import EXITED, RUNNING, PodState
from tiphys.node.volumes.volumefiles import VolumesExhausted


class Node:
    """A node without an API server, at a second, with the worker of one pod."""

    def __init__(self, one: core_v1.Pod, now: float = 100.0) -> None:
        one.metadata.uid = "u"
        one.metadata.resource_version = "0"
        self.now = now
        self.server = StatusServer()
        self.runtime = RecordingRuntime()
        client = client_of(patch=self.server.patch, delete=self.server.delete)
        self.context = node_context(self.runtime, client, now=lambda: self.now)
        self.worker = PodWorker(self.context, one)
        self.managed = self.worker.managed

    async def step(self, times: int = 1) -> float | None:
        """Steps of the worker; what the API server answered is not taken over."""
        pause = None
        for _ in range(times):
            one = self.managed.pod
            pause = await self.worker._try_step()
            self.managed.pod = one
        return pause

    def events(self) -> list[str]:
        return self.context.recorder.reasons()  # type: ignore[no-any-return]

    def phase(self) -> str:
        return str(self.server.sent[-1]["status"]["phase"])


def lasting(**spec: Any) -> core_v1.Pod:
    return pod(**{"restartPolicy": "Always", **spec})


async def test_a_pod_has_a_sandbox_then_its_containers() -> None:
    node = Node(lasting())
    await node.step()
    assert node.managed.state.sandbox is not None and not node.managed.state.containers
    await node.step()
    assert node.phase() == "Running" and node.managed.records["c"].ready


async def test_a_new_sandbox_has_the_next_number() -> None:
    node = Node(lasting())
    await node.step(2)
    assert node.managed.state.sandbox is not None
    node.managed.state.sandbox.ready = False
    await node.step()
    assert node.managed.state.sandbox.attempt == 1
    assert "SandboxChanged" in node.events()


async def test_a_container_whose_probe_failed_is_restarted() -> None:
    node = Node(lasting())
    await node.step(2)
    node.managed.records["c"].failed_probe = "liveness"
    await node.step()
    assert node.events()[-1] == "Killing" and node.managed.records["c"].failed_probe == ""
    await node.step()
    assert node.managed.state.containers["c"].attempt == 1


async def test_a_late_pod_fails() -> None:
    one = lasting(activeDeadlineSeconds=5)
    one.status.start_time = "1970-01-01T00:00:10Z"
    node = Node(one, now=12.0)
    await node.step(2)
    assert node.phase() == "Running"
    node.now = 16.0
    await node.step()
    sent = node.server.sent[-1]["status"]
    assert (sent["phase"], sent["reason"]) == ("Failed", "DeadlineExceeded")
    assert not node.managed.state.running()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_deadline_does_not_fail_what_has_ended(phase: str) -> None:
    one = lasting(activeDeadlineSeconds=5)
    one.status.phase, one.status.start_time = phase, "1970-01-01T00:00:10Z"
    node = Node(one)
    await node.step()
    assert node.managed.failure is None


async def test_an_evicted_pod_has_a_second_to_end() -> None:
    node = Node(lasting(terminationGracePeriodSeconds=60))
    await node.step(2)
    node.managed.evict(Rejection("Evicted", "too much"), 0, "why")
    await node.step()
    assert node.runtime.graces == {"c": 1.0} and node.phase() == "Failed"
    conditions = {one["type"]: one for one in node.server.sent[-1]["status"]["conditions"]}
    disruption = conditions["DisruptionTarget"]
    assert (disruption["reason"], disruption["message"]) == ("TerminationByKubelet", "why")
    assert node.managed.ended.is_set()


@pytest.mark.parametrize("code", [0, 404, 409])
async def test_a_deleted_pod_is_ended_and_removed(code: int) -> None:
    node = Node(lasting(terminationGracePeriodSeconds=7))
    await node.step(2)
    node.managed.pod.metadata.deletion_timestamp = "1970-01-01T00:01:00Z"
    node.server.code = code
    await node.step()
    assert node.runtime.graces == {"c": 7.0} and node.managed.gone
    assert node.server.deleted == ([] if code else ["p"])
    assert not node.managed.holds_room and await node.runtime.pods() == {}


async def test_a_deleted_pod_stays_until_the_api_server_lets_it_go() -> None:
    node = Node(lasting())
    await node.step(2)
    node.managed.pod.metadata.deletion_timestamp = "1970-01-01T00:01:00Z"
    node.server.code = 500
    assert await node.step() == 2.0
    assert not node.managed.gone
    node.server.code = 0
    await node.step()
    assert node.managed.gone and node.server.deleted == ["p"]


async def test_an_abandoned_pod_is_ended_once() -> None:
    node = Node(lasting())
    await node.step(2)
    await node.worker.abandon()
    assert node.runtime.graces == {"c": 1.0} and node.managed.gone
    node.runtime.calls.clear()
    await node.worker.abandon()
    assert node.runtime.calls == []


class Broken(RecordingRuntime):
    """Cannot make sandboxes."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault = fault

    async def run_sandbox(self, *_: Any) -> Any:
        raise self.fault


@pytest.mark.parametrize(
    ("fault", "events"),
    [
        (RuntimeFault("FailedCreatePodSandBox", "no"), ["FailedCreatePodSandBox"]),
        (TimeoutError("no"), []),
        (OSError("no"), []),
        (KeyError("a bug"), []),
    ],
)
async def test_a_step_that_fails_is_tried_again(fault: Exception, events: list[str]) -> None:
    node = Node(lasting())
    node.context.runtime = Broken(fault)
    assert await node.step() == 2.0
    assert node.events() == events


async def test_a_host_name_that_is_too_long_is_an_event() -> None:
    node = Node(lasting(setHostnameAsFQDN=True, subdomain="s" * 60))
    assert await node.step() == 2.0
    [event] = node.context.recorder.recorded
    assert event[1] == "FailedCreatePodSandBox"
    assert event[2].startswith("Failed to create pod sandbox: failed to construct FQDN")


@pytest.mark.parametrize(("phase", "holds"), [("Running", True), ("Failed", False)])
def test_a_pod_that_has_ended_gives_up_its_room(phase: str, holds: bool) -> None:
    node = Node(lasting())
    node.managed.holds_room = True
    changed = lasting()
    changed.status.phase = phase
    node.worker.update(changed)
    assert node.managed.holds_room is holds and node.worker.pod is changed


async def test_a_pod_of_an_agent_before_this_one_goes_on() -> None:
    node = Node(lasting())
    await node.step(2)
    worker = PodWorker(node.context, node.managed.pod, PodState("u"))
    await worker._try_step()
    assert [one.attempt for one in worker.state.running()] == [0]


async def test_a_worker_runs_until_its_pod_is_gone() -> None:
    one = pod(restartPolicy="Never")
    one.metadata.annotations[EXIT_AFTER] = "0"
    node = Node(one)
    running = asyncio.create_task(node.worker.run())
    await asyncio.wait_for(node.server.until("Succeeded"), 10)
    deleted = pod(restartPolicy="Never")
    deleted.metadata.uid, deleted.metadata.resource_version = "u", "9"
    deleted.metadata.deletion_timestamp = "1970-01-01T00:01:00Z"
    node.worker.update(deleted)
    await asyncio.wait_for(running, 10)
    assert node.server.deleted == ["p"]


async def test_a_pod_that_has_ended_keeps_no_volumes() -> None:
    released: list[str] = []
    node = Node(lasting(restartPolicy="Never"))
    node.context.volumes.release = released.append  # type: ignore[method-assign]
    await node.step(2)
    assert not released
    end(node, "c", 0)
    await node.step(3)
    assert node.phase() == "Succeeded" and len(released) == 1, "once"


RULES = [{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]
TRIGGER = {"name": "t", "image": "i", "restartPolicy": "Never", "restartPolicyRules": RULES}


async def test_a_rule_restarts_all_containers_from_the_first_init_container_on() -> None:
    init = [{"name": "i", "image": "i"}]
    containers = [{"name": "c", "image": "i"}, TRIGGER]
    node = Node(lasting(initContainers=init, containers=containers))
    await until_all_run(node)
    end(node, "t", 42)
    await node.step()
    [sent] = [each for each in node.server.sent if restarting(each["status"])]
    assert sent["status"]["phase"] == "Running"
    await until_all_run(node)
    containers_now = node.managed.state.containers
    assert {name: one.attempt for name, one in containers_now.items()} == {"i": 1, "c": 1, "t": 1}
    shown = {one["name"]: one for one in node.server.sent[-1]["status"]["containerStatuses"]}
    ends = {name: one["lastState"]["terminated"] for name, one in shown.items()}
    assert (ends["c"]["reason"], ends["c"]["exitCode"]) == ("RestartingAllContainers", 137)
    assert (ends["t"]["reason"], ends["t"]["exitCode"]) == ("Error", 42)
    assert node.phase() == "Running" and not restarting(node.server.sent[-1]["status"])


@pytest.mark.parametrize("code", [0, 41])
async def test_another_exit_code_restarts_nothing(code: int) -> None:
    node = Node(lasting(containers=[{"name": "c", "image": "i"}, TRIGGER]))
    await until_all_run(node)
    end(node, "t", code)
    await node.step(3)
    assert {one.attempt for one in node.managed.state.containers.values()} == {0}


def end(node: Node, name: str, code: int) -> None:
    one = node.managed.state.containers[name]
    one.state, one.exit_code = EXITED, code


async def until_all_run(node: Node) -> None:
    """Init containers succeed as soon as they run."""
    names = [container.name for container in node.managed.pod.spec.containers]
    for _ in range(20):
        await node.step()
        state = node.managed.state.containers
        if "i" in state and state["i"].state == RUNNING:
            end(node, "i", 0)
        if all(name in state and state[name].state == RUNNING for name in names):
            await node.step()
            return
    raise AssertionError(f"not all run: {state}")


def restarting(status: Any) -> bool:
    kinds = [one["type"] for one in status["conditions"] if one["status"] == "True"]
    return "AllContainersRestarting" in kinds


async def test_a_pod_whose_volumes_the_node_has_no_room_for_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node(lasting())
    monkeypatch.setattr(worker, "_PATIENCE", -1.0)

    async def full(one: core_v1.Pod) -> dict[str, str]:
        raise VolumesExhausted("full", volume="pv")

    monkeypatch.setattr(node.context.volumes, "set_up", full)
    await node.step(2)
    assert node.events() == ["VolumeAttachmentLimitExceeded"]
    status = node.server.sent[-1]["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "VolumeAttachmentLimitExceeded")
    assert (
        "reached its volume attachment limit, rejecting pod. unmounted volumes=[pv]"
        in status["message"]
    )
