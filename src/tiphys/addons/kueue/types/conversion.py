"""Objects from one version to the other, as plain data. Nothing that one of them has is lost in the
other, but for what v1beta1 has no field for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tiphys.addons.kueue import GROUP
from tiphys.addons.kueue.assignments import newer, older
from tiphys.addons.reviews import refusal

Manifest = dict[str, Any]
_SOURCES = {
    "kueue.x-k8s.io/workloadpriorityclass": (GROUP, "WorkloadPriorityClass"),
    "scheduling.k8s.io/priorityclass": ("scheduling.k8s.io", "PriorityClass"),
}
_RENAMED = {  # kind: (part, name in v1beta1, name in v1beta2)
    "ClusterQueue": ("spec", "cohort", "cohortName"),
    "LocalQueue": ("status", "flavorUsage", "flavorsUsage"),
    "Workload": (
        "status",
        "accumulatedPastExexcutionTimeSeconds",
        "accumulatedPastExecutionTimeSeconds",
    ),
}


def convert(obj: Manifest, version: str) -> Manifest:
    """Raises Refused for a version that there is not."""
    if version not in (f"{GROUP}/v1beta1", f"{GROUP}/v1beta2"):
        raise refusal(f"there is no version {version}")
    if obj.get("apiVersion") == version:
        return obj
    converted = copy.deepcopy(obj)
    converted["apiVersion"] = version
    is_newer = version.endswith("v1beta2")
    kind = str(obj.get("kind", ""))
    if kind in _RENAMED:
        part, old, new = _RENAMED[kind]
        _rename(converted.get(part), *((old, new) if is_newer else (new, old)))
    spec = converted.get("spec")
    if not isinstance(spec, dict):
        return converted
    if kind == "ClusterQueue" and is_newer:
        _newer_queue(spec)
    if kind == "AdmissionCheck" and is_newer:
        spec.pop("retryDelayMinutes", None)
    if kind == "Workload":
        _newer_workload(spec) if is_newer else _older_workload(spec)
        _convert_topologies(converted.get("status"), newer if is_newer else older)
    return converted


def _rename(part: Any, before: str, after: str) -> None:
    if isinstance(part, dict) and before in part:
        part[after] = part.pop(before)


def _newer_queue(spec: Manifest) -> None:
    checks = spec.pop("admissionChecks", None)
    if checks:
        spec["admissionChecksStrategy"] = {"admissionChecks": [{"name": name} for name in checks]}
    fungibility = spec.get("flavorFungibility")
    if isinstance(fungibility, dict):
        for field, old in (("whenCanBorrow", "Borrow"), ("whenCanPreempt", "Preempt")):
            if fungibility.get(field) == old:
                fungibility[field] = "MayStopSearch"


def _convert_topologies(status: Any, convert: Callable[[Manifest], Manifest]) -> None:
    admission = status.get("admission") if isinstance(status, dict) else None
    for assignment in (admission or {}).get("podSetAssignments") or ():
        if isinstance(assignment.get("topologyAssignment"), dict):
            assignment["topologyAssignment"] = convert(assignment["topologyAssignment"])


def _newer_workload(spec: Manifest) -> None:
    source = _SOURCES.get(spec.pop("priorityClassSource", None) or "")
    name = spec.pop("priorityClassName", None)
    if source is not None and name:
        spec["priorityClassRef"] = {"group": source[0], "kind": source[1], "name": name}


def _older_workload(spec: Manifest) -> None:
    spec.pop("preemptionGates", None)
    reference = spec.pop("priorityClassRef", None) or {}
    for source, named in _SOURCES.items():
        if named == (reference.get("group"), reference.get("kind")):
            spec["priorityClassSource"] = source
            spec["priorityClassName"] = reference.get("name")
