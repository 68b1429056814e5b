"""What classes set in the objects that name them, or name none: runtimes, storage, ingresses."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1, node_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH, Resource
from tiphys.apiserver.admission import Asking, Attributes, Base
from tiphys.machinery import errors, quantity

_STORAGE = BY_PATH["storage.k8s.io", "v1", "storageclasses"]
_PROTECTED = {
    "persistentvolumeclaims": "pvc",
    "persistentvolumes": "pv",
    "volumeattributesclasses.storage.k8s.io": "vac",
}
_NO_OVERHEAD = "Pod Overhead set without corresponding RuntimeClass defined Overhead"
_INGRESS = BY_PATH["networking.k8s.io", "v1", "ingressclasses"]


class RuntimeClass(Asking):
    """A pod that names a runtime class gets the class's overhead, node selector and tolerations."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource:
            return
        spec: core_v1.PodSpec = a.obj.spec
        if not spec.runtime_class_name:
            if spec.overhead:
                raise self._rejected(a, _NO_OVERHEAD)
            return
        runtime_class = self._class(a, spec.runtime_class_name)
        overhead = runtime_class.overhead.pod_fixed if runtime_class.overhead is not None else {}
        if spec.overhead and not overhead:
            raise self._rejected(a, _NO_OVERHEAD)
        if spec.overhead and spec.overhead != overhead:
            raise self._rejected(a, "Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        if overhead:
            spec.overhead = dict(overhead)
        if runtime_class.scheduling is not None:
            self._place(a, runtime_class.scheduling)

    def _place(self, a: Attributes, scheduling: node_v1.Scheduling) -> None:
        """Gives a pod the node selector and the tolerations of its class."""
        spec: core_v1.PodSpec = a.obj.spec
        for key, value in scheduling.node_selector.items():
            chosen = spec.node_selector.setdefault(key, value)
            if chosen != value:
                raise self._rejected(
                    a,
                    f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                    f"pod.spec.nodeSelector[{key}] = {chosen}",
                )
        for toleration in scheduling.tolerations:
            if toleration not in spec.tolerations:
                spec.tolerations.append(toleration)

    def _class(self, a: Attributes, name: str) -> node_v1.RuntimeClass:
        runtime_class = self._registry().lookup("runtimeclasses", "", name, "node.k8s.io")
        if not isinstance(runtime_class, node_v1.RuntimeClass):
            raise self._rejected(a, f'RuntimeClass "{name}" not found')
        return runtime_class

    @staticmethod
    def _rejected(a: Attributes, reason: str) -> errors.StatusError:
        return errors.forbidden("pods", a.name or a.obj.metadata.name, f"pod rejected: {reason}")


def default_class(registry: Any, resource: Resource, annotation: str) -> str | None:
    """The name of the class that the annotation makes the default, the newest when there are
    several."""
    classes = [decode(entry.data, resource.type) for entry in registry.cache(resource)]
    defaults = [
        storage_class.metadata
        for storage_class in classes
        if storage_class.metadata.annotations.get(annotation) == "true"
    ]
    defaults.sort(key=lambda meta: (meta.creation_timestamp or "", meta.name))
    return defaults[-1].name if defaults else None


class DefaultIngressClass(Asking):
    """An ingress that names no class gets the default one."""

    resources = frozenset(("ingresses.networking.k8s.io",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource or a.obj.spec.ingress_class_name is not None:
            return
        if "kubernetes.io/ingress.class" not in a.obj.metadata.annotations:
            mark = "ingressclass.kubernetes.io/is-default-class"
            a.obj.spec.ingress_class_name = default_class(self._registry(), _INGRESS, mark)


class DefaultStorageClass(Asking):
    """A claim that names no class gets the default one."""

    resources = frozenset(("persistentvolumeclaims",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource and a.obj.spec.storage_class_name is None:
            mark = "storageclass.kubernetes.io/is-default-class"
            a.obj.spec.storage_class_name = default_class(self._registry(), _STORAGE, mark)


class PersistentVolumeClaimResize(Asking):
    """A claim grows once it is bound, if its class lets it."""

    resources = frozenset(("persistentvolumeclaims",))

    async def validate(self, a: Attributes) -> None:
        if a.operation != "UPDATE" or a.subresource:
            return
        new_size = a.obj.spec.resources.requests.get("storage", "0")
        old_size = a.old.spec.resources.requests.get("storage", "0")
        if new_size == old_size or quantity.nano(new_size) <= quantity.nano(old_size):
            return
        if a.old.status.phase != "Bound":
            raise self._refused(a, "Only bound persistent volume claims can be expanded")
        if not self._may_grow(a):
            raise self._refused(
                a,
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize",
            )

    def _may_grow(self, a: Attributes) -> bool:
        name = a.obj.spec.storage_class_name
        if not name or name != a.old.spec.storage_class_name:
            return False
        storage_class = self._registry().lookup("storageclasses", "", name, "storage.k8s.io")
        return storage_class is not None and bool(storage_class.allow_volume_expansion)

    @staticmethod
    def _refused(a: Attributes, reason: str) -> errors.StatusError:
        return errors.forbidden("persistentvolumeclaims", a.name, reason)


class StorageObjectInUseProtection(Base):
    """Claims, volumes and the classes of their attributes stay while they are in use."""

    resources = frozenset(_PROTECTED)

    async def mutate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource:
            finalizer = f"kubernetes.io/{_PROTECTED[a.resource.group_resource]}-protection"
            if finalizer not in a.obj.metadata.finalizers:
                a.obj.metadata.finalizers.append(finalizer)
