"""Which pods belong together: those that the same services and the same owner select."""

from __future__ import annotations

from typing import Any

from tiphys.api import apps_v1, core_v1
from tiphys.client.informer import Informer, Informers
from tiphys.machinery.selectors import Requirement, Selector, from_label_selector


class Kinship:
    """Looks at services, replication controllers, replica sets and stateful sets."""

    def __init__(self, informers: Informers) -> None:
        self._services = informers.of(core_v1.Service)
        self._services.index("namespace", lambda service: [service.metadata.namespace])
        self._old_sets = informers.of(core_v1.ReplicationController)
        self._sets: dict[str, Informer[Any]] = {
            "ReplicaSet": informers.of(apps_v1.ReplicaSet),
            "StatefulSet": informers.of(apps_v1.StatefulSet),
        }

    def selector(self, pod: core_v1.Pod) -> Selector | None:
        """What a pod and its like have in common; None when nobody selects it."""
        meta = pod.metadata
        wanted: dict[str, str] = {}
        for service in self._services.by("namespace", meta.namespace):
            chosen = service.spec.selector
            if chosen and all(meta.labels.get(key) == value for key, value in chosen.items()):
                wanted.update(chosen)
        owner = next((owner for owner in meta.owner_references if owner.controller), None)
        more: tuple[Requirement, ...] = ()
        if owner is not None:
            key = f"{meta.namespace}/{owner.name}"
            if owner.kind in self._sets:
                found = self._sets[owner.kind].get(key)
                selector = from_label_selector(found.spec.selector) if found is not None else None
                more = selector.requirements if selector is not None else ()
            elif (
                owner.kind == "ReplicationController"
                and (old := self._old_sets.get(key)) is not None
            ):
                wanted.update(old.spec.selector)
        rows = tuple(Requirement(key, "=", (value,)) for key, value in wanted.items()) + more
        return Selector(rows) if rows else None
