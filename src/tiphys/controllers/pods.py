"""What controllers ask about pods."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.machinery import timestamps

_CALM, _REMEMBERED = 1800.0, 10_000
_REFUSED = ("OutOf", "NodePorts", "NodeAffinity")  # reasons of nodes that had no room


def condition(obj: Any, name: str) -> Any | None:
    for found in obj.status.conditions:
        if found.type == name:
            return found
    return None


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
            generate_name=prefix,
            namespace=owner.metadata.namespace,
            labels=dict(meta.labels),
            annotations=dict(meta.annotations),
            finalizers=list(meta.finalizers),
            owner_references=[owner_reference(owner)],
        ),
        spec=spec,
    )


def deletion_rank(pod: core_v1.Pod, peers_on_node: int, now: float) -> tuple[Any, ...]:
    """Smallest goes first: unassigned, pending, not ready, cheap, crowded, young, restarting."""
    phase = {"Pending": 0, "Unknown": 1, "Running": 2}.get(pod.status.phase, 0)
    ready = condition(pod, "Ready")
    since = (
        timestamps.parse(ready.last_transition_time)
        if ready is not None and ready.status == "True"
        else now
    )
    try:
        cost = int(pod.metadata.annotations.get("controller.kubernetes.io/pod-deletion-cost", "0"))
    except ValueError:
        cost = 0
    restarts = max((s.restart_count for s in pod.status.container_statuses), default=0)
    created = timestamps.parse(pod.metadata.creation_timestamp)
    return (
        bool(pod.spec.node_name),
        phase,
        is_ready(pod),
        cost,
        -peers_on_node,
        -since,
        -restarts,
        -created,
    )


class FailureBackoff:
    """How long a failed pod stays before another takes its place: longer each time one fails in the same place,
    up to `limit` seconds. What has been calm for half an hour begins anew."""

    def __init__(self, now: Callable[[], float], limit: float) -> None:
        self._now, self._limit = now, limit
        self._failures: OrderedDict[tuple[str, ...], tuple[int, float]] = OrderedDict()

    def wait(self, *place: str) -> float:
        """Seconds from now; 0: it may be replaced, which is taken as done."""
        count, last = self._failures.get(place, (0, 0.0))
        now = self._now()
        wait = min(2.0 ** (count - 1), self._limit) - (now - last) if count else 0.0
        if wait > 0:
            return wait
        self._failures[place] = (count + 1 if now - last < _CALM else 1, now)
        self._failures.move_to_end(place)
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        return 0.0


def refusal_wait(pods: Iterable[core_v1.Pod], now: float) -> float:
    """Seconds until it is worth making another pod after nodes have refused some: longer the more there were."""
    refused = [
        p for p in pods if p.status.phase == "Failed" and p.status.reason.startswith(_REFUSED)
    ]
    if not refused:
        return 0.0
    newest = max(timestamps.parse(p.status.start_time) for p in refused)
    return max(0.0, newest + min(0.1 * 2.0 ** min(len(refused), 10), 30.0) - now)
