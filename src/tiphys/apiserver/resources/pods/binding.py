"""Puts a pod on a node: POST pods/NAME/binding, or POST bindings."""

from __future__ import annotations

import copy
from functools import partial

from tiphys.api.base import Struct
from tiphys.api.core_v1 import Binding, Pod, PodCondition
from tiphys.api.meta_v1 import Status
from tiphys.apiserver.resources.actions import Action, ActionContext
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import conditions, errors


async def bind(binding: Binding, context: ActionContext) -> Struct:
    name = context.name or binding.metadata.name
    if not binding.target.name:
        raise errors.invalid("Binding", "", name, [errors.required("target.name")])
    binding = await context.admit(binding, name)
    change = partial(_bound, binding=binding, now=context.now())
    await context.update(Pod, context.namespace, name, change, "binding")
    return Status(status="Success", code=201)


def _bound(pod: Pod, binding: Binding, now: str) -> Pod:
    """The pod on its node. Raises 409 for one that cannot be put there."""
    if reason := _why_not(pod, binding):
        raise errors.conflict("pods/binding", pod.metadata.name, reason)
    bound = copy.deepcopy(pod)
    bound.spec.node_name = binding.target.name
    bound.status.nominated_node_name = ""  # it is no expectation any more
    bound.metadata.annotations.update(binding.metadata.annotations)
    bound.metadata.labels.update(binding.metadata.labels)
    scheduled = PodCondition(type="PodScheduled", status="True", last_transition_time=now)
    others = conditions.without(bound.status.conditions, scheduled.type)
    bound.status.conditions = [*others, scheduled]
    return bound


def _why_not(pod: Pod, binding: Binding) -> str:
    """Why the pod cannot be bound; "" when it can."""
    name = pod.metadata.name
    if pod.metadata.deletion_timestamp:
        return f"pod {name} is being deleted, cannot be assigned to a host"
    if pod.spec.node_name:
        return f'pod {name} is already assigned to node "{pod.spec.node_name}"'
    if pod.spec.scheduling_gates:
        return f"pod {name} has non-empty .spec.schedulingGates"
    if binding.metadata.uid and binding.metadata.uid != pod.metadata.uid:
        return (
            f"Precondition failed: UID in precondition: {binding.metadata.uid},"
            f" UID in object meta: {pod.metadata.uid}"
        )
    return ""


BIND = Action(Binding, bind)


class BindingStrategy(Strategy[Binding]):
    """Bindings by themselves: the older path to the same."""

    action = BIND
