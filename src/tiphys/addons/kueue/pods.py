"""Plain pods, and groups of them, as jobs: they wait behind a scheduling gate. Pure.

Source: the task "Run Plain Pods". A pod on its own is a workload with one set; a group is complete
once as many pods exist as its annotation declares, and has a set for each role (pods that are alike
by what scheduling reads).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from tiphys.addons.kueue import names
from tiphys.addons.kueue.jobs.parts import Finish, Placement
from tiphys.addons.kueue.jobs.topologies import topology_request
from tiphys.addons.kueue.types.workloads import PodSet
from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.api.meta_v1 import OwnerReference
from tiphys.machinery import conditions
from tiphys.machinery.finished import pod_finished

_MOST_ROLES = 18
_SHAPE = (
    *("nodeSelector", "affinity", "tolerations", "runtimeClassName", "priority"),
    *("topologySpreadConstraints", "overhead", "resourceClaims"),
)


def shape_of(spec: dict[str, Any]) -> dict[str, Any]:
    """What scheduling reads of a pod's spec, as plain data."""
    shape: dict[str, Any] = {name: spec.get(name) for name in _SHAPE}
    for field in ("initContainers", "containers"):
        shape[field] = [
            (one.get("resources") or {}).get("requests") for one in spec.get(field) or ()
        ]
    return shape


def role_of(spec: dict[str, Any]) -> str:
    """The same for pods that are scheduled alike, of a pod's spec as plain data."""
    text = msgspec.json.encode(shape_of(spec), order="deterministic")
    return hashlib.sha256(text).hexdigest()[:8]


def is_gated(pod: core_v1.Pod) -> bool:
    return any(gate.name == names.GATE for gate in pod.spec.scheduling_gates)


def is_going(pod: core_v1.Pod) -> bool:
    return bool(pod.metadata.deletion_timestamp)


@dataclass
class Pods:
    """A pod, or those of a group. `total` is how many the group has when it is complete."""

    namespace: str
    group: str
    members: list[core_v1.Pod]

    @property
    def total(self) -> int:
        """0: the group does not say, or not in one way."""
        if not self.group:
            return 1
        declared_totals = {
            pod.metadata.annotations.get(names.POD_GROUP_COUNT, "") for pod in self.members
        }
        text = declared_totals.pop() if len(declared_totals) == 1 else ""
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0

    @property
    def first(self) -> core_v1.Pod:
        return min(
            self.members, key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name)
        )

    @property
    def is_serving(self) -> bool:
        """Whether others take the place of pods that are gone, as those of a StatefulSet."""
        return any(
            pod.metadata.annotations.get(names.POD_GROUP_SERVING) == "true" for pod in self.members
        )

    @property
    def is_prepared(self) -> bool:
        """Whether another controller makes the workload: that of a LeaderWorkerSet's group."""
        return any(names.PARENT in pod.metadata.annotations for pod in self.members)

    @property
    def workload_name(self) -> str:
        if self.group:
            return self.group
        meta = self.members[0].metadata
        return names.workload_name("Pod", "", meta.name, meta.uid)

    @property
    def queue(self) -> str:
        return self.first.metadata.labels.get(names.QUEUE, "")

    def active(self) -> list[core_v1.Pod]:
        return [pod for pod in self.members if not pod_finished(pod) and not is_going(pod)]

    def is_complete(self) -> bool:
        """Whether all its pods exist, or it may start before they do."""
        present = [
            pod for pod in self.members if not is_going(pod) and pod.status.phase != "Failed"
        ]
        fast = self.first.metadata.annotations.get(names.POD_GROUP_FAST) == "true"
        return bool(self.total) and (len(present) >= self.total or (fast and bool(present)))

    def excess(self, pod_sets: Iterable[PodSet] = ()) -> list[core_v1.Pod]:
        """Pods beyond the total of a group, and beyond what its workload, once it has one, was
        reserved for their role, independent of the total: the newest, gated ones before others."""
        if not self.group:
            return []
        present = [
            pod for pod in self.members if not is_going(pod) and pod.status.phase != "Failed"
        ]
        present.sort(
            key=lambda pod: (
                is_gated(pod),
                pod.metadata.creation_timestamp or "",
                pod.metadata.name,
            )
        )
        beyond = present[self.total :] if self.total else []
        for pod_set in pod_sets:
            of_role = [pod for pod in present if _role(pod) == pod_set.name]
            beyond += [pod for pod in of_role[pod_set.count :] if pod not in beyond]
        return beyond

    def owners(self) -> list[OwnerReference]:
        """The owners of the workload: the pods, or what recreates them. None: it has its owner."""
        if self.is_prepared:
            return []
        if self.is_serving:
            above = {one.uid: one for pod in self.members for one in pod.metadata.owner_references}
            return [
                replace(one, controller=None, block_owner_deletion=None) for one in above.values()
            ]
        return [
            OwnerReference(
                api_version="v1",
                kind="Pod",
                name=pod.metadata.name,
                uid=pod.metadata.uid,
                controller=None if self.group else True,
            )
            for pod in self.members
        ]

    def pod_sets(self) -> list[PodSet]:
        if not self.group:
            template = _template(self.members[0])
            request = topology_request(template)
            return [PodSet(name="main", template=template, count=1, topology_request=request)]
        roles: dict[str, list[core_v1.Pod]] = {}
        kept = [one for one in self.members if one not in self.excess() and not is_going(one)]
        for pod in kept:
            if pod.status.phase != "Failed":
                roles.setdefault(_role(pod), []).append(pod)
        sets = [
            PodSet(
                name=role,
                template=_template(pods[0]),
                count=len(pods),
                topology_request=topology_request(_template(pods[0]), names.POD_INDEX),
            )
            for role, pods in sorted(roles.items())
        ]
        missing = self.total - sum(one.count for one in sets)
        if sets and missing > 0:  # a group that starts before all of them exist
            sets[0].count += missing
        return sets[:_MOST_ROLES]

    def finish(self) -> Finish | None:
        if not self.group:
            pod = self.members[0]
            if not pod_finished(pod):
                return None
            return Finish(pod.status.phase == "Succeeded", pod.status.message or "Job finished")
        if self.is_serving:
            return None
        succeeded = sum(pod.status.phase == "Succeeded" for pod in self.members)
        is_final = any(
            pod.metadata.annotations.get(names.RETRIABLE) == "false" for pod in self.members
        )
        if not self.total or (succeeded < self.total and (self.active() or not is_final)):
            return None
        return Finish(True, f"Pods succeeded: {succeeded}/{self.total}.")

    def reclaimable(self) -> dict[str, int]:
        """Pods by role that have succeeded: they are not replaced."""
        counts: dict[str, int] = {}
        for pod in self.members if self.group and not self.is_serving else ():
            if pod.status.phase == "Succeeded":
                counts[_role(pod)] = counts.get(_role(pod), 0) + 1
        return counts

    def is_ready(self) -> bool:
        return all(
            conditions.is_true(pod.status.conditions, "Ready") or pod.status.phase == "Succeeded"
            for pod in self.members
        )


def _role(pod: core_v1.Pod) -> str:
    return pod.metadata.annotations.get(names.ROLE) or role_of(to_builtins(pod.spec))


def _template(pod: core_v1.Pod) -> dict[str, Any]:
    meta = {"labels": pod.metadata.labels, "annotations": pod.metadata.annotations}
    spec = to_builtins(pod.spec)
    spec["schedulingGates"] = [
        gate
        for gate in spec.get("schedulingGates") or ()
        if gate["name"] not in (names.GATE, names.TOPOLOGY_GATE)
    ]
    return {"metadata": {key: dict(value) for key, value in meta.items() if value}, "spec": spec}


def placement_for(pod: core_v1.Pod, placements: Iterable[Placement]) -> Placement | None:
    by_name = {one.name: one for one in placements}
    return by_name.get("main") or by_name.get(_role(pod))


def ungating(pod: core_v1.Pod, placement: Placement, workload: str) -> list[dict[str, Any]]:
    """A JSON patch that lets a pod be scheduled, where its flavor wants it."""
    plain = to_builtins(pod)
    spec = plain["spec"]
    meta = plain["metadata"]
    gates = [gate for gate in spec.get("schedulingGates") or () if gate["name"] != names.GATE]
    tolerations = spec.get("tolerations") or []
    added = [one for one in placement.tolerations if one not in tolerations]
    values = {
        "/metadata/resourceVersion": pod.metadata.resource_version,
        "/metadata/labels": {**(meta.get("labels") or {}), **placement.labels},
        "/metadata/annotations": {
            **(meta.get("annotations") or {}),
            **placement.annotations,
            names.WORKLOAD: workload,
        },
        "/spec/nodeSelector": {**(spec.get("nodeSelector") or {}), **placement.node_selector},
        "/spec/tolerations": [*tolerations, *added],
        "/spec/schedulingGates": gates,
    }
    return [{"op": "add", "path": path, "value": value} for path, value in values.items()]
