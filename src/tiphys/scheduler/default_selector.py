"""The default selector of a pod: what its services and its controller select (upstream's
`helper.DefaultSelector`).

PodTopologySpread spreads pods by it that have no constraints of their own.
"""

from __future__ import annotations

from tiphys.api import apps_v1, core_v1
from tiphys.client.informer import Informer, Informers
from tiphys.machinery.selectors import Requirement, Selector, from_label_selector


class DefaultSelector:
    """Looks at services, replication controllers, replica sets and stateful sets."""

    def __init__(self, informers: Informers) -> None:
        self._services = informers.of(core_v1.Service)
        self._services.index("namespace", lambda service: [service.metadata.namespace])
        self._replication_controllers = informers.of(core_v1.ReplicationController)
        self._replica_sets: Informer[apps_v1.ReplicaSet] = informers.of(apps_v1.ReplicaSet)
        self._stateful_sets: Informer[apps_v1.StatefulSet] = informers.of(apps_v1.StatefulSet)

    def selector_of(self, pod: core_v1.Pod) -> Selector | None:
        """None when nothing selects the pod."""
        labels = self._labels_of_services(pod)
        requirements: tuple[Requirement, ...] = ()
        controller = next((o for o in pod.metadata.owner_references if o.controller), None)
        if controller is not None:
            key = f"{pod.metadata.namespace}/{controller.name}"
            if controller.kind == "ReplicationController":
                labels |= self._labels_of_replication_controller(key)
            else:
                requirements = self._requirements_of_set(controller.kind, key)
        by_labels = tuple(Requirement(key, "=", (value,)) for key, value in labels.items())
        all_requirements = by_labels + requirements
        return Selector(all_requirements) if all_requirements else None

    def _labels_of_services(self, pod: core_v1.Pod) -> dict[str, str]:
        labels: dict[str, str] = {}
        pod_labels = pod.metadata.labels
        for service in self._services.by("namespace", pod.metadata.namespace):
            selector = service.spec.selector
            if selector and all(pod_labels.get(key) == value for key, value in selector.items()):
                labels |= selector
        return labels

    def _labels_of_replication_controller(self, key: str) -> dict[str, str]:
        owner = self._replication_controllers.get(key)
        return owner.spec.selector if owner is not None else {}

    def _requirements_of_set(self, kind: str, key: str) -> tuple[Requirement, ...]:
        owner: apps_v1.ReplicaSet | apps_v1.StatefulSet | None = None
        if kind == "ReplicaSet":
            owner = self._replica_sets.get(key)
        elif kind == "StatefulSet":
            owner = self._stateful_sets.get(key)
        selector = from_label_selector(owner.spec.selector) if owner is not None else None
        return selector.requirements if selector is not None else ()
