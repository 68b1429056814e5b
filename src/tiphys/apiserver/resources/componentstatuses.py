"""Component statuses: whether the store, the controllers and the scheduler are there.

Upstream asks each component at its port. Ours have none: one that works has watches open under its
own name. The scheduler mostly runs in the controllers' process, and sees through their watches.
"""

from __future__ import annotations

from typing import Protocol

from tiphys.api.core_v1 import ComponentCondition, ComponentStatus
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import NAME, Column, joined

_STORE = "etcd-0"
# Component → the users that its watches may be opened by.
_USERS = {
    "controller-manager": ("system:kube-controller-manager",),
    "scheduler": ("system:kube-scheduler", "system:kube-controller-manager"),
}
COMPONENTS = tuple(sorted((_STORE, *_USERS)))
_PATIENCE = 2.0  # seconds that the store has to answer


class Health(Protocol):
    """A server's view of the components around it."""

    async def store_answers(self, seconds: float) -> bool:
        """Whether the store answers within that time."""

    def is_watching(self, users: tuple[str, ...]) -> bool:
        """Whether one of the users has a watch open."""


async def component_status(name: str, health: Health) -> ComponentStatus:
    """The status of one of `COMPONENTS`."""
    error = await _error(name, health)
    condition = ComponentCondition(type="Healthy", status="True", message="ok")
    if error:
        condition = ComponentCondition(type="Healthy", status="False", error=error)
    return ComponentStatus(metadata=ObjectMeta(name=name), conditions=[condition])


async def _error(name: str, health: Health) -> str:
    if name == _STORE:
        return "" if await health.store_answers(_PATIENCE) else "the store does not answer"
    users = _USERS[name]
    if health.is_watching(users):
        return ""
    return f"no watch of {users[0]} is open"


def _status(component: ComponentStatus) -> str:
    healthy = any(condition.status == "True" for condition in component.conditions)
    return "Healthy" if healthy else "Unhealthy"


class ComponentStatusStrategy(Strategy[ComponentStatus]):
    columns = (
        NAME,
        Column("Status", _status),
        Column("Message", lambda o: joined((c.message for c in o.conditions), "")),
        Column("Error", lambda o: joined((c.error for c in o.conditions), "")),
    )
    deprecation = "v1 ComponentStatus is deprecated in v1.19+"
