"""What controllers ask about pods."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.machinery import timestamps


def condition(obj: Any, name: str) -> Any | None:
    return next((c for c in obj.status.conditions if c.type == name), None)


def is_ready(pod: core_v1.Pod) -> bool:
    found = condition(pod, "Ready")
    return found is not None and found.status == "True"


def is_active(pod: core_v1.Pod) -> bool:
    return pod.status.phase not in ("Succeeded", "Failed") and not pod.metadata.deletion_timestamp


def available_after(pod: core_v1.Pod, min_ready: int, now: float) -> float | None:
    """Seconds until the pod counts as available: 0 when it does, None when it is not ready."""
    found = condition(pod, "Ready")
    if found is None or found.status != "True":
        return None
    if not min_ready:
        return 0.0
    return max(0.0, timestamps.parse(found.last_transition_time) + min_ready - now)


def owner_reference(owner: Any) -> OwnerReference:
    meta = owner.metadata
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=meta.name,
        uid=meta.uid,
        controller=True,
        block_owner_deletion=True,
    )


def from_template(template: core_v1.PodTemplateSpec, owner: Any) -> core_v1.Pod:
    """A new pod of a template, owned and named after its owner."""
    from tiphys.api.base import decode, encode

    meta = template.metadata
    spec = decode(encode(template.spec), core_v1.PodSpec)
    prefix = owner.metadata.name + "-"
    return core_v1.Pod(
        metadata=ObjectMeta(
            generate_name=prefix, namespace=owner.metadata.namespace, labels=dict(meta.labels),
            annotations=dict(meta.annotations), finalizers=list(meta.finalizers), owner_references=[owner_reference(owner)],
        ),
        spec=spec,
    )  # fmt: skip


def deletion_rank(pod: core_v1.Pod, peers_on_node: int, now: float) -> tuple[Any, ...]:
    """Smallest goes first: unassigned, pending, not ready, cheap, crowded, young, restarting."""
    phase = {"Pending": 0, "Unknown": 1, "Running": 2}.get(pod.status.phase, 0)
    ready = condition(pod, "Ready")
    since = timestamps.parse(ready.last_transition_time) if ready is not None and ready.status == "True" else now
    try:
        cost = int(pod.metadata.annotations.get("controller.kubernetes.io/pod-deletion-cost", "0"))
    except ValueError:
        cost = 0
    restarts = max((s.restart_count for s in pod.status.container_statuses), default=0)
    created = timestamps.parse(pod.metadata.creation_timestamp)
    return (bool(pod.spec.node_name), phase, is_ready(pod), cost, -peers_on_node, -since, -restarts, -created)
