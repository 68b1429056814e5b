"""ResourceQuota: what a new or changed object would use is taken from the quotas of its namespace
before it is written.

It is the last plugin of the chain. What is taken and then not used, because the write fails after
all, the quota controller returns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.core_v1 import Pod, ResourceQuota
from tiphys.api.resource_v1 import DeviceClass, ResourceClaim
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.registry.changes import Mutation
from tiphys.apiserver.registry.writes import Write
from tiphys.machinery import errors, quota
from tiphys.machinery.extendedresources import CLAIM_ANNOTATION
from tiphys.machinery.quantity import nano
from tiphys.store.cache import Filter

_QUOTAS = resource_of(ResourceQuota)
_PODS = resource_of(Pod)
_CLAIMS = resource_of(ResourceClaim)
_CLASSES = resource_of(DeviceClass)
_SPECIAL = CLAIM_ANNOTATION.encode()
_CHANGING = frozenset(("services", "persistentvolumeclaims", "pods"))  # whose updates may use more


class ResourceQuotas(Base):
    def __init__(self, registry: Callable[[], Any]) -> None:
        self._registry = registry

    async def validate(self, attributes: Attributes) -> None:
        if not _counts(attributes):
            return
        namespace = attributes.namespace
        name = attributes.resource.group_resource
        cache = self._registry().cache(_QUOTAS)
        if not len(cache):
            return
        for entry in cache.select(Filter(f"{_QUOTAS.prefix}{namespace}/")):
            resource_quota = decode(entry.data, ResourceQuota)
            if quota.in_scope(resource_quota, name, attributes.obj):
                await self._take(resource_quota, attributes)

    async def _take(self, resource_quota: ResourceQuota, a: Attributes) -> None:
        """Adds to the quota's use what the write adds. Raises 403 when there is not so much
        left."""
        name = a.resource.group_resource
        if name == "pods" and a.operation == "CREATE":
            self._check_amounts(resource_quota, a)
        added = self._added(resource_quota, a)
        if not added:
            return
        hard = resource_quota.status.hard
        used = resource_quota.status.used
        unknown = sorted(key for key in added if key not in hard or key not in used)
        if unknown:
            raise _refused(
                a,
                f"status unknown for quota: {resource_quota.metadata.name}, "
                f"resources: {','.join(unknown)}",
            )

        def change(old: ResourceQuota) -> ResourceQuota:
            # Called again with the newest quota when another write came between.
            if _exceeded(old, added):
                raise _refused(a, _excess(old, added))
            new = copy.deepcopy(old)
            for key, amount in added.items():
                limit = new.status.hard.get(key)
                if limit is not None:
                    after = nano(new.status.used.get(key, "0")) + amount
                    new.status.used[key] = quota.shown(after, limit)
            return new

        write = Write(
            _QUOTAS, a.namespace, resource_quota.metadata.name, subresource="status", admitted=True
        )
        await self._registry().update(write, Mutation(change))

    def _added(self, resource_quota: ResourceQuota, a: Attributes) -> dict[str, int]:
        """How much more the object uses than before, in billionths, of what the quota limits."""
        name = a.resource.group_resource
        before: dict[str, int] = {}
        if a.old is not None and quota.in_scope(resource_quota, name, a.old):
            before = quota.usage_of(name, a.old)
        facts = quota.DeviceFacts()
        if name == _CLAIMS.group_resource:
            facts = quota.DeviceFacts(self._resource_of, self._pod_of)
        added = {}
        for key, amount in quota.usage_of(name, a.obj, facts).items():
            difference = amount - before.get(key, 0)
            if difference and key in resource_quota.spec.hard:
                added[key] = difference
        return added

    # --- facts about claims for devices ---

    def _resource_of(self, class_name: str) -> str:
        entry = self._registry().cache(_CLASSES).get(_CLASSES.key("", class_name))
        if entry is None:
            return ""
        return decode(entry.data, DeviceClass).spec.extended_resource_name or ""

    def _pod_of(self, claim: ResourceClaim) -> Pod | None:
        namespace = claim.metadata.namespace
        for owner in claim.metadata.owner_references:
            if not owner.controller:
                continue
            entry = self._registry().cache(_PODS).get(_PODS.key(namespace, owner.name))
            if entry is not None:
                pod = decode(entry.data, Pod)
                return pod if quota.is_claim_of(pod, claim, self._special_in(namespace)) else None
        return None

    def _special_in(self, namespace: str) -> Iterator[ResourceClaim]:
        """The claims of a namespace that were made for extended resources."""
        for entry in (
            self._registry().cache(_CLAIMS).select(Filter(f"{_CLAIMS.prefix}{namespace}/"))
        ):
            if _SPECIAL in entry.data:
                yield decode(entry.data, ResourceClaim)

    @staticmethod
    def _check_amounts(resource_quota: ResourceQuota, a: Attributes) -> None:
        """Raises 403 for a pod that does not say how much it needs of what the quota limits."""
        missing = quota.missing_amounts(resource_quota, a.obj)
        if not missing:
            return
        listed = "; ".join(
            f"{key} for: {','.join(names)}" for key, names in sorted(missing.items())
        )
        raise _refused(a, f"failed quota: {resource_quota.metadata.name}: must specify {listed}")


def _counts(a: Attributes) -> bool:
    """Whether a write may use more of a quota."""
    name = a.resource.group_resource
    if a.dry_run or not a.namespace or name == "events":
        return False
    # A claim's size and class are in its status, too.
    counted = ("", "resize", "status") if name == "persistentvolumeclaims" else ("", "resize")
    if a.subresource not in counted:
        return False
    return a.operation == "CREATE" or (a.operation == "UPDATE" and name in _CHANGING)


def _exceeded(resource_quota: ResourceQuota, added: dict[str, int]) -> list[str]:
    """What there is too little left of. An object that uses less than before is not refused."""
    hard = resource_quota.status.hard
    used = resource_quota.status.used
    exceeded = []
    for key, amount in added.items():
        if amount > 0 and key in hard and nano(used.get(key, "0")) + amount > nano(hard[key]):
            exceeded.append(key)
    return exceeded


def _excess(resource_quota: ResourceQuota, added: dict[str, int]) -> str:
    """What is exceeded, in upstream's words."""
    hard = resource_quota.status.hard
    used = resource_quota.status.used
    exceeded = _exceeded(resource_quota, added)
    requested = quota.listed({key: quota.shown(added[key], hard[key]) for key in exceeded})
    in_use = quota.listed({key: used.get(key, "0") for key in exceeded})
    limited = quota.listed({key: hard[key] for key in exceeded})
    return (
        f"exceeded quota: {resource_quota.metadata.name}, requested: {requested}, "
        f"used: {in_use}, limited: {limited}"
    )


def _refused(a: Attributes, reason: str) -> errors.StatusError:
    name = a.name or a.obj.metadata.name
    return errors.forbidden(a.resource.group_resource, name, reason)
