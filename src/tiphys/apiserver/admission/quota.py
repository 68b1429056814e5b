"""ResourceQuota: what a new or changed object would use is taken from the quotas of its namespace before it is written.

It stands last in the chain. What is taken and then not used, because the write fails after all, the quota controller
gives back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tiphys.api.base import decode
from tiphys.api.catalog import resource_of
from tiphys.api.core_v1 import ResourceQuota
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.registry.changes import Mutation
from tiphys.apiserver.registry.writes import Write
from tiphys.machinery import errors, quota
from tiphys.machinery.quantity import nano
from tiphys.store.cache import Filter

_QUOTAS = resource_of(ResourceQuota)
_CHANGING = frozenset(("services", "persistentvolumeclaims", "pods"))  # whose updates may use more


class ResourceQuotas(Base):
    def __init__(self, registry: Callable[[], Any]) -> None:
        self._registry = registry

    async def validate(self, attributes: Attributes) -> None:
        a = attributes
        if (
            a.dry_run
            or not self._counts(a)
            or not a.namespace
            or a.operation not in ("CREATE", "UPDATE")
        ):
            return
        name = a.resource.group_resource
        if a.operation == "UPDATE" and name not in _CHANGING:
            return
        cache = self._registry().cache(_QUOTAS)
        if not len(cache) or name == "events":
            return
        for entry in cache.select(Filter(f"{_QUOTAS.prefix}{a.namespace}/")):
            found = decode(entry.data, ResourceQuota)
            if quota.in_scope(found, name, a.obj):
                await self._take(found, a)

    @staticmethod
    def _counts(a: Attributes) -> bool:
        """Whether a write may change what its object counts for: a claim's size and class stand in its status, too."""
        claim_status = (
            a.subresource == "status" and a.resource.group_resource == "persistentvolumeclaims"
        )
        return claim_status or a.subresource in ("", "resize")

    async def _take(self, found: ResourceQuota, a: Attributes) -> None:
        name = a.resource.group_resource
        before = (
            quota.usage_of(name, a.old)
            if a.old is not None and quota.in_scope(found, name, a.old)
            else {}
        )
        wanted = {
            key: amount - before.get(key, 0)
            for key, amount in quota.usage_of(name, a.obj).items()
            if key in found.spec.hard and amount != before.get(key, 0)
        }
        if name == "pods" and a.operation == "CREATE":
            self._check_amounts(found, a)
        if not wanted:
            return
        unknown = [
            key for key in wanted if key not in found.status.hard or key not in found.status.used
        ]
        if unknown:
            why = f"status unknown for quota: {found.metadata.name}, resources: {','.join(sorted(unknown))}"
            raise errors.forbidden(name, a.name or a.obj.metadata.name, why)

        def change(old: ResourceQuota) -> ResourceQuota:
            new = copy.deepcopy(old)
            for key, amount in wanted.items():
                hard, used = new.status.hard.get(key), new.status.used.get(key, "0")
                if hard is None:
                    continue
                after = nano(used) + amount
                if amount > 0 and after > nano(hard):
                    raise self._exceeded(old, wanted, a)
                new.status.used[key] = quota.shown(after, hard)
            return new

        write = Write(
            _QUOTAS, a.namespace, found.metadata.name, subresource="status", admitted=True
        )
        await self._registry().update(write, Mutation(change))

    def _check_amounts(self, found: ResourceQuota, a: Attributes) -> None:
        missing = quota.missing_amounts(found, a.obj)
        if missing:
            told = "; ".join(
                f"{key} for: {','.join(names)}" for key, names in sorted(missing.items())
            )
            why = f"failed quota: {found.metadata.name}: must specify {told}"
            raise errors.forbidden("pods", a.name or a.obj.metadata.name, why)

    @staticmethod
    def _exceeded(
        found: ResourceQuota, wanted: dict[str, int], a: Attributes
    ) -> errors.StatusError:
        hard, used = found.status.hard, found.status.used
        over = [
            k
            for k, amount in wanted.items()
            if k in hard and amount > 0 and nano(used.get(k, "0")) + amount > nano(hard[k])
        ]
        asked = {key: quota.shown(wanted[key], hard[key]) for key in over}
        why = (
            f"exceeded quota: {found.metadata.name}, requested: {quota.listed(asked)},"
            f" used: {quota.listed({k: used.get(k, '0') for k in over})}, limited: {quota.listed({k: hard[k] for k in over})}"
        )
        return errors.forbidden(a.resource.group_resource, a.name or a.obj.metadata.name, why)
