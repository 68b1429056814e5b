"""Builders of what controllers look at. `NOW` is the time of every test of a core."""

from __future__ import annotations

from typing import Any

from tests.builders import node
from tests.builders import pod as plain_pod
from tiphys.api import batch_v1, core_v1
from tiphys.api.meta_v1 import OwnerReference
from tiphys.machinery import timestamps

NOW = 1_700_000_000.0


def ago(seconds: float) -> str:
    """A timestamp before `NOW`."""
    return timestamps.rfc3339(NOW - seconds)


def running(
    name: str, ready: bool | None = True, ready_for: float = 60, **spec: Any
) -> core_v1.Pod:
    """A pod that runs; `ready` None: nothing is known of it. Its uid is its name."""
    made = plain_pod(name, **spec)
    made.metadata.uid = name
    made.status.phase = "Running"
    if ready is not None:
        condition = core_v1.PodCondition(type="Ready", status="True" if ready else "False")
        condition.last_transition_time = ago(ready_for)
        made.status.conditions = [condition]
    return made


def ended(name: str, phase: str = "Failed", reason: str = "", started: float = 0) -> core_v1.Pod:
    """A pod that has finished; it was started that many seconds before `NOW`."""
    made = running(name, ready=False)
    made.status.phase = phase
    made.status.reason = reason
    made.status.start_time = ago(started)
    return made


def leaving(pod: core_v1.Pod) -> core_v1.Pod:
    """The pod, with its deletion begun."""
    pod.metadata.deletion_timestamp = ago(1)
    return pod


def owned_by(obj: Any, name: str, uid: str = "", kind: str = "ReplicaSet") -> Any:
    """The object, controlled by another one."""
    ref = OwnerReference(kind=kind, name=name, uid=uid or name, controller=True)
    obj.metadata.owner_references = [ref]
    return obj


def node_that_is(ready: str | None, name: str = "n", **conditions: str) -> core_v1.Node:
    """A node with the status of its condition Ready (None: it has none), and of others."""
    made = node(name)
    states = {**({} if ready is None else {"Ready": ready}), **conditions}
    made.status.conditions = [
        core_v1.NodeCondition(type=kind, status=status) for kind, status in states.items()
    ]
    return made


def job(**spec: Any) -> batch_v1.Job:
    """A job; `spec` is given in Python's names."""
    made = batch_v1.Job()
    made.metadata.name = "j"
    made.spec.completions = 1
    made.spec.parallelism = 1
    made.spec.template.spec.restart_policy = "Never"
    for name, value in spec.items():
        setattr(made.spec, name, value)
    return made


def worker(
    uid: str, phase: str = "Running", index: int | None = None, held: bool = True
) -> core_v1.Pod:
    """A pod of a job; `held` by the tracking finalizer: it is not counted yet."""
    made = plain_pod(uid)
    made.metadata.uid = uid
    made.status.phase = phase
    made.metadata.finalizers = ["batch.kubernetes.io/job-tracking"] if held else []
    if index is not None:
        made.metadata.annotations["batch.kubernetes.io/job-completion-index"] = str(index)
    return made
