"""Facts of the original definitions of Kueue (v1beta2, as of its release 0.20), to compare ours
with.

A digest for each field of a spec or status. ``python -m tests.addons.kueue.originals FOLDER``
prints those of a release's ``config/components/crd/bases``.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.addons.gateway.originals import facts

# A pod template is kept as it is written, and so is what topologies were assigned.
_FREE = ("template", "topologyAssignment")


def without_free(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_free(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: without_free(value) for key, value in schema.items() if key not in _FREE}


def digests(definition: Any, version: str = "v1beta2") -> Iterator[tuple[str, str]]:
    """``Kind.spec.field`` and its digest; ``Kind.spec`` is that of the rules of the whole."""
    kind = definition["spec"]["names"]["kind"]
    found = next(one for one in definition["spec"]["versions"] if one["name"] == version)
    whole = found["schema"]["openAPIV3Schema"]
    yield (
        kind,
        _digest(
            {key: whole[key] for key in ("required", "x-kubernetes-validations") if key in whole}
        ),
    )
    for part in whole["properties"]:
        if part in ("apiVersion", "kind", "metadata"):
            continue
        schema = whole["properties"][part]
        fields = schema.get("properties", {})
        yield f"{kind}.{part}", _digest({k: v for k, v in schema.items() if k != "properties"})
        for name, field in fields.items():
            yield f"{kind}.{part}.{name}", _digest(field, name)


def _digest(schema: Any, name: str = "") -> str:
    text = json.dumps(facts(without_free(schema), name), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
        definition_ = yaml.safe_load(file.read_text())
        if "multikueue" in file.name or "provisioning" in file.name:
            continue
        for field_, digest in digests(definition_):
            print(f'    "{field_}": "{digest}",')

DIGESTS: dict[str, str] = {
    "AdmissionCheck": "01e7b720ff566d53",
    "AdmissionCheck.spec": "9e9364fe7776b7dc",
    "AdmissionCheck.spec.controllerName": "7c1684ffe4384935",
    "AdmissionCheck.spec.parameters": "446482b10cc6f6c9",
    "AdmissionCheck.status": "35c51cfafb44cd70",
    "AdmissionCheck.status.conditions": "46bd8b0228f32e13",
    "ClusterQueue": "01e7b720ff566d53",
    "ClusterQueue.spec": "dc79a49d20cca449",
    "ClusterQueue.spec.admissionChecksStrategy": "7346d04cde3c7f3b",
    "ClusterQueue.spec.admissionScope": "e796fbaf44c4172a",
    "ClusterQueue.spec.cohortName": "7f08683dd9fa0c99",
    "ClusterQueue.spec.concurrentAdmissionPolicy": "b72f842bf3561c73",
    "ClusterQueue.spec.fairSharing": "1aa362226f842449",
    "ClusterQueue.spec.flavorFungibility": "434f7d64772be389",
    "ClusterQueue.spec.namespaceSelector": "627972c161cb3481",
    "ClusterQueue.spec.preemption": "81159b968aead4ab",
    "ClusterQueue.spec.queueingStrategy": "57b4decdc9b5ee90",
    "ClusterQueue.spec.resourceGroups": "594a37e1c3b55a02",
    "ClusterQueue.spec.stopPolicy": "e2000e5f39affb5b",
    "ClusterQueue.status": "35c51cfafb44cd70",
    "ClusterQueue.status.admittedWorkloads": "f8c667c844755e3c",
    "ClusterQueue.status.conditions": "46bd8b0228f32e13",
    "ClusterQueue.status.fairSharing": "767f0aa4a6e4ea60",
    "ClusterQueue.status.flavorsReservation": "c491aec69bf290b5",
    "ClusterQueue.status.flavorsUsage": "c491aec69bf290b5",
    "ClusterQueue.status.pendingWorkloads": "f8c667c844755e3c",
    "ClusterQueue.status.reservingWorkloads": "f8c667c844755e3c",
    "Cohort": "01e7b720ff566d53",
    "Cohort.spec": "35c51cfafb44cd70",
    "Cohort.spec.fairSharing": "1aa362226f842449",
    "Cohort.spec.parentName": "7f08683dd9fa0c99",
    "Cohort.spec.resourceGroups": "594a37e1c3b55a02",
    "Cohort.status": "35c51cfafb44cd70",
    "Cohort.status.fairSharing": "767f0aa4a6e4ea60",
    "LocalQueue": "01e7b720ff566d53",
    "LocalQueue.spec": "35c51cfafb44cd70",
    "LocalQueue.spec.clusterQueue": "a6b2d14133ea01d8",
    "LocalQueue.spec.fairSharing": "1aa362226f842449",
    "LocalQueue.spec.stopPolicy": "e2000e5f39affb5b",
    "LocalQueue.status": "35c51cfafb44cd70",
    "LocalQueue.status.admittedWorkloads": "f8c667c844755e3c",
    "LocalQueue.status.conditions": "46bd8b0228f32e13",
    "LocalQueue.status.fairSharing": "1fcf5bf102746a77",
    "LocalQueue.status.flavorsReservation": "db94b620fc25295c",
    "LocalQueue.status.flavorsUsage": "db94b620fc25295c",
    "LocalQueue.status.pendingWorkloads": "f8c667c844755e3c",
    "LocalQueue.status.reservingWorkloads": "f8c667c844755e3c",
    "ResourceFlavor": "01e7b720ff566d53",
    "ResourceFlavor.spec": "4ec0e730615db1ad",
    "ResourceFlavor.spec.nodeLabels": "cc25ce28d7dad49b",
    "ResourceFlavor.spec.nodeTaints": "65754a655f343d41",
    "ResourceFlavor.spec.tolerations": "df14b8015fe66253",
    "ResourceFlavor.spec.topologyName": "7f08683dd9fa0c99",
    "Topology": "01e7b720ff566d53",
    "Topology.spec": "b9fc02b2fa94d48f",
    "Topology.spec.levels": "3453d9797d72619a",
    "WorkloadPriorityClass": "fecc73ef3a86a624",
    "WorkloadPriorityClass.description": "c413b0a16ed815db",
    "WorkloadPriorityClass.value": "f8c667c844755e3c",
    "Workload": "1e577abfc112a1f4",
    "Workload.spec": "df4a815d211e6255",
    "Workload.spec.active": "bf872dc34270d6f3",
    "Workload.spec.maximumExecutionTimeSeconds": "174fc0ecd459f465",
    "Workload.spec.podSets": "640fd23a4bf5d8a4",
    "Workload.spec.preemptionGates": "2e36492a0705d28c",
    "Workload.spec.priority": "f8c667c844755e3c",
    "Workload.spec.priorityClassRef": "1e06000122d40907",
    "Workload.spec.queueName": "7f08683dd9fa0c99",
    "Workload.status": "d44e29e56f756dc1",
    "Workload.status.accumulatedPastExecutionTimeSeconds": "f8c667c844755e3c",
    "Workload.status.admission": "83cc921573a3e7e8",
    "Workload.status.admissionChecks": "c7e3ed0d378d2163",
    "Workload.status.clusterName": "7342016ac0a12c5a",
    "Workload.status.conditions": "46bd8b0228f32e13",
    "Workload.status.nominatedClusterNames": "af276d4d3a4af16b",
    "Workload.status.preemptionGates": "92e3efa5567e715a",
    "Workload.status.reclaimablePods": "d8528c916d3d4ed5",
    "Workload.status.requeueState": "d638fc6feac7814c",
    "Workload.status.resourceRequests": "18414188bb86bf60",
    "Workload.status.schedulingStats": "e17d5abfd87a9589",
    "Workload.status.unhealthyNodes": "60a05e7c18ad5e9e",
}
