"""What objects count for a resource quota. Shared by admission, which refuses, and the controller,
which counts.

Amounts are in nano units, so that quantities and numbers of objects add up alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tiphys.api import core_v1, resource_v1
from tiphys.api.base import Quantity, parse_quantity
from tiphys.machinery.extendedresources import CLASS_PREFIX, is_special
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.quantity import NANO, add, format_quantity, maximum, nano, total

Usage = dict[str, int]


def _no_resource(class_name: str) -> str:
    return ""


def _no_pod(claim: resource_v1.ResourceClaim) -> core_v1.Pod | None:
    return None


class DeviceFacts(NamedTuple):
    """What a claim counts for besides the devices of its classes.

    resource_of: the extended resource that a class names; empty: none
    pod_of: the pod for whose extended resources a claim was made, which counts for them itself"""

    resource_of: Callable[[str], str] = _no_resource
    pod_of: Callable[[resource_v1.ResourceClaim], core_v1.Pod | None] = _no_pod


_NO_FACTS = DeviceFacts()

# Resources that have a name of their own beside ``count/...``.
COUNTED = frozenset(
    (
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
    )
)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_STORAGE_CLASS = ".storageclass.storage.k8s.io/"
DEVICE_CLASS = ".deviceclass.resource.k8s.io/devices"
_MOST_DEVICES = 32  # that one claim can be given: what a request for all of them counts for


def container_amounts(spec: core_v1.PodSpec, which: str) -> dict[str, Quantity]:
    """The requests or limits (`which`) of a pod's containers together at their neediest moment."""
    own = [getattr(c.resources, which) for c in spec.containers]
    sidecars = [
        getattr(c.resources, which) for c in spec.init_containers if c.restart_policy == "Always"
    ]
    peaks = []
    before = list[Any]()
    for container in spec.init_containers:
        amounts = getattr(container.resources, which)
        if container.restart_policy == "Always":
            before.append(amounts)
        else:
            peaks.append(total([*before, amounts]))
    return maximum([total([*own, *sidecars]), *peaks])


def pod_amounts(spec: core_v1.PodSpec, which: str) -> dict[str, Quantity]:
    """The same of the pod as a whole, overhead included."""
    result = container_amounts(spec, which)
    if spec.resources is not None:
        result |= getattr(spec.resources, which)
    for name, over in spec.overhead.items():
        if name in result or which == "requests":
            result[name] = add(result.get(name, "0"), over)
    return result


def usage_of(group_resource: str, obj: Any, facts: DeviceFacts = _NO_FACTS) -> Usage:
    """Everything that one object counts for."""
    used: Usage = {f"count/{group_resource}": NANO}
    if group_resource == "pods":
        if not pod_finished(obj):
            used["pods"] = NANO
            used |= _pod_usage(obj)
    elif group_resource in COUNTED:
        used[group_resource] = NANO
    if group_resource == "services":
        used |= _service_usage(obj)
    elif group_resource == "persistentvolumeclaims":
        used |= _claim_usage(obj)
    elif group_resource == "resourceclaims.resource.k8s.io":
        used |= _device_usage(obj, facts)
    return used


def _pod_usage(pod: core_v1.Pod) -> Usage:
    used: Usage = {}
    requests = pod_amounts(pod.spec, "requests")
    limits = pod_amounts(pod.spec, "limits")
    for name, value in requests.items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            used[name] = used[f"requests.{name}"] = nano(value)
        elif "/" in name:
            used[f"requests.{name}"] = nano(value)
    for name, value in limits.items():
        if name in _COMPUTE:
            used[f"limits.{name}"] = nano(value)
    return used


def _service_usage(service: core_v1.Service) -> Usage:
    kind = service.spec.type
    ports = len(service.spec.ports)
    used = {"services.nodeports": 0, "services.loadbalancers": 0}
    if kind == "NodePort":
        used["services.nodeports"] = ports * NANO
    elif kind == "LoadBalancer":
        used["services.loadbalancers"] = NANO
        if service.spec.allocate_load_balancer_node_ports is not False:
            used["services.nodeports"] = ports * NANO
    return used


def _claim_usage(claim: core_v1.PersistentVolumeClaim) -> Usage:
    allocated = claim.status.allocated_resources.get("storage", "0")  # more, while it shrinks again
    requested = claim.spec.resources.requests.get("storage", "0")
    size = max(nano(requested), nano(allocated))
    used = {"requests.storage": size}
    name = claim.spec.storage_class_name
    if name:
        used[f"{name}{_STORAGE_CLASS}requests.storage"] = size
        used[f"{name}{_STORAGE_CLASS}persistentvolumeclaims"] = NANO
    return used


def _device_usage(claim: resource_v1.ResourceClaim, facts: DeviceFacts) -> Usage:
    """Devices by class, and by the extended resources that classes stand for, as far as no pod
    counts for these already."""
    by_class = _devices_by_class(claim)
    used = {f"{name}{DEVICE_CLASS}": amount for name, amount in by_class.items()}
    extended: Usage = {}
    for name, amount in by_class.items():
        extended[f"requests.{CLASS_PREFIX}{name}"] = amount
        if resource := facts.resource_of(name):
            key = f"requests.{resource}"
            extended[key] = extended.get(key, 0) + amount
    pod = facts.pod_of(claim) if is_special(claim) else None
    counted = usage_of("pods", pod) if pod is not None else {}
    for key, amount in extended.items():
        if amount > counted.get(key, 0):
            used[key] = amount - counted.get(key, 0)
    return used


def is_claim_of(
    pod: core_v1.Pod,
    claim: resource_v1.ResourceClaim,
    others: Iterable[resource_v1.ResourceClaim],
) -> bool:
    """Whether a special claim is the one that was made for a pod: its status says so, or, as long
    as it says nothing, none of the `others` of the namespace came first."""
    if not _is_owned_by(claim, pod):
        return False
    status = pod.status.extended_resource_claim_status
    if status is not None:
        return status.resource_claim_name == claim.metadata.name
    own = (claim.metadata.creation_timestamp or "", claim.metadata.name)
    return not any(
        (other.metadata.creation_timestamp or "", other.metadata.name) < own
        for other in others
        if is_special(other) and _is_owned_by(other, pod)
    )


def _is_owned_by(claim: resource_v1.ResourceClaim, pod: core_v1.Pod) -> bool:
    return any(
        owner.controller and (owner.kind, owner.uid) == ("Pod", pod.metadata.uid)
        for owner in claim.metadata.owner_references
    )


def _devices_by_class(claim: resource_v1.ResourceClaim) -> Usage:
    """Of alternatives the most that any wants of a class."""
    used: Usage = {}
    for request in claim.spec.devices.requests:
        most: dict[str, int] = {}
        for wanted in [request.exactly] if request.exactly else request.first_available:
            name = wanted.device_class_name
            most[name] = max(most.get(name, 0), _devices(wanted))
        for name, count in most.items():
            used[name] = used.get(name, 0) + count * NANO
    return used


def _devices(wanted: resource_v1.ExactDeviceRequest | resource_v1.DeviceSubRequest) -> int:
    return _MOST_DEVICES if wanted.allocation_mode == "All" else wanted.count


# --- scopes ---


def in_scope(quota: core_v1.ResourceQuota, group_resource: str, obj: Any) -> bool:
    """Whether a quota is about an object. One with scopes is about pods, or about claims by the
    class of their volume's attributes."""
    wanted = [
        core_v1.ScopedResourceSelectorRequirement(scope_name=name, operator="Exists")
        for name in quota.spec.scopes
    ]
    if quota.spec.scope_selector is not None:
        wanted += quota.spec.scope_selector.match_expressions
    if not wanted:
        return True
    if group_resource == "pods":
        return all(_pod_in_scope(requirement, obj) for requirement in wanted)
    if group_resource == "persistentvolumeclaims":
        return all(_claim_in_scope(requirement, obj) for requirement in wanted)
    return False


def _pod_in_scope(wanted: core_v1.ScopedResourceSelectorRequirement, pod: core_v1.Pod) -> bool:
    deadline = pod.spec.active_deadline_seconds
    match wanted.scope_name:
        case "Terminating":
            return deadline is not None and deadline >= 0
        case "NotTerminating":
            return deadline is None
        case "BestEffort":
            return is_best_effort(pod.spec)
        case "NotBestEffort":
            return not is_best_effort(pod.spec)
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(pod.spec)
        case "PriorityClass":
            name = pod.spec.priority_class_name
            return _selects(wanted, {name} if name else set())
    return False


def _claim_in_scope(
    wanted: core_v1.ScopedResourceSelectorRequirement, claim: core_v1.PersistentVolumeClaim
) -> bool:
    return wanted.scope_name == "VolumeAttributesClass" and _selects(wanted, attributes_of(claim))


def attributes_of(claim: core_v1.PersistentVolumeClaim) -> set[str]:
    """The classes of a claim's attributes: the one that is wanted, the one it has, and the one it
    is on its way to. It counts for each of them."""
    names = {
        claim.spec.volume_attributes_class_name,
        claim.status.current_volume_attributes_class_name,
    }
    if claim.status.modify_volume_status is not None:
        names.add(claim.status.modify_volume_status.target_volume_attributes_class_name)
    return {name for name in names if name}


def _selects(wanted: core_v1.ScopedResourceSelectorRequirement, names: set[str]) -> bool:
    """As a selector of labels selects: what has no class is in none, and so is `NotIn` any."""
    match wanted.operator:
        case "In":
            return not names.isdisjoint(wanted.values)
        case "NotIn":
            return not names or not names <= set(wanted.values)
        case "Exists":
            return bool(names)
        case "DoesNotExist":
            return not names
    return False


def is_best_effort(spec: core_v1.PodSpec) -> bool:
    """Whether no container asks for, or is limited in, cpu or memory."""
    containers = [*spec.containers, *spec.init_containers]
    amounts = [a for c in containers for a in (c.resources.requests, c.resources.limits)]
    return not any(nano(a[name]) for a in amounts for name in ("cpu", "memory") if name in a)


def _crosses_namespaces(spec: core_v1.PodSpec) -> bool:
    terms: list[core_v1.PodAffinityTerm] = []
    if spec.affinity is not None:
        for part in (spec.affinity.pod_affinity, spec.affinity.pod_anti_affinity):
            if part is not None:
                terms += part.required_during_scheduling_ignored_during_execution
                terms += [
                    w.pod_affinity_term
                    for w in part.preferred_during_scheduling_ignored_during_execution
                ]
    return any(term.namespaces or term.namespace_selector is not None for term in terms)


# --- sums ---


def added(usages: Iterable[Usage]) -> Usage:
    """Sum of usages, name by name."""
    result: Usage = {}
    for usage in usages:
        for name, value in usage.items():
            result[name] = result.get(name, 0) + value
    return result


def shown(amount: int, like: str = "0") -> Quantity:
    """An amount as a quantity, in the format of another (binary for memory, decimal for counts)."""
    return format_quantity(amount, parse_quantity(like)[1])


def listed(amounts: dict[str, Any]) -> str:
    """``cpu=1,pods=2`` as messages have it."""
    return ",".join(f"{name}={amounts[name]}" for name in sorted(amounts))


def missing_amounts(quota: core_v1.ResourceQuota, pod: core_v1.Pod) -> dict[str, list[str]]:
    """Resources that the quota limits and some containers say nothing of: name → the containers."""
    missing: dict[str, list[str]] = {}
    containers = [*pod.spec.containers, *pod.spec.init_containers]
    for name in quota.status.hard:
        plain = name.removeprefix("requests.").removeprefix("limits.")
        if plain not in ("cpu", "memory"):
            continue
        which = "limits" if name.startswith("limits.") else "requests"
        if pod.spec.resources is not None and plain in getattr(pod.spec.resources, which):
            continue
        silent = sorted({c.name for c in containers if plain not in getattr(c.resources, which)})
        if silent:
            missing[name] = silent
    return missing
