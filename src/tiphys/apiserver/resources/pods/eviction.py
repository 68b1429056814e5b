"""POST pods/NAME/eviction: deletes a pod if no disruption budget forbids it."""

from __future__ import annotations

import copy
from collections.abc import Callable

from tiphys.api.base import Struct, decode
from tiphys.api.core_v1 import Pod, PodCondition
from tiphys.api.meta_v1 import DeleteOptions, Preconditions, Status, StatusCause
from tiphys.api.policy_v1 import Eviction, PodDisruptionBudget
from tiphys.apiserver.resources.actions import Action, ActionContext
from tiphys.machinery import conditions, errors
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import from_label_selector

_UNGUARDED_PHASES = ("Succeeded", "Failed", "Pending")
_SEVERAL_BUDGETS = (
    "This pod has more than one PodDisruptionBudget,"
    " which the eviction subresource does not support."
)


async def evict(eviction: Eviction, context: ActionContext) -> Struct:
    eviction = await context.admit(eviction, context.name)
    pod = context.find(Pod, context.namespace, context.name)
    if pod is None:
        raise errors.not_found("pods", context.name)
    if pod.status.phase not in _UNGUARDED_PHASES and not pod.metadata.deletion_timestamp:
        await _spend_budget(pod, context)
    options = eviction.delete_options or DeleteOptions()
    await _mark_as_target(pod, options, context)
    await context.delete(Pod, context.namespace, context.name, options)
    return Status(status="Success", code=201)


EVICT = Action(Eviction, evict)


async def _mark_as_target(pod: Pod, options: DeleteOptions, context: ActionContext) -> None:
    """Notes on the pod why it goes, for the controllers that count disruptions and failures
    apart."""
    preconditions = options.preconditions
    condition = PodCondition(
        type="DisruptionTarget",
        status="True",
        reason="EvictionByEvictionAPI",
        message="Eviction API: evicting",
        last_transition_time=context.now(),
        observed_generation=pod.metadata.generation,
    )

    def mark(stored: Pod) -> Pod:
        if preconditions is not None and not _meets(stored, preconditions):
            return stored  # the deletion will fail with that
        if conditions.is_true(stored.status.conditions, condition.type):
            return stored
        marked = copy.deepcopy(stored)
        others = conditions.without(marked.status.conditions, condition.type)
        marked.status.conditions = [*others, condition]
        return marked

    meta = pod.metadata
    entry = await context.update(Pod, meta.namespace, meta.name, mark, "status")
    if preconditions is None or context.dry_run:
        return
    if preconditions.resource_version == meta.resource_version:
        # The mark was made by the eviction itself: the version that it was to be made of is the one
        # it made.
        preconditions.resource_version = str(entry.revision)


def _meets(pod: Pod, preconditions: Preconditions) -> bool:
    meta = pod.metadata
    return (preconditions.uid or meta.uid) == meta.uid and (
        preconditions.resource_version or meta.resource_version
    ) == meta.resource_version


async def _spend_budget(pod: Pod, context: ActionContext) -> None:
    """Takes one of the disruptions that the pod's budget allows. Raises 429 when it allows none."""
    namespace = pod.metadata.namespace
    entries = context.entries(PodDisruptionBudget, namespace)
    budgets = [decode(entry.data, PodDisruptionBudget) for entry in entries]
    matching = [budget for budget in budgets if _covers(budget, pod)]
    if len(matching) > 1:
        raise errors.internal(_SEVERAL_BUDGETS)
    for budget in matching:
        if _counts(budget, pod):
            change = _spending(pod.metadata.name, context.now())
            name = budget.metadata.name
            await context.update(PodDisruptionBudget, namespace, name, change, "status")


def _covers(budget: PodDisruptionBudget, pod: Pod) -> bool:
    selector = from_label_selector(budget.spec.selector)
    return selector is not None and selector.matches(pod.metadata.labels)


def _counts(budget: PodDisruptionBudget, pod: Pod) -> bool:
    """Whether the pod's going takes anything from the application: one that is not ready may, by
    the budget's policy, go for nothing."""
    if conditions.is_true(pod.status.conditions, "Ready"):
        return True
    if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return False
    return not budget.status.current_healthy >= budget.status.desired_healthy > 0


def _spending(pod: str, now: str) -> Callable[[PodDisruptionBudget], PodDisruptionBudget]:
    def change(stored: PodDisruptionBudget) -> PodDisruptionBudget:
        spent = copy.deepcopy(stored)
        status = spent.status
        stale = status.observed_generation < spent.metadata.generation
        if stale or status.disruptions_allowed <= 0:
            raise _violation(stored)
        status.disruptions_allowed -= 1
        status.disrupted_pods[pod] = now
        return spent

    return change


def _violation(budget: PodDisruptionBudget) -> StatusError:
    text = "Cannot evict pod as it would violate the pod's disruption budget."
    error = errors.too_many_requests(text, 0)
    status = budget.status
    message = (
        f"The disruption budget {budget.metadata.name} needs {status.desired_healthy} healthy pods"
        f" and has {status.current_healthy} currently"
    )
    assert error.status.details is not None
    error.status.details.causes = [StatusCause(reason="DisruptionBudget", message=message)]
    return error
