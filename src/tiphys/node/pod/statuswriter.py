"""Writing a pod's status: what differs from what was written last."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import Client
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.node.resources.resize import IN_PROGRESS, PENDING


class StatusWriter:
    """Writes the statuses of one pod."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._written = b""  # the digest of what was: a node may have very many pods

    async def write(self, pod: core_v1.Pod, status: core_v1.PodStatus) -> core_v1.Pod:
        """Writes the status unless it was the last one written. Returns the pod with it, or `pod`
        if nothing was written. Raises StatusError, Unreachable."""
        value = to_builtins(status)
        digest = hashlib.blake2b(msgspec.json.encode(value), digest_size=16).digest()
        if digest == self._written:
            return pod
        changes = {"reason": None, "message": None, **value}
        changes["conditions"] = _conditions_patch(pod, value.get("conditions", []))
        updated = await patch_status(self._client, pod, changes)
        if updated is None:
            return pod
        self._written = digest
        return updated


async def patch_status(
    client: Client, pod: core_v1.Pod, changes: dict[str, Any]
) -> core_v1.Pod | None:
    """None if the pod is not there any more."""
    meta = pod.metadata
    body = {"metadata": {"uid": meta.uid}, "status": changes}
    try:
        return await client.patch(core_v1.Pod, meta.name, body, meta.namespace, "status")
    except StatusError as error:
        if is_write_overtaken(error):
            return None
        raise


def _conditions_patch(pod: core_v1.Pod, conditions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Conditions are merged one by one: what a condition does not have any more must be removed
    explicitly, and so must those of the node that do not hold any more."""
    explained = {old.type for old in pod.status.conditions if old.reason or old.message}
    patch = []
    for condition in conditions:
        removals = {"reason": None, "message": None} if condition["type"] in explained else {}
        patch.append({**removals, **condition})
    held = {condition["type"] for condition in conditions}
    for old in pod.status.conditions:
        if old.type in (PENDING, IN_PROGRESS) and old.type not in held:
            patch.append({"type": old.type, "$patch": "delete"})
    return patch
