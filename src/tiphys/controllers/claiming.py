"""Which pods belong to an owner: adopted when its selector matches and they are nobody's, released when it no longer
does. Shared by every controller that makes pods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import MERGE, Client
from tiphys.client.informer import Informer
from tiphys.controllers.pods import is_active, owner_reference
from tiphys.machinery.errors import StatusError
from tiphys.machinery.selectors import Selector


async def claim(
    client: Client,
    pods: Informer[core_v1.Pod],
    owner: Any,
    selector: Selector,
    fits: Callable[[core_v1.Pod], bool] = lambda pod: True,
) -> list[core_v1.Pod]:
    """The owner's pods; `pods` is indexed by `owner_index`. `fits` may refuse to adopt a pod (by its name, say)."""
    meta = owner.metadata
    mine = []
    for pod in pods.by("owner", meta.uid):
        if selector.matches(pod.metadata.labels) or pod.metadata.deletion_timestamp:
            mine.append(pod)
        elif not meta.deletion_timestamp:
            await _release(client, pod, meta.uid)
    if meta.deletion_timestamp:
        return mine
    for pod in pods.by("owner", f"orphan/{meta.namespace}"):
        if selector.matches(pod.metadata.labels) and is_active(pod) and fits(pod):
            adopted = await _adopt(client, pod, owner)
            if adopted is not None:
                mine.append(adopted)
    return mine


async def _release(client: Client, pod: core_v1.Pod, uid: str) -> None:
    left = [{"uid": ref.uid, "$patch": "delete"} for ref in pod.metadata.owner_references if ref.uid == uid]
    change = {"metadata": {"uid": pod.metadata.uid, "ownerReferences": left}}
    await _ignore_missing(client.patch(core_v1.Pod, pod.metadata.name, change, pod.metadata.namespace))


async def _adopt(client: Client, pod: core_v1.Pod, owner: Any) -> core_v1.Pod | None:
    refs = [*to_builtins(pod.metadata.owner_references), to_builtins(owner_reference(owner))]
    change = {"metadata": {"uid": pod.metadata.uid, "ownerReferences": refs}}
    call = client.patch(core_v1.Pod, pod.metadata.name, change, pod.metadata.namespace, media=MERGE)
    adopted: core_v1.Pod | None = await _ignore_missing(call)
    return adopted


async def _ignore_missing(call: Any) -> Any:
    try:
        return await call
    except StatusError as error:
        if error.code not in (404, 409):
            raise
        return None
