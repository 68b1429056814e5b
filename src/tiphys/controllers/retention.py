"""Who the claims of a stateful set go with: nobody, the set, or a pod that is scaled away. Pure.

An owner is told by its kind and name as well as its uid: a reference to an earlier set or pod of the same name stands for
something that is gone, and is left to the garbage collector.
"""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.apps_v1 import StatefulSet
from tiphys.api.meta_v1 import OwnerReference
from tiphys.controllers.pods import owner_reference


def _is_named(ref: OwnerReference, obj: Any) -> bool:
    return (ref.api_version, ref.kind, ref.name) == (obj.api_version, obj.kind, obj.metadata.name)


def _policy(owner: StatefulSet) -> tuple[bool, bool]:
    """(goes when scaled, goes when deleted)"""
    policy = owner.spec.persistent_volume_claim_retention_policy
    if policy is None:
        return False, False
    return policy.when_scaled == "Delete", policy.when_deleted == "Delete"


def is_stale(owner: StatefulSet, pod: core_v1.Pod, refs: list[OwnerReference]) -> bool:
    """Whether the claim belongs to an earlier set or pod of the same name."""
    return any(
        _is_named(ref, obj) and ref.uid != obj.metadata.uid for obj in (owner, pod) for ref in refs
    )


def is_foreign(owner: StatefulSet, pod: core_v1.Pod, refs: list[OwnerReference]) -> bool:
    """Whether another controller holds the claim, so that the policy does not count. Under a policy that retains, it
    does not matter who does."""
    if not any(_policy(owner)):
        return False
    others = [ref for ref in refs if not (_is_named(ref, owner) or _is_named(ref, pod))]
    return is_stale(owner, pod, refs) or any(ref.controller for ref in others)


def goes_with_a_pod(owner: StatefulSet, name: str, refs: list[OwnerReference]) -> bool:
    """Whether the claim goes with a pod of that name that was scaled away; `name` has no pod now."""
    return _policy(owner)[0] and any(
        (r.api_version, r.kind, r.name) == ("v1", "Pod", name) for r in refs
    )


def owners(
    owner: StatefulSet, pod: core_v1.Pod, refs: list[OwnerReference], condemned: bool
) -> list[OwnerReference]:
    """The claim's owner references as they should be; `condemned`: the pod is scaled away. Equal to `refs` when there
    is nothing to do."""
    if is_stale(owner, pod, refs):
        return refs
    others = [ref for ref in refs if not (_is_named(ref, owner) or _is_named(ref, pod))]
    if is_foreign(owner, pod, refs):
        return others
    scaled, deleted = _policy(owner)
    wanted = pod if scaled and condemned else owner if deleted else None
    if wanted is None:
        return others
    standing = [ref for ref in refs if ref.uid == wanted.metadata.uid and ref.controller]
    unchanged = len(refs) == len(others) + 1 and bool(standing)
    return refs if unchanged else [*others, owner_reference(wanted)]
