"""Pod disruption budgets: how many pods may be taken away by choice, kept up to date for the eviction API."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import Condition, OwnerReference
from tiphys.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from tiphys.controllers.deployment import resolve
from tiphys.controllers.pods import is_ready
from tiphys.controllers.scales import Scales
from tiphys.controllers.shell import Controller, controller_of
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import from_label_selector

_PATIENCE = 120.0  # seconds an eviction may take until its pod counts as there again


# --- the core: pure ---


@dataclass
class Counts:
    """expected: pods that should be there; desired: how many of them must stay healthy."""

    expected: int
    desired: int


def counts(budget: PodDisruptionBudget, pods: list[core_v1.Pod], scale: int) -> Counts:
    """`scale` is what the owners of the pods want altogether."""
    spec = budget.spec
    if spec.max_unavailable is not None:
        return Counts(scale, max(0, scale - resolve(spec.max_unavailable, scale, True)))
    if isinstance(spec.min_available, str):
        return Counts(scale, resolve(spec.min_available, scale, True))
    return Counts(len(pods), int(spec.min_available or 0))


def judged(
    budget: PodDisruptionBudget, pods: list[core_v1.Pod], wanted: Counts, now: float
) -> tuple[PodDisruptionBudgetStatus, float | None]:
    """(the status a budget should have, seconds until it changes by itself)."""
    status = copy.deepcopy(budget.status)
    by_name = {pod.metadata.name: pod for pod in pods}
    disrupted, wake = {}, None
    for name, since in budget.status.disrupted_pods.items():
        left = timestamps.parse(since) + _PATIENCE - now
        pod = by_name.get(name)
        if pod is not None and not pod.metadata.deletion_timestamp and left > 0:
            disrupted[name] = since
            wake = min(wake or left, left)
    healthy = sum(
        is_ready(pod) and not pod.metadata.deletion_timestamp and pod.metadata.name not in disrupted
        for pod in pods
    )
    status.expected_pods, status.desired_healthy, status.current_healthy = (
        wanted.expected,
        wanted.desired,
        healthy,
    )
    status.disrupted_pods = disrupted
    status.disruptions_allowed = max(0, healthy - wanted.desired) if wanted.expected > 0 else 0
    status.observed_generation = budget.metadata.generation
    allowed = status.disruptions_allowed > 0
    standing = next((c for c in status.conditions if c.type == "DisruptionAllowed"), None)
    reason = "SufficientPods" if allowed else "InsufficientPods"
    if standing is None or standing.status != str(allowed) or standing.reason != reason:
        fresh = Condition(
            type="DisruptionAllowed",
            status=str(allowed),
            reason=reason,
            message="",
            last_transition_time=timestamps.rfc3339(now),
            observed_generation=budget.metadata.generation,
        )
        status.conditions = [
            *(c for c in status.conditions if c.type != "DisruptionAllowed"),
            fresh,
        ]
    elif standing is not None:
        standing.observed_generation = budget.metadata.generation
    return status, wake


def needs_scale(budget: PodDisruptionBudget) -> bool:
    return budget.spec.max_unavailable is not None or isinstance(budget.spec.min_available, str)


# --- the shell ---


class DisruptionController(Controller):
    name = "disruption"
    event_source = "controllermanager"

    def watch(self) -> None:
        self._budgets, self._pods = self.informer(PodDisruptionBudget), self.informer(core_v1.Pod)
        self._owners: dict[str, Any] = {
            "ReplicaSet": self.informer(apps_v1.ReplicaSet),
            "Deployment": self.informer(apps_v1.Deployment),
            "StatefulSet": self.informer(apps_v1.StatefulSet),
            "ReplicationController": self.informer(core_v1.ReplicationController),
        }
        self._scales = Scales(self.client)
        self._pods.index("namespace", lambda pod: [pod.metadata.namespace])
        self._budgets.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        if not len(self._budgets):
            return
        for budget in self._budgets:
            selector = from_label_selector(budget.spec.selector)
            for pod in (old, new):
                if pod is not None and pod.metadata.namespace == budget.metadata.namespace:
                    if selector is not None and selector.matches(pod.metadata.labels):
                        self.enqueue(None, budget)
                        break

    async def reconcile(self, key: str) -> float | None:
        budget = self._budgets.get(key)
        if budget is None or budget.metadata.deletion_timestamp:
            return None
        selector = from_label_selector(budget.spec.selector)
        pods = [
            pod
            for pod in self._pods.by("namespace", budget.metadata.namespace)
            if selector is not None
            and selector.matches(pod.metadata.labels)
            and pod.status.phase not in ("Succeeded", "Failed")
        ]
        wanted = counts(budget, pods, await self._scale(budget, pods) if needs_scale(budget) else 0)
        status, wake = judged(budget, pods, wanted, self.context.now())
        if status != budget.status:
            changed = copy.copy(budget)
            changed.status = status
            await self.client.update_status(changed)
        return wake

    async def _scale(self, budget: PodDisruptionBudget, pods: list[core_v1.Pod]) -> int:
        """What the controllers of the pods want altogether. Pods without one are nobody's to count."""
        found: dict[str, int] = {}
        namespace = budget.metadata.namespace
        for pod in pods:
            owner = controller_of(pod)
            if owner is None or owner.uid in found:
                continue
            informer = self._owners.get(owner.kind)
            if informer is None:
                found[owner.uid] = await self._custom_scale(namespace, owner)
                continue
            obj = informer.get(f"{namespace}/{owner.name}")
            if (
                obj is not None
                and owner.kind == "ReplicaSet"
                and (above := controller_of(obj)) is not None
            ):
                top = self._owners["Deployment"].get(f"{namespace}/{above.name}")
                obj = top if top is not None else obj
            if obj is not None:
                found[obj.metadata.uid] = obj.spec.replicas or 0
        return sum(found.values())

    async def _custom_scale(self, namespace: str, owner: OwnerReference) -> int:
        """What a controller of any other kind wants, by its scale subresource; 0 when it has none."""
        try:
            return (
                await self._scales.get(namespace, owner.api_version, owner.kind, owner.name)
            ).spec.replicas
        except (StatusError, LookupError, ValueError):
            return 0
