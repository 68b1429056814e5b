"""Resource quotas: counts what is really used, after every deletion and once in a while.

What is created is counted by admission, before it exists: a count made at that moment would not find it yet, and take
back what admission has just given. So creations do not lead to a count, and one that finds less is soon made again."""

from __future__ import annotations

import copy
from typing import Any

from tiphys.api import core_v1, resource_v1
from tiphys.api.catalog import RESOURCES, Resource
from tiphys.api.meta_v1 import PartialObjectMetadata
from tiphys.client.informer import Informer
from tiphys.controllers.shell import Context, Controller
from tiphys.machinery import quota
from tiphys.machinery.errors import StatusError
from tiphys.machinery.finished import pod_finished
from tiphys.machinery.quantity import nano

_RESYNC = 300.0  # seconds
_SECOND_LOOK = 1.0
_DEVICE_CLAIMS = "resourceclaims.resource.k8s.io"
_TYPED: dict[str, Any] = {
    "pods": core_v1.Pod,
    "services": core_v1.Service,
    "persistentvolumeclaims": core_v1.PersistentVolumeClaim,
    _DEVICE_CLAIMS: resource_v1.ResourceClaim,
}

_SCOPED = ("pods", "persistentvolumeclaims")  # what moves into a scope or out of it

_BUILT_IN = {
    r.group_resource: r for r in RESOURCES if r.namespaced and r.stored and r.is_storage_version
}


def resources_named(found: core_v1.ResourceQuota) -> set[str]:
    """The resources (``pods``, ``deployments.apps``) whose objects a quota counts."""
    names: set[str] = set()
    for key in found.spec.hard:
        if key.startswith("count/"):
            names.add(key.removeprefix("count/"))
        elif key in quota.COUNTED:
            names.add(key)
        elif key.startswith("services."):
            names.add("services")
        elif key == "requests.storage" or key.endswith(
            ("/requests.storage", "/persistentvolumeclaims")
        ):
            names.add("persistentvolumeclaims")
        elif key.endswith(quota.DEVICE_CLASS):
            names.add(_DEVICE_CLAIMS)
        else:
            names.add("pods")
    return names


class QuotaController(Controller):
    name = "resourcequota"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._counted: dict[str, Informer[Any]] = {}

    def watch(self) -> None:
        self._quotas = self.informer(core_v1.ResourceQuota)
        self._quotas.on_change(self._quota_changed)

    def _quota_changed(self, old: Any, new: Any) -> None:
        if old is None or new is None or old.spec != new.spec or old.status.hard != new.status.hard:
            self.enqueue(old, new)

    async def _objects(self, name: str) -> Informer[Any] | None:
        """The informer of a resource's objects; it starts when a quota first names the resource."""
        found = self._counted.get(name)
        if found is None:
            if name in _TYPED:
                found = self.informer(_TYPED[name])
            else:
                resource = _BUILT_IN.get(name) or await self._custom(name)
                if resource is None:
                    return None
                found = Informer(self.client, PartialObjectMetadata, resource=resource)
                self.context.tasks.start(found.run(), f"quota-{name}")
            self._counted[name] = found
            found.on_change(self._changed(name))
            found.index("namespace", lambda obj: [obj.metadata.namespace])
        await found.synced.wait()
        return found

    async def _custom(self, name: str) -> Resource | None:
        from tiphys.controllers.namespace import deletable

        resources, _ = await deletable(self.client)
        return next((r for r in resources if r.group_resource == name), None)

    def _changed(self, name: str) -> Any:
        def handler(old: Any, new: Any) -> None:
            if old is None or not len(self._quotas):
                return
            freed = new is None or self._freed(name, old, new)
            if not freed and name not in _SCOPED:
                return
            namespace = (new or old).metadata.namespace
            for found in self._quotas:
                if found.metadata.namespace != namespace or name not in resources_named(found):
                    continue
                if freed or quota.in_scope(found, name, old) != quota.in_scope(found, name, new):
                    self.enqueue(None, found)

        return handler

    @staticmethod
    def _freed(name: str, old: Any, new: Any) -> bool:
        """Whether a changed object uses something else than before."""
        return name in _TYPED and (
            quota.usage_of(name, old) != quota.usage_of(name, new)
            or (name == "pods" and pod_finished(old) != pod_finished(new))
        )

    async def reconcile(self, key: str) -> float | None:
        found = self._quotas.get(key)
        if found is None or found.metadata.deletion_timestamp:
            return None
        usages = []
        for name in sorted(resources_named(found)):
            objects = await self._objects(name)
            for obj in (
                objects.by("namespace", found.metadata.namespace) if objects is not None else ()
            ):
                if quota.in_scope(found, name, obj):
                    usages.append(quota.usage_of(name, obj))
        sums = quota.added(usages)
        status = copy.deepcopy(found.status)
        status.hard = dict(found.spec.hard)
        status.used = {
            name: quota.shown(sums.get(name, 0), hard) for name, hard in found.spec.hard.items()
        }
        if status != found.status:
            changed = copy.copy(found)
            changed.status = status
            try:
                await self.client.update_status(changed)
            except StatusError as error:
                if error.code not in (404, 409):
                    raise
                return 0.1  # admission counted meanwhile: look again
            if any(
                nano(used) > nano(status.used.get(name, "0"))
                for name, used in found.status.used.items()
            ):
                return _SECOND_LOOK
        return _RESYNC
