"""Which objects belong to an owner, as in upstream's controller_ref_manager.

An object is adopted when the owner's selector matches it and nothing controls it, and released when
it is the owner's and the selector matches it no longer. Deployments claim replica sets this way,
and whatever makes pods claims pods.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from tiphys.api.base import Struct, to_builtins
from tiphys.client.client import MERGE, Client
from tiphys.client.informer import Informer
from tiphys.controllers.pods import is_active, owner_reference
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.machinery.selectors import Selector

T = TypeVar("T", bound=Struct)


async def claim(
    client: Client,
    objects: Informer[Any],
    owner: Any,
    selector: Selector,
    adoptable: Callable[[Any], bool] = is_active,
    finalizer: str = "",
) -> list[Any]:
    """The objects that are the owner's, after adopting and releasing.

    `objects` is indexed by `shell.owner_index` under ``owner``. `adoptable` says which of those
    that match may be adopted. A `finalizer` comes with the adoption and goes with the release. An
    owner that is being deleted neither adopts nor releases. Raises StatusError for a patch that is
    refused for another reason than that the object is gone or has changed.
    """
    meta = owner.metadata
    claimed = []
    for obj in objects.by("owner", meta.uid):
        if selector.matches(obj.metadata.labels) or obj.metadata.deletion_timestamp:
            claimed.append(obj)
        elif not meta.deletion_timestamp:
            await _release(client, obj, meta.uid, finalizer)
        # What a dying owner has is left to the garbage collector.
    if meta.deletion_timestamp:
        return claimed
    orphans = [
        obj
        for obj in objects.by("owner", f"orphan/{meta.namespace}")
        if selector.matches(obj.metadata.labels) and adoptable(obj)
    ]
    if orphans and await _is_still_there(client, owner):
        for obj in orphans:
            adopted = await _adopt(client, obj, owner, finalizer)
            if adopted is not None:
                claimed.append(adopted)
    return claimed


async def _is_still_there(client: Client, owner: Any) -> bool:
    """Asks the server itself, as upstream does before it adopts: an owner that is being deleted, or
    was deleted and came back by the same name, must not adopt."""
    meta = owner.metadata
    live: Any = await _unless_gone(client.get(type(owner), meta.name, meta.namespace))
    if live is None or live.metadata.uid != meta.uid:
        return False
    return not live.metadata.deletion_timestamp


async def _release(client: Client, obj: Any, uid: str, finalizer: str) -> None:
    others = [to_builtins(ref) for ref in obj.metadata.owner_references if ref.uid != uid]
    change: dict[str, Any] = {"ownerReferences": others or None}
    if finalizer in obj.metadata.finalizers:
        change["finalizers"] = _but(obj.metadata.finalizers, finalizer) or None
    await _patch(client, obj, change)


async def _adopt(client: Client, obj: T, owner: Any, finalizer: str) -> T | None:
    meta = obj.metadata  # type: ignore[attr-defined]
    refs = [*meta.owner_references, owner_reference(owner)]
    change: dict[str, Any] = {"ownerReferences": to_builtins(refs)}
    if finalizer and finalizer not in meta.finalizers:
        change["finalizers"] = [*meta.finalizers, finalizer]
    return await _patch(client, obj, change)


def _but(names: Iterable[str], name: str) -> list[str]:
    return [other for other in names if other != name]


async def _patch(client: Client, obj: T, change: dict[str, Any]) -> T | None:
    """Changes the metadata of an object as it was seen. None when it has changed since, or is gone:
    its event leads to another look."""
    meta = obj.metadata  # type: ignore[attr-defined]
    change = {"uid": meta.uid, "resourceVersion": meta.resource_version, **change}
    body = {"metadata": change}
    return await _unless_gone(client.patch(type(obj), meta.name, body, meta.namespace, media=MERGE))


async def _unless_gone(call: Awaitable[T]) -> T | None:
    try:
        return await call
    except StatusError as error:
        if not is_write_overtaken(error):
            raise
        return None
