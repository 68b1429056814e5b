"""Replica sets."""

from __future__ import annotations

from tiphys.api.apps_v1 import ReplicaSet
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.scaleviews import WORKLOAD_SCALE
from tiphys.apiserver.resources.workloads import (
    SELECTOR_COLUMN,
    TEMPLATE_COLUMNS,
    WorkloadStrategy,
)
from tiphys.store.cache import Selectable


class ReplicaSetStrategy(WorkloadStrategy[ReplicaSet]):
    columns = (
        NAME,
        Column("Desired", lambda o: o.spec.replicas, type="integer"),
        Column("Current", lambda o: o.status.replicas, type="integer"),
        Column("Ready", lambda o: o.status.ready_replicas, type="integer"),
        AGE,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    )
    fields = (Selectable("status.replicas", "0"),)
    scale = WORKLOAD_SCALE
    names_pods = True

    def default(self, obj: ReplicaSet) -> None:
        super().default(obj)
        if obj.spec.replicas is None:
            obj.spec.replicas = 1
