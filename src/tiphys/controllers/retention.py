"""Which owner the volume claims of a stateful set have: none, the set, or a pod that is scaled
away. Pure.

An owner is known by its kind and name as well as its uid: a reference to an earlier set or pod of
the same name stands for something that is gone, and is left to the garbage collector.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tiphys.api import core_v1
from tiphys.api.apps_v1 import StatefulSet
from tiphys.api.meta_v1 import OwnerReference
from tiphys.controllers.pods import owner_reference


class _Policy(NamedTuple):
    """Whether claims are deleted with a pod that is scaled away, and with the set."""

    when_scaled: bool
    when_deleted: bool


def _policy(owner: StatefulSet) -> _Policy:
    policy = owner.spec.persistent_volume_claim_retention_policy
    if policy is None:
        return _Policy(False, False)
    return _Policy(policy.when_scaled == "Delete", policy.when_deleted == "Delete")


def _is_named(ref: OwnerReference, obj: Any) -> bool:
    return (ref.api_version, ref.kind, ref.name) == (obj.api_version, obj.kind, obj.metadata.name)


def _others(
    owner: StatefulSet, pod: core_v1.Pod, refs: list[OwnerReference]
) -> list[OwnerReference]:
    return [ref for ref in refs if not (_is_named(ref, owner) or _is_named(ref, pod))]


def is_stale(owner: StatefulSet, pod: core_v1.Pod, refs: list[OwnerReference]) -> bool:
    """Whether the claim belongs to an earlier set or pod of the same name."""
    for ref in refs:
        for obj in (owner, pod):
            if _is_named(ref, obj) and ref.uid != obj.metadata.uid:
                return True
    return False


def is_foreign(owner: StatefulSet, pod: core_v1.Pod, refs: list[OwnerReference]) -> bool:
    """Whether another controller holds the claim, so that the policy does not count. Under a policy
    that retains, it does not matter who does."""
    if not any(_policy(owner)):
        return False
    if is_stale(owner, pod, refs):
        return True
    return any(ref.controller for ref in _others(owner, pod, refs))


def goes_with_a_pod(owner: StatefulSet, name: str, refs: list[OwnerReference]) -> bool:
    """Whether the claim goes with a pod of that name that was scaled away; `name` has no pod
    now."""
    if not _policy(owner).when_scaled:
        return False
    return any((ref.api_version, ref.kind, ref.name) == ("v1", "Pod", name) for ref in refs)


def owners(
    owner: StatefulSet, pod: core_v1.Pod, refs: list[OwnerReference], condemned: bool
) -> list[OwnerReference]:
    """The claim's owner references as they should be: `refs` itself when there is nothing to do.
    `condemned` says that the pod is scaled away."""
    if is_stale(owner, pod, refs):
        return refs
    others = _others(owner, pod, refs)
    if is_foreign(owner, pod, refs):
        return others
    wanted = _wanted_owner(owner, pod, condemned)
    if wanted is None:
        return others
    standing = any(ref.uid == wanted.metadata.uid and ref.controller for ref in refs)
    if standing and len(refs) == len(others) + 1:
        return refs
    return [*others, owner_reference(wanted)]


def _wanted_owner(owner: StatefulSet, pod: core_v1.Pod, condemned: bool) -> Any | None:
    policy = _policy(owner)
    if policy.when_scaled and condemned:
        return pod
    if policy.when_deleted:
        return owner
    return None
