"""Resource quotas: counts what is really used, after every deletion and once in a while.

What is created is counted by admission, before it exists: a count made at that moment would not
find it yet, and take back what admission has just given. So creations do not lead to a count, and
one that finds less than before is made again soon.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1, resource_v1
from tiphys.api.catalog import RESOURCES, Resource
from tiphys.api.meta_v1 import PartialObjectMetadata
from tiphys.client.informer import Informer
from tiphys.controllers.discovery import deletable
from tiphys.controllers.shell import Context, Controller, controller_of, namespace_index
from tiphys.machinery import quota
from tiphys.machinery.errors import StatusError, is_write_overtaken
from tiphys.machinery.extendedresources import ExtendedResources
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.quantity import nano

_RESYNC = 300.0  # seconds, as upstream's resource-quota-sync-period
_SECOND_LOOK = 1.0  # seconds
_AFTER_CONFLICT = 0.1  # seconds
_DEVICE_CLAIMS = "resourceclaims.resource.k8s.io"
_TYPED: dict[str, Any] = {
    "pods": core_v1.Pod,
    "services": core_v1.Service,
    "persistentvolumeclaims": core_v1.PersistentVolumeClaim,
    _DEVICE_CLAIMS: resource_v1.ResourceClaim,
}
_SCOPED = ("pods", "persistentvolumeclaims")  # what moves into a scope or out of it
_BUILT_IN = {
    resource.group_resource: resource
    for resource in RESOURCES
    if resource.namespaced and resource.stored and resource.is_storage_version
}
_OF_CLAIMS = ("/requests.storage", "/persistentvolumeclaims")  # ends of names for storage classes


# --- the core: pure ---


def counted_by(key: str) -> str:
    """The resource (``pods``, ``deployments.apps``) whose objects a key of a quota counts."""
    if key.startswith("count/"):
        return key.removeprefix("count/")
    if key in quota.COUNTED:
        return key
    if key.startswith("services."):
        return "services"
    if key == "requests.storage" or key.endswith(_OF_CLAIMS):
        return "persistentvolumeclaims"
    if key.endswith(quota.DEVICE_CLASS):
        return _DEVICE_CLAIMS
    return "pods"


def resources_named(limits: core_v1.ResourceQuota) -> set[str]:
    """The resources whose objects a quota counts. Extended resources are had by pods, and by
    claims for devices of a class that stands for them."""
    names = {counted_by(key) for key in limits.spec.hard}
    if any(key.startswith("requests.") and "/" in key for key in limits.spec.hard):
        names.add(_DEVICE_CLAIMS)
    return names


def is_freed(name: str, old: Any, new: Any) -> bool:
    """Whether a changed object of a resource uses something else than before, or a pod has
    ended."""
    if name not in _TYPED:
        return False
    if name == "pods" and pod_finished(old) != pod_finished(new):
        return True
    return quota.usage_of(name, old) != quota.usage_of(name, new)


def new_status(
    limits: core_v1.ResourceQuota, usages: list[quota.Usage]
) -> core_v1.ResourceQuotaStatus:
    """The status of a quota for what its objects use."""
    sums = quota.added(usages)
    status = copy.deepcopy(limits.status)
    status.hard = dict(limits.spec.hard)
    status.used = {
        name: quota.shown(sums.get(name, 0), hard) for name, hard in limits.spec.hard.items()
    }
    return status


def has_shrunk(before: core_v1.ResourceQuotaStatus, after: core_v1.ResourceQuotaStatus) -> bool:
    """Whether less of anything is used."""
    return any(nano(used) > nano(after.used.get(name, "0")) for name, used in before.used.items())


# --- the shell ---


class QuotaController(Controller):
    name = "resourcequota"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._informers: dict[str, Informer[Any]] = {}  # by resource

    def watch(self) -> None:
        self._quotas = self.informer(core_v1.ResourceQuota)
        self._quotas.on_change(self._quota_changed)

    def _quota_changed(self, old: Any, new: Any) -> None:
        is_new = old is None or new is None
        if is_new or old.spec != new.spec or old.status.hard != new.status.hard:
            self.enqueue(old, new)

    async def _objects(self, name: str) -> Informer[Any] | None:
        """The informer of a resource's objects; it starts when a quota first names the resource.
        None when the server has no such resource."""
        informer = self._informers.get(name)
        if informer is None:
            informer = await self._new_informer(name)
            if informer is None:
                return None
            self._informers[name] = informer
            informer.on_change(self._objects_changed(name))
            informer.index("namespace", namespace_index)
        await informer.synced.wait()
        return informer

    async def _new_informer(self, name: str) -> Informer[Any] | None:
        if name in _TYPED:
            return self.informer(_TYPED[name])
        resource = _BUILT_IN.get(name) or await self._custom(name)
        if resource is None:
            return None
        informer = Informer(self.client, PartialObjectMetadata, resource=resource)
        self.context.tasks.start(informer.run(), f"quota-{name}")
        return informer

    async def _custom(self, name: str) -> Resource | None:
        served = await deletable(self.client)
        for resource in served.resources:
            if resource.group_resource == name:
                return resource
        return None

    def _objects_changed(self, name: str) -> Callable[[Any, Any], None]:
        """A handler for the objects of a resource: enqueues the quotas that have to be counted."""

        def handler(old: Any, new: Any) -> None:
            if old is None or not len(self._quotas):
                return
            freed = new is None or is_freed(name, old, new)
            if not freed and name not in _SCOPED:
                return
            namespace = (new or old).metadata.namespace
            for limits in self._quotas:
                if limits.metadata.namespace != namespace or name not in resources_named(limits):
                    continue
                if freed or _scope_changed(limits, name, old, new):
                    self.enqueue(None, limits)

        return handler

    async def reconcile(self, key: str) -> float | None:
        limits = self._quotas.get(key)
        if limits is None or limits.metadata.deletion_timestamp:
            return None
        before = limits.status
        status = new_status(limits, await self._usages(limits))
        if status == before:
            return _RESYNC
        try:
            await self.write_status(limits, status)
        except StatusError as error:
            if not is_write_overtaken(error):
                raise
            return _AFTER_CONFLICT  # admission has counted meanwhile
        return _SECOND_LOOK if has_shrunk(before, status) else _RESYNC

    async def _usages(self, limits: core_v1.ResourceQuota) -> list[quota.Usage]:
        usages = []
        for name in sorted(resources_named(limits)):
            informer = await self._objects(name)
            if informer is None:
                continue
            facts = await self._facts(informer) if name == _DEVICE_CLAIMS else quota.DeviceFacts()
            for obj in informer.by("namespace", limits.metadata.namespace):
                if quota.in_scope(limits, name, obj):
                    usages.append(quota.usage_of(name, obj, facts))
        return usages

    async def _facts(self, claims: Informer[Any]) -> quota.DeviceFacts:
        pods = await self._objects("pods")
        classes = self.informer(resource_v1.DeviceClass)
        await classes.synced.wait()
        resource_of = ExtendedResources(classes).resource_of

        def pod_of(claim: resource_v1.ResourceClaim) -> core_v1.Pod | None:
            namespace = claim.metadata.namespace
            owner = controller_of(claim)
            pod = pods.get(f"{namespace}/{owner.name}") if pods and owner is not None else None
            is_its = pod and quota.is_claim_of(pod, claim, claims.by("namespace", namespace))
            return pod if is_its else None

        return quota.DeviceFacts(resource_of, pod_of)


def _scope_changed(limits: core_v1.ResourceQuota, name: str, old: Any, new: Any) -> bool:
    return quota.in_scope(limits, name, old) != quota.in_scope(limits, name, new)
