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
    fits: Callable[[core_v1.Pod], bool] = is_active,
    finalizer: str = "",
) -> list[core_v1.Pod]:
    """The owner's pods; `pods` is indexed by `owner_index`. `fits` says which pods that match may be adopted.
    A `finalizer` comes with the adoption and goes with the release."""
    meta = owner.metadata
    mine = []
    for pod in pods.by("owner", meta.uid):
        if selector.matches(pod.metadata.labels) or pod.metadata.deletion_timestamp:
            mine.append(pod)
        elif not meta.deletion_timestamp:
            await _release(client, pod, meta.uid, finalizer)
    if meta.deletion_timestamp:
        return mine
    orphans = [
        p
        for p in pods.by("owner", f"orphan/{meta.namespace}")
        if selector.matches(p.metadata.labels) and fits(p)
    ]
    if orphans and await is_still_there(client, owner):
        for pod in orphans:
            adopted = await _adopt(client, pod, owner, finalizer)
            if adopted is not None:
                mine.append(adopted)
    return mine


async def is_still_there(client: Client, owner: Any) -> bool:
    """Asks the server itself: what is being deleted, or was and came back by the same name, adopts nobody."""
    meta = owner.metadata
    live = await _ignore_missing(client.get(type(owner), meta.name, meta.namespace))
    return (
        live is not None and live.metadata.uid == meta.uid and not live.metadata.deletion_timestamp
    )


async def _release(client: Client, pod: core_v1.Pod, uid: str, finalizer: str) -> None:
    left = [to_builtins(ref) for ref in pod.metadata.owner_references if ref.uid != uid]
    change: dict[str, Any] = {"uid": pod.metadata.uid, "ownerReferences": left or None}
    if finalizer in pod.metadata.finalizers:
        change["finalizers"] = [
            name for name in pod.metadata.finalizers if name != finalizer
        ] or None
    await _patch(client, pod, change)


async def _adopt(
    client: Client, pod: core_v1.Pod, owner: Any, finalizer: str
) -> core_v1.Pod | None:
    refs = [*to_builtins(pod.metadata.owner_references), to_builtins(owner_reference(owner))]
    change: dict[str, Any] = {"uid": pod.metadata.uid, "ownerReferences": refs}
    if finalizer and finalizer not in pod.metadata.finalizers:
        change["finalizers"] = [*pod.metadata.finalizers, finalizer]
    return await _patch(client, pod, change)


async def _patch(client: Client, pod: core_v1.Pod, change: dict[str, Any]) -> core_v1.Pod | None:
    """Changes the metadata of a pod as it was seen: one that has changed since is looked at again."""
    change["resourceVersion"] = pod.metadata.resource_version
    meta = pod.metadata
    call = client.patch(core_v1.Pod, meta.name, {"metadata": change}, meta.namespace, media=MERGE)
    changed: core_v1.Pod | None = await _ignore_missing(call)
    return changed


async def _ignore_missing(call: Any) -> Any:
    try:
        return await call
    except StatusError as error:
        if error.code not in (404, 409):
            raise
        return None
