"""What controllers ask about pods, and how they make them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.finished import pod_finished

_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_REJECTED = ("OutOf", "NodePorts", "NodeAffinity")  # reasons of nodes that had no room for a pod


def is_ready(pod: core_v1.Pod) -> bool:
    return conditions.is_true(pod.status.conditions, "Ready")


def is_active(pod: core_v1.Pod) -> bool:
    """Whether a pod has neither finished nor been deleted (upstream's IsPodActive)."""
    return not pod_finished(pod) and not pod.metadata.deletion_timestamp


def ready_since(pod: core_v1.Pod) -> float | None:
    """Since when a pod has been ready, in seconds since the epoch; None when it is not."""
    ready = conditions.find(pod.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        return None
    return timestamps.parse(ready.last_transition_time)


def available_after(pod: core_v1.Pod, min_ready: int, now: float) -> float | None:
    """Seconds until a pod counts as available: 0 when it does, None when it is not ready. It has to
    be ready for `min_ready` seconds without a break."""
    since = ready_since(pod)
    if since is None:
        return None
    if not min_ready:
        return 0.0
    return max(0.0, since + min_ready - now)


def is_available(pod: core_v1.Pod, min_ready: int, now: float) -> bool:
    return available_after(pod, min_ready, now) == 0


def owner_reference(owner: Any) -> OwnerReference:
    """A reference to what controls an object, which its deletion in the foreground waits for."""
    return OwnerReference(
        api_version=owner.api_version,
        kind=owner.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def from_template(template: core_v1.PodTemplateSpec, owner: Any) -> core_v1.Pod:
    """A new pod of a template, owned by `owner` and named after it."""
    meta = ObjectMeta(
        generate_name=f"{owner.metadata.name}-",
        namespace=owner.metadata.namespace,
        labels=dict(template.metadata.labels),
        annotations=dict(template.metadata.annotations),
        finalizers=list(template.metadata.finalizers),
        owner_references=[owner_reference(owner)],
    )
    return core_v1.Pod(metadata=meta, spec=decode(encode(template.spec), core_v1.PodSpec))


class DeletionRank(NamedTuple):
    """What decides which pod of a set is deleted first: the smallest, field by field, as upstream's
    ActivePodsWithRanks."""

    assigned: bool
    phase: int
    ready: bool
    cost: int
    alone: int  # the fewer of its set are on the same node, the larger
    ready_for: float
    steady: int  # the fewer restarts, the larger
    age: float


_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def deletion_rank(pod: core_v1.Pod, peers_on_node: int, now: float) -> DeletionRank:
    """The rank of a pod; `peers_on_node` is how many pods of the set are on its node, itself
    too."""
    since = ready_since(pod)
    restarts = [status.restart_count for status in pod.status.container_statuses]
    return DeletionRank(
        assigned=bool(pod.spec.node_name),
        phase=_PHASES.get(pod.status.phase, 0),
        ready=since is not None,
        cost=_deletion_cost(pod),
        alone=-peers_on_node,
        ready_for=-(now if since is None else since),
        steady=-max(restarts, default=0),
        age=-timestamps.parse(pod.metadata.creation_timestamp),
    )


def _deletion_cost(pod: core_v1.Pod) -> int:
    try:
        return int(pod.metadata.annotations.get(_DELETION_COST, "0"))
    except ValueError:
        return 0


def disruption_patch(pod: core_v1.Pod, reason: str, message: str, now: float) -> dict[str, Any]:
    """A strategic merge patch of the status that says a pod is about to be disrupted. The policies
    of jobs and the counting of disruptions read that condition."""
    condition = core_v1.PodCondition(
        type="DisruptionTarget",
        status="True",
        reason=reason,
        message=message,
        last_transition_time=timestamps.rfc3339(now),
    )
    status = {"conditions": [to_builtins(condition)]}
    return {"metadata": {"uid": pod.metadata.uid}, "status": status}


class FailureBackoff:
    """How long a failed pod stays before another takes its place.

    The wait doubles from one second with each failure in the same place, up to `limit` seconds.
    After half an hour without one the count starts over. `now` is a clock in seconds.
    """

    CALM = 1800.0  # seconds
    PLACES = 10_000  # that are remembered

    def __init__(self, now: Callable[[], float], limit: float) -> None:
        self._now = now
        self._limit = limit
        self._failures: OrderedDict[tuple[str, ...], tuple[int, float]] = OrderedDict()

    def wait(self, *place: str) -> float:
        """Seconds to wait. With 0 the pod may be replaced, which is counted as a failure."""
        now = self._now()
        count, last = self._failures.get(place, (0, 0.0))
        if count:
            left = min(2.0 ** (count - 1), self._limit) - (now - last)
            if left > 0:
                return left
        if now - last >= self.CALM:
            count = 0
        self._failures[place] = (count + 1, now)
        self._failures.move_to_end(place)
        if len(self._failures) > self.PLACES:
            self._failures.popitem(last=False)
        return 0.0


def rejection_wait(pods: Iterable[core_v1.Pod], now: float) -> float:
    """Seconds until it is worth making another pod after nodes have rejected some. It doubles from
    0.2 s with each rejected pod that is still there, up to 30 s."""
    rejected = [
        pod
        for pod in pods
        if pod.status.phase == "Failed" and pod.status.reason.startswith(_REJECTED)
    ]
    if not rejected:
        return 0.0
    newest = max(timestamps.parse(pod.status.start_time) for pod in rejected)
    wait = min(0.1 * 2.0 ** min(len(rejected), 10), 30.0)
    return max(0.0, newest + wait - now)
