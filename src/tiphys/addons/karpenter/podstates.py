"""What pods mean to nodes: who needs one, who moves, who is in the way. Pure.

Source of the rules: Karpenter's `pkg/utils/pod`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiphys.addons.karpenter.names import DISRUPTED_TAINT, DO_NOT_DISRUPT
from tiphys.api import core_v1, policy_v1
from tiphys.machinery import conditions
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.nodes import tolerated
from tiphys.machinery.selectors import from_label_selector

_STUCK = 60.0  # seconds past its end after which a pod is not waited for
_DISRUPTED = core_v1.Taint(key=DISRUPTED_TAINT, effect="NoSchedule")
_CRITICAL = ("system-cluster-critical", "system-node-critical")


def is_owned_by(pod: core_v1.Pod, kind: str) -> bool:
    return any(owner.kind == kind for owner in pod.metadata.owner_references)


def is_active(pod: core_v1.Pod) -> bool:
    return not pod_finished(pod) and not pod.metadata.deletion_timestamp


def needs_node(pod: core_v1.Pod) -> bool:
    """The scheduler found no node for it, and nothing will be preempted for it."""
    scheduled = conditions.find(pod.status.conditions, "PodScheduled")
    return (
        not pod.spec.node_name
        and is_active(pod)
        and not pod.status.nominated_node_name
        and scheduled is not None
        and scheduled.status == "False"
        and scheduled.reason == "Unschedulable"
        and not is_owned_by(pod, "DaemonSet")
        and not is_owned_by(pod, "Node")
    )


def is_reschedulable(pod: core_v1.Pod) -> bool:
    """It needs room elsewhere when its node goes."""
    comes_back = is_owned_by(pod, "StatefulSet") and bool(pod.metadata.deletion_timestamp)
    return (
        (is_active(pod) or (comes_back and not pod_finished(pod)))
        and not is_owned_by(pod, "DaemonSet")
        and not is_owned_by(pod, "Node")
    )


def asks_for_peace(pod: core_v1.Pod) -> bool:
    """It runs and must not be disrupted, daemons and static pods included."""
    return is_active(pod) and pod.metadata.annotations.get(DO_NOT_DISRUPT) == "true"


def stays(pod: core_v1.Pod) -> bool:
    """It tolerates the disruption taint, or is the node's own: it is not evicted."""
    return tolerated(_DISRUPTED, pod.spec.tolerations) or is_owned_by(pod, "Node")


def is_evictable(pod: core_v1.Pod) -> bool:
    return is_active(pod) and not stays(pod) and not asks_for_peace(pod)


def is_waited_for(pod: core_v1.Pod, ends: float | None, now: float) -> bool:
    """A node that is drained waits for it, but not for one whose grace was over (`ends`) a minute
    ago."""
    is_stuck = ends is not None and now > ends + _STUCK
    return not pod_finished(pod) and not stays(pod) and not is_stuck


def in_order(pods: Iterable[core_v1.Pod]) -> list[list[core_v1.Pod]]:
    """Groups that are drained one after the other: daemons after others, critical pods last."""
    groups: list[list[core_v1.Pod]] = [[], [], [], []]
    for pod in pods:
        is_critical = pod.spec.priority_class_name in _CRITICAL
        groups[2 * is_critical + is_owned_by(pod, "DaemonSet")].append(pod)
    return [group for group in groups if group]


def must_be_deleted(
    pod: core_v1.Pod, ends: float | None, node_ends: float | None, now: float
) -> bool:
    """Its node's end is so near that it is ended by force, to have all of its grace (a pod that is
    ending already: when it would take longer than the node has)."""
    if node_ends is None:
        return False
    if ends is not None:
        return ends > node_ends
    grace = pod.spec.termination_grace_period_seconds
    return grace is not None and now > node_ends - grace


def blocking_budget(
    pods: Iterable[core_v1.Pod], budgets: Sequence[policy_v1.PodDisruptionBudget]
) -> str:
    """Why pods of a node cannot be evicted; "" if they can."""
    for pod in pods:
        if not is_evictable(pod):
            continue
        own = [budget for budget in budgets if _covers(budget, pod)]
        names = ", ".join(f"{b.metadata.namespace}/{b.metadata.name}" for b in own)
        if len(own) > 1:
            return f"eviction does not support multiple PDBs (PodDisruptionBudget(s)={names})"
        if own and own[0].status.disruptions_allowed == 0 and not _lets_go(own[0], pod):
            return f"pdb prevents pod evictions (PodDisruptionBudget={names})"
    return ""


def _covers(budget: policy_v1.PodDisruptionBudget, pod: core_v1.Pod) -> bool:
    if budget.metadata.namespace != pod.metadata.namespace:
        return False
    selector = from_label_selector(budget.spec.selector)
    return selector is not None and selector.matches(pod.metadata.labels)


def _lets_go(budget: policy_v1.PodDisruptionBudget, pod: core_v1.Pod) -> bool:
    is_ready = conditions.is_true(pod.status.conditions, "Ready")
    return budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow" and not is_ready


def eviction_cost(pod: core_v1.Pod) -> float:
    """What it costs to move a pod: 1, more or less by its deletion cost and priority, between -10
    and 10 (upstream's `EvictionCost`)."""
    cost = 1.0
    try:
        deletion_cost = float(
            pod.metadata.annotations.get("controller.kubernetes.io/pod-deletion-cost", 0)
        )
    except ValueError:
        deletion_cost = 0.0
    cost += deletion_cost / 2.0**27
    cost += (pod.spec.priority or 0) / 2.0**25
    return min(max(cost, -10.0), 10.0)
