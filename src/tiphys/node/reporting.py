"""A pod's status on its way to the server: written when it says something new."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError
from tiphys.node.resize import IN_PROGRESS, PENDING


class StatusWriter:
    """For one pod."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._written: Any = None

    async def write(self, pod: core_v1.Pod, status: core_v1.PodStatus) -> core_v1.Pod:
        """Writes the status if it differs from what was written last. Returns the pod with it. Raises StatusError,
        Unreachable."""
        value = to_builtins(status)
        if value == self._written:
            return pod
        change: dict[str, Any] = {"reason": None, "message": None, **value}
        # Conditions are merged one by one: a reason that holds no more goes only if that is said.
        stale = {c.type: c for c in pod.status.conditions if c.reason or c.message}
        conditions = [
            {"reason": None, "message": None, **condition}
            if condition["type"] in stale
            else condition
            for condition in value["conditions"]
        ]
        change["conditions"] = conditions + [
            {"type": kind, "$patch": "delete"} for kind in _over(pod, status)
        ]
        meta = pod.metadata
        body = {"metadata": {"uid": meta.uid}, "status": change}
        try:
            updated = await self._client.patch(
                core_v1.Pod, meta.name, body, meta.namespace, "status"
            )
        except StatusError as error:
            if error.code in (404, 409):  # it is gone, or another one has its name
                return pod
            raise
        self._written = value
        return updated


def _over(pod: core_v1.Pod, status: core_v1.PodStatus) -> list[str]:
    """Conditions that the pod has and that hold no more."""
    held = {condition.type for condition in status.conditions}
    return [
        c.type
        for c in pod.status.conditions
        if c.type in (PENDING, IN_PROGRESS) and c.type not in held
    ]
