"""The definitions of all of them."""

from __future__ import annotations

from tiphys.addons.kueue.types.quotas import (
    AdmissionCheck,
    ClusterQueue,
    Cohort,
    LocalQueue,
    ResourceFlavor,
    Topology,
    WorkloadPriorityClass,
)
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.operator import definition

KINDS = (
    ResourceFlavor,
    ClusterQueue,
    LocalQueue,
    Cohort,
    WorkloadPriorityClass,
    AdmissionCheck,
    Topology,
    Workload,
)


def definitions() -> tuple[CustomResourceDefinition, ...]:
    return tuple(definition(kind) for kind in KINDS)
