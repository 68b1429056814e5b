"""Jobs, pods and what agents say, for tests of the core."""

from __future__ import annotations

from typing import Any

from tiphys.addons.training.actions import Plan
from tiphys.addons.training.observation import AgentReport, AgentState, Member, Observation
from tiphys.addons.training.types import HyperPodPyTorchJob, JobCondition
from tiphys.api.base import from_builtins
from tiphys.machinery import conditions, timestamps

NOW = 1_800_000_000.0


def job_body(
    name: str = "train", replicas: int = 4, spares: int = 0, **spec: Any
) -> dict[str, Any]:
    """A job as a user writes it; `spec` are further fields of its spec."""
    container = {"name": "trainer", "image": "trainer:1"}
    group = {
        "name": "pod",
        "replicas": replicas,
        "spares": spares,
        "template": {"spec": {"containers": [container]}},
    }
    return {
        "apiVersion": "sagemaker.amazonaws.com/v1",
        "kind": "HyperPodPyTorchJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicaSpecs": [group], **spec},
    }


def job(name: str = "train", replicas: int = 4, spares: int = 0, **spec: Any) -> HyperPodPyTorchJob:
    made = from_builtins(job_body(name, replicas, spares, **spec), HyperPodPyTorchJob)
    made.metadata.uid = "job-uid"
    return made


def policy(eval_seconds: int = 600, **fields: Any) -> dict[str, Any]:
    return {"runPolicy": {"restartPolicy": {"evalPeriodSeconds": eval_seconds, **fields}}}


def report(state: str = "ready", rank: int = -1, epoch: str = "", **fields: Any) -> AgentReport:
    return AgentReport(AgentState(state), rank=rank, epoch=epoch, **fields)


def member(index: int, agent: AgentReport | None = None, **fields: Any) -> Member:
    known = {
        "name": f"train-pod-{index}",
        "uid": f"uid-{index}",
        "group": "pod",
        "index": index,
        "address": f"10.0.0.{index}",
        "node": f"node-{index}",
        "runs": True,
        "agent": agent,
    }
    return Member(**{**known, **fields})


def seen(made: HyperPodPyTorchJob, *members: Member, now: float = NOW) -> Observation:
    return Observation(made, tuple(members), now)


def started(made: HyperPodPyTorchJob, epoch: str = "0-4", since: float = NOW) -> HyperPodPyTorchJob:
    """The job as it is once it runs."""
    from tiphys.addons.training.phases import Phase, set_to

    for phase in (Phase.CREATED, Phase.PODS_RUNNING, Phase.RUNNING):
        set_to(made.status, phase, True, since)
    made.status.start_time = timestamps.rfc3339(since)
    made.status.master_addr = "10.0.0.0"
    return made


def running(count: int, epoch: str = "0-4") -> list[Member]:
    return [member(index, report("running", index, epoch)) for index in range(count)]


# --- plans ---


def done(plan: Plan, kind: type[Any]) -> list[Any]:
    return [action for action in plan.actions if isinstance(action, kind)]


def true(plan: Plan) -> list[str]:
    return [one.type for one in plan.status.conditions if one.status == "True"]


def condition(plan: Plan, kind: str) -> JobCondition:
    found = conditions.find(plan.status.conditions, kind)
    assert found is not None
    return found


def after(made: HyperPodPyTorchJob, plan: Plan) -> HyperPodPyTorchJob:
    made.status = plan.status
    made.metadata.annotations |= plan.annotations
    return made
