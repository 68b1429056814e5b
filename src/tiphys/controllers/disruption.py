"""Pod disruption budgets: how many pods may be evicted, kept up to date for the eviction API."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from tiphys.api import apps_v1, core_v1
from tiphys.api.meta_v1 import Condition, OwnerReference
from tiphys.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from tiphys.controllers.pods import is_ready
from tiphys.controllers.scales import Scales
from tiphys.controllers.shell import Controller, controller_of, namespace_index, sooner
from tiphys.machinery import conditions, timestamps
from tiphys.machinery.errors import StatusError
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.intorpercent import scaled
from tiphys.machinery.selectors import Selector, from_label_selector

_PATIENCE = 120.0  # seconds an eviction may take until its pod counts as there (DeletionTimeout)


# --- the core: pure ---


class Counts(NamedTuple):
    """How many pods there should be, and how many of them must stay healthy."""

    expected: int
    desired: int


def counts(budget: PodDisruptionBudget, pods: int, scale: int) -> Counts:
    """What a budget asks of its pods. `scale` is what their controllers want altogether: a share is
    one of that, not of the pods that happen to be there."""
    spec = budget.spec
    if spec.max_unavailable is not None:
        unavailable = scaled(spec.max_unavailable, scale, round_up=True)
        return Counts(scale, max(0, scale - unavailable))
    if isinstance(spec.min_available, str):
        return Counts(scale, scaled(spec.min_available, scale, round_up=True))
    return Counts(pods, spec.min_available or 0)


class Disruptions(NamedTuple):
    """Pods that were evicted and have not gone yet, with the times; and the seconds until the first
    of them is given up on."""

    pods: dict[str, Any]
    wake: float | None


def under_way(budget: PodDisruptionBudget, pods: list[core_v1.Pod], now: float) -> Disruptions:
    """The evictions that the API server has noted and that are still to be expected."""
    by_name = {pod.metadata.name: pod for pod in pods}
    disrupted = {}
    wake: float | None = None
    for name, since in budget.status.disrupted_pods.items():
        left = timestamps.parse(since) + _PATIENCE - now
        pod = by_name.get(name)
        if pod is None or pod.metadata.deletion_timestamp or left <= 0:
            continue
        disrupted[name] = since
        wake = sooner(wake, left)
    return Disruptions(disrupted, wake)


def new_status(
    budget: PodDisruptionBudget,
    pods: list[core_v1.Pod],
    wanted: Counts,
    disrupted: dict[str, Any],
    now: float,
) -> PodDisruptionBudgetStatus:
    """The status a budget should have."""
    status = copy.deepcopy(budget.status)
    healthy = [
        pod
        for pod in pods
        if is_ready(pod)
        and not pod.metadata.deletion_timestamp
        and pod.metadata.name not in disrupted
    ]
    status.expected_pods = wanted.expected
    status.desired_healthy = wanted.desired
    status.current_healthy = len(healthy)
    status.disrupted_pods = disrupted
    status.disruptions_allowed = 0
    if wanted.expected > 0:
        status.disruptions_allowed = max(0, len(healthy) - wanted.desired)
    status.observed_generation = budget.metadata.generation
    allowed = status.disruptions_allowed > 0
    condition = Condition(
        type="DisruptionAllowed",
        status=conditions.status_of(allowed),
        reason="SufficientPods" if allowed else "InsufficientPods",
        observed_generation=budget.metadata.generation,
    )
    status.conditions = conditions.updated(status.conditions, condition, now)
    return status


def needs_scale(budget: PodDisruptionBudget) -> bool:
    """Whether a budget is about what controllers want, and not about the pods alone."""
    return budget.spec.max_unavailable is not None or isinstance(budget.spec.min_available, str)


# --- the shell ---


class DisruptionController(Controller):
    name = "disruption"
    event_source = "controllermanager"

    def watch(self) -> None:
        self._budgets = self.informer(PodDisruptionBudget)
        self._pods = self.informer(core_v1.Pod)
        self._owners: dict[str, Any] = {
            "ReplicaSet": self.informer(apps_v1.ReplicaSet),
            "Deployment": self.informer(apps_v1.Deployment),
            "StatefulSet": self.informer(apps_v1.StatefulSet),
            "ReplicationController": self.informer(core_v1.ReplicationController),
        }
        self._scales = Scales(self.client)
        self._pods.index("namespace", namespace_index)
        self._budgets.on_change(self.enqueue)
        self._pods.on_change(self._pod_changed)

    def _pod_changed(self, old: Any, new: Any) -> None:
        namespace = (new or old).metadata.namespace
        for budget in self._budgets:
            if budget.metadata.namespace != namespace:
                continue
            selector = from_label_selector(budget.spec.selector)
            if _selects(selector, old) or _selects(selector, new):
                self.enqueue(None, budget)

    async def reconcile(self, key: str) -> float | None:
        budget = self._budgets.get(key)
        if budget is None or budget.metadata.deletion_timestamp:
            return None
        selector = from_label_selector(budget.spec.selector)
        pods = [
            pod
            for pod in self._pods.by("namespace", budget.metadata.namespace)
            if _selects(selector, pod) and not pod_finished(pod)
        ]
        scale = await self._scale(budget, pods) if needs_scale(budget) else 0
        now = self.context.now()
        disruptions = under_way(budget, pods, now)
        wanted = counts(budget, len(pods), scale)
        status = new_status(budget, pods, wanted, disruptions.pods, now)
        await self.write_status(budget, status)
        return disruptions.wake

    async def _scale(self, budget: PodDisruptionBudget, pods: list[core_v1.Pod]) -> int:
        """The replicas that the controllers of the pods want altogether. Pods without a controller
        do not count."""
        namespace = budget.metadata.namespace
        replicas: dict[str, int] = {}  # by uid of the controller
        for pod in pods:
            owner = controller_of(pod)
            if owner is None or owner.uid in replicas:
                continue
            if owner.kind not in self._owners:
                replicas[owner.uid] = await replicas_of_scale(self._scales, namespace, owner)
                continue
            controller = self._controller(namespace, owner)
            if controller is not None:
                replicas[controller.metadata.uid] = controller.spec.replicas or 0
        return sum(replicas.values())

    def _controller(self, namespace: str, owner: OwnerReference) -> Any | None:
        """The controller of a pod; the deployment, if it is a replica set of one."""
        controller = self._owners[owner.kind].get(f"{namespace}/{owner.name}")
        if controller is None or owner.kind != "ReplicaSet":
            return controller
        above = controller_of(controller)
        if above is None:
            return controller
        return self._owners["Deployment"].get(f"{namespace}/{above.name}") or controller


async def replicas_of_scale(scales: Scales, namespace: str, owner: OwnerReference) -> int:
    """What a controller of any other kind wants, by its scale subresource; 0 when it has none."""
    try:
        scale = await scales.get(namespace, owner.api_version, owner.kind, owner.name)
    except (StatusError, LookupError, ValueError):
        return 0
    return scale.spec.replicas


def _selects(selector: Selector | None, pod: core_v1.Pod | None) -> bool:
    return selector is not None and pod is not None and selector.matches(pod.metadata.labels)
