"""Which pods are a job's. Pure.

A pod may name any object as its owner: only those of the job's own namespace that have it as their
controller count.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.addons.training.types import HyperPodPyTorchJob
from tiphys.api import core_v1
from tiphys.api.meta_v1 import OwnerReference


def job_of(pod: core_v1.Pod) -> OwnerReference | None:
    """The job that a pod belongs to by its labels."""
    for reference in pod.metadata.owner_references:
        if reference.kind == HyperPodPyTorchJob.__name__ and reference.controller:
            return reference
    return None


class JobPods:
    """Pods by namespace and uid of their job, as an informer reports them."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], dict[str, core_v1.Pod]] = {}

    def put(self, pod: core_v1.Pod) -> None:
        owner = job_of(pod)
        if owner is not None:
            key = (pod.metadata.namespace, owner.uid)
            self._pods.setdefault(key, {})[pod.metadata.uid] = pod

    def remove(self, pod: core_v1.Pod) -> None:
        owner = job_of(pod)
        if owner is None:
            return
        key = (pod.metadata.namespace, owner.uid)
        pods = self._pods.get(key, {})
        pods.pop(pod.metadata.uid, None)
        if not pods:
            self._pods.pop(key, None)

    def of(self, job: HyperPodPyTorchJob) -> list[core_v1.Pod]:
        return list(self._pods.get((job.metadata.namespace, job.metadata.uid), {}).values())

    def on_node(self, name: str) -> Iterator[str]:
        """The keys of the jobs with pods on a node."""
        for pods in list(self._pods.values()):
            for pod in pods.values():
                owner = job_of(pod)
                if owner is not None and pod.spec.node_name == name:
                    yield f"{pod.metadata.namespace}/{owner.name}"
                    break
