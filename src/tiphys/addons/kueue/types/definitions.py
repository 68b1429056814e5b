"""The definitions of all of them, in both versions."""

from __future__ import annotations

from tiphys.addons.kueue.types import quotas, v1beta1, workloads
from tiphys.api.apiextensions_v1 import CustomResourceDefinition, SelectableField
from tiphys.api.base import Struct
from tiphys.operator import definition

VERSIONS: tuple[tuple[type[Struct], type[Struct]], ...] = (
    (quotas.ResourceFlavor, v1beta1.ResourceFlavor),
    (quotas.ClusterQueue, v1beta1.ClusterQueue),
    (quotas.LocalQueue, v1beta1.LocalQueue),
    (quotas.Cohort, v1beta1.Cohort),
    (quotas.WorkloadPriorityClass, v1beta1.WorkloadPriorityClass),
    (quotas.AdmissionCheck, v1beta1.AdmissionCheck),
    (quotas.Topology, v1beta1.Topology),
    (workloads.Workload, v1beta1.Workload),
)


def definitions() -> tuple[CustomResourceDefinition, ...]:
    crds = tuple(definition(*versions) for versions in VERSIONS)
    (newest, *_) = crds[-1].spec.versions
    newest.selectable_fields = [SelectableField(json_path=".status.admission.clusterQueue")]
    return crds
