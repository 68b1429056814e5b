"""What jobs are worth: by their own label, or by the priority of their pods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tiphys.addons.kueue import GROUP, names
from tiphys.addons.kueue.jobs.workloads import Priority
from tiphys.addons.kueue.types.quotas import WorkloadPriorityClass
from tiphys.addons.kueue.types.workloads import PodSet, PriorityClassRef
from tiphys.api.scheduling_v1 import PriorityClass
from tiphys.client.informer import Informers


class Priorities:
    """`of` answers from copies that are kept up to date."""

    def __init__(self, informers: Informers) -> None:
        self._own = informers.of(WorkloadPriorityClass)
        self._pods = informers.of(PriorityClass)

    def of(self, labels: Mapping[str, str], pod_sets: Iterable[PodSet]) -> Priority | str:
        """The priority of a job; the name of its class if there is none of that name."""
        name = labels.get(names.PRIORITY_CLASS, "")
        if name:
            own = self._own.get(name)
            if own is None:
                return name
            return Priority(own.value, _reference(GROUP, "WorkloadPriorityClass", name))
        for pod_set in pod_sets:
            name = _class_name(pod_set.template)
            pod_class = self._pods.get(name) if name else None
            if pod_class is not None:
                reference = _reference("scheduling.k8s.io", "PriorityClass", name)
                return Priority(pod_class.value, reference)
        for candidate in self._pods:
            if candidate.global_default:
                reference = _reference(
                    "scheduling.k8s.io", "PriorityClass", candidate.metadata.name
                )
                return Priority(candidate.value, reference)
        return Priority(0)


def _reference(group: Any, kind: Any, name: str) -> PriorityClassRef:
    return PriorityClassRef(group=group, kind=kind, name=name)


def _class_name(template: Any) -> str:
    spec = template.get("spec") if isinstance(template, dict) else None
    name = spec.get("priorityClassName") if isinstance(spec, dict) else None
    return name if isinstance(name, str) else ""
