"""One look at a job after the other: what is asked, written and done, over informers that nobody
runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.addons.pretended import Pretended
from tests.addons.training.builders import NOW, job, report
from tiphys.addons.training.controller import JobReconciler, bound_to
from tiphys.addons.training.metrics import JobMetrics
from tiphys.addons.training.observation import AgentReport, Member
from tiphys.addons.training.pods import pod_of
from tiphys.addons.training.recording import Recorder
from tiphys.addons.training.sizes import groups_of
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.client.tasks import TaskGroup
from tiphys.controllers.shell import Context
from tiphys.machinery import errors


class Cluster(Pretended):
    """Has jobs as they are put, and pods that can be created and deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.gone: list[tuple[str, int | None, str]] = []
        self.refuses: dict[str, Exception] = {}
        self.created: list[str] = []
        self.events: list[tuple[str, str]] = []

    async def get(self, kind: Any, name: str, namespace: str) -> Any:
        if "get" in self.refuses:
            raise self.refuses["get"]
        there = self.of(kind).get(f"{namespace}/{name}")
        if there is None:
            raise errors.not_found(kind.__name__, name)
        return there

    async def create(self, obj: Any) -> Any:
        if "create" in self.refuses:
            raise self.refuses["create"]
        self.created.append(obj.metadata.name)
        return obj

    async def delete(self, kind: Any, name: str, namespace: str, **more: Any) -> None:
        if "delete" in self.refuses:
            raise self.refuses["delete"]
        self.gone.append((f"{kind.__name__} {name}", more.get("grace"), more.get("uid", "")))

    async def patch(self, kind: Any, name: str, patch: Any, *rest: Any, **more: Any) -> None:
        return None

    def record(self, obj: Any, kind: str, reason: str, message: str) -> None:
        self.events.append((reason, message))


class Agents:
    """Answer as they are told; remember what they were told to do."""

    def __init__(self) -> None:
        self.says: dict[str, AgentReport | None] = {}
        self.asked: list[list[str]] = []
        self.told: list[str] = []

    async def ask(self, addresses: Any) -> dict[str, AgentReport | None]:
        self.asked.append(sorted(addresses))
        return {address: self.says.get(address) for address in addresses}

    async def start(self, member: Member, body: dict[str, object]) -> bool:
        self.told.append(f"start {member.name} as {body['rank']}")
        return True

    async def stop(self, member: Member, grace: int) -> bool:
        self.told.append(f"stop {member.name}")
        return True


class Operated:
    """A job of two pods, and the operator that keeps it."""

    def __init__(self, **spec: Any) -> None:
        self.cluster = Cluster()
        self.agents = Agents()
        self.time = NOW
        cluster: Any = self.cluster
        agents: Any = self.agents
        self.metrics = JobMetrics()
        kind = bound_to(agents, Recorder(self.metrics))
        settings = SimpleNamespace(agent_port=8080, poll_seconds=2, agent_timeout=30)
        context = Context(
            cluster, cluster, cluster, TaskGroup("t"), lambda: self.time, {"settings": settings}
        )
        self.reconciler: JobReconciler = kind(context, "test")
        self.queued: list[str] = []
        self.reconciler.watch(self.queued.append)
        self.job = job(replicas=2, **spec)
        self.cluster.put(self.job)
        for number in (0, 1):
            self.cluster.put(node(f"node-{number}"))

    def pod(self, index: int, phase: str = "Running", **status: Any) -> core_v1.Pod:
        made = pod_of(self.job, groups_of(self.job)[0], index, 2)
        made.metadata.uid = f"pod-uid-{index}"
        made.spec.node_name = f"node-{index}"
        made.status.phase = phase
        made.status.pod_ip = f"10.0.0.{index}"
        for name, value in status.items():
            setattr(made.status, name, value)
        self.cluster.put(made)
        return made

    async def look(self) -> float | None:
        self.agents.told.clear()
        return await self.reconciler.reconcile(self.job)


def node(name: str, ready: str = "True", **labels: str) -> core_v1.Node:
    body = {
        "metadata": {"name": name, "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }
    return from_builtins(body, core_v1.Node)


async def test_a_new_job_gets_a_service_and_pods() -> None:
    made = Operated()
    assert await made.look() == 2.0
    assert [type(one).__name__ for one in made.cluster.applied] == ["Service"]
    assert sorted(made.cluster.created) == ["train-pod-0", "train-pod-1"]
    await made.look()
    assert len(made.cluster.applied) == 1, "it is there"


async def test_agents_are_asked_where_their_pods_run_and_started_when_all_are_ready() -> None:
    made = Operated()
    made.pod(0)
    made.pod(1, "Pending")
    await made.look()
    assert made.agents.asked == [["10.0.0.0"]] and made.agents.told == []
    made.pod(1)
    made.agents.says = {f"10.0.0.{number}": report() for number in (0, 1)}
    assert await made.look() == 0.05, "it looks again at once"
    assert sorted(made.agents.told) == ["start train-pod-0 as 0", "start train-pod-1 as 1"]


async def test_silence_is_counted_from_the_first_look() -> None:
    made = Operated()
    made.pod(0)
    seen = []
    for later, answer in ((0, None), (20, None), (25, report()), (30, None), (70, None)):
        made.time = NOW + later
        made.agents.says = {"10.0.0.0": answer}
        [member] = (await made.reconciler._look(made.job)).members
        seen.append(member.silent)
    assert seen == [0, 20, 0, 0, 40]


async def test_a_pod_that_does_not_run_is_not_silent() -> None:
    made = Operated()
    for phase, later, silent in (("Running", 0, 0), ("Running", 9, 9), ("Pending", 10, 0)):
        made.time = NOW + later
        made.pod(0, phase)
        [member] = (await made.reconciler._look(made.job)).members
        assert member.silent == silent


async def test_a_rank_that_an_agent_had_is_remembered_while_its_pod_lives() -> None:
    made = Operated()
    pod = made.pod(0)
    made.agents.says = {"10.0.0.0": report("running", 7)}
    await made.reconciler._look(made.job)
    made.agents.says = {}
    [member] = (await made.reconciler._look(made.job)).members
    assert (member.agent, member.last_rank) == (None, 7)
    made.cluster.take(pod)
    made.pod(0)
    [member] = (await made.reconciler._look(made.job)).members
    assert member.last_rank == -1


async def test_a_pod_that_failed_is_replaced_a_moment_later() -> None:
    made = Operated()
    failed = made.pod(0, "Failed")
    await made.look()
    assert made.cluster.gone == [("Pod train-pod-0", None, "pod-uid-0")]
    made.cluster.take(failed)
    made.cluster.created.clear()
    made.pod(1)
    await made.look()
    assert made.cluster.created == [], "its place waits for a second"
    made.time = NOW + 2
    await made.look()
    assert made.cluster.created == ["train-pod-0"]


async def test_a_pod_that_was_deleted_is_not_deleted_again() -> None:
    made = Operated()
    made.pod(0, "Failed")
    await made.look()
    await made.look()
    assert len(made.cluster.gone) == 1, "the informer shows it still"


async def test_a_pod_of_a_lost_node_is_not_waited_for() -> None:
    made = Operated()
    made.pod(0)
    made.cluster.put(node("node-0", "Unknown"))
    await made.look()
    assert made.cluster.gone == [("Pod train-pod-0", 0, "pod-uid-0")]


@pytest.mark.parametrize(
    ("error", "raises"),
    [
        (errors.not_found("pods", "p"), False),
        (errors.conflict("pods", "p", "another uid"), False),
        (errors.forbidden("pods", "p", "no"), True),
    ],
)
async def test_a_pod_that_is_gone_already_is_no_failure(error: Exception, raises: bool) -> None:
    made = Operated()
    made.pod(0, "Failed")
    made.cluster.refuses = {"delete": error}
    if raises:
        with pytest.raises(errors.StatusError):
            await made.look()
        return
    await made.look()


@pytest.mark.parametrize(
    ("error", "raises"),
    [(errors.already_exists("pods", "p"), False), (errors.forbidden("pods", "p", "quota"), True)],
)
async def test_a_pod_that_cannot_be_created_is_told(error: Exception, raises: bool) -> None:
    made = Operated()
    made.cluster.refuses = {"create": error}
    if not raises:
        await made.look()
        assert not made.cluster.events
        return
    with pytest.raises(errors.StatusError):
        await made.look()
    assert made.cluster.events[0][0] == "FailedCreate"


@pytest.mark.parametrize("is_other", [True, False])
async def test_a_job_that_is_gone_or_another_by_now_is_left_alone(is_other: bool) -> None:
    made = Operated()
    if is_other:
        newer = job(replicas=2)
        newer.metadata.uid = "newer"
        made.cluster.put(newer)
    else:
        made.cluster.take(made.job)
    assert await made.look() is None
    assert made.cluster.created == [] and made.cluster.applied == []


async def test_a_server_that_is_away_is_asked_again() -> None:
    made = Operated()
    made.cluster.refuses = {"get": errors.unavailable("later")}
    with pytest.raises(errors.StatusError):
        await made.look()


async def test_a_suspended_job_waits_for_a_change() -> None:
    made = Operated(runPolicy={"suspend": True})
    made.pod(0)
    assert await made.look() is None
    assert made.cluster.gone == [("Pod train-pod-0", None, "pod-uid-0")]


def counted(made: Operated, name: str) -> float | None:
    name = f"hyperpod_training_operator_jobs_{name}"
    return made.metrics.registry.get_sample_value(name)


async def test_what_becomes_of_jobs_is_counted() -> None:
    made = Operated()
    await made.look()
    assert counted(made, "created_total") == 1
    made.cluster.take(made.job)
    assert (counted(made, "deleted_total"), counted(made, "running")) == (1, 0)
    assert await made.look() is None


# --- nodes ---


async def test_a_node_that_is_lost_matters_to_the_jobs_on_it() -> None:
    made = Operated()
    made.pod(0)
    made.cluster.put(node("node-1", "False"))
    assert made.queued == [], "nobody is there"
    made.cluster.put(node("node-0"))
    assert made.queued == [], "it is as it was"
    made.cluster.put(node("node-0", "False"))
    made.cluster.put(node("node-0", "False", health="x"))
    made.cluster.take(node("node-0"))
    assert made.queued == ["default/train"] * 3
