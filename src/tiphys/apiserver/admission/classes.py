"""What classes say of the objects that name them, or name none: runtimes, storage, ingresses."""

from __future__ import annotations

from typing import Any

from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH, Resource
from tiphys.apiserver.admission import Asking, Attributes, Base
from tiphys.machinery import errors, quantity

_STORAGE = BY_PATH["storage.k8s.io", "v1", "storageclasses"]
_INGRESS = BY_PATH["networking.k8s.io", "v1", "ingressclasses"]


class RuntimeClass(Asking):
    """A pod that names a runtime class gets the class's overhead, node selector and tolerations."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource:
            return
        spec = a.obj.spec
        found = self._class(a, spec.runtime_class_name) if spec.runtime_class_name else None
        fixed = found.overhead.pod_fixed if found is not None and found.overhead is not None else {}
        if found is None or not fixed:
            if spec.overhead:
                raise self._rejected(
                    a, "Pod Overhead set without corresponding RuntimeClass defined Overhead"
                )
        elif spec.overhead and spec.overhead != fixed:
            raise self._rejected(a, "Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        else:
            spec.overhead = dict(fixed)
        if found is not None and found.scheduling is not None:
            for key, value in found.scheduling.node_selector.items():
                if spec.node_selector.setdefault(key, value) != value:
                    why = (
                        f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                        f"pod.spec.nodeSelector[{key}] = {spec.node_selector[key]}"
                    )
                    raise self._rejected(a, why)
            spec.tolerations += [
                t for t in found.scheduling.tolerations if t not in spec.tolerations
            ]

    def _class(self, a: Attributes, name: str) -> Any:
        found = self._registry().lookup("runtimeclasses", "", name, "node.k8s.io")
        if found is None:
            raise self._rejected(a, f'RuntimeClass "{name}" not found')
        return found

    @staticmethod
    def _rejected(a: Attributes, why: str) -> errors.StatusError:
        return errors.forbidden("pods", a.name or a.obj.metadata.name, f"pod rejected: {why}")


def default_class(registry: Any, resource: Resource, mark: str) -> str | None:
    """The name of the class that the annotation `mark` makes the default, the newest when there are
    several."""
    classes = [decode(entry.data, resource.type) for entry in registry.cache(resource)]
    defaults = [c.metadata for c in classes if c.metadata.annotations.get(mark) == "true"]
    return (
        max(defaults, key=lambda meta: (meta.creation_timestamp or "", meta.name)).name
        if defaults
        else None
    )


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
        wanted, had = (each.spec.resources.requests.get("storage", "0") for each in (a.obj, a.old))
        if wanted == had or quantity.nano(wanted) <= quantity.nano(had):
            return
        if a.old.status.phase != "Bound":
            raise self._refused(a, "Only bound persistent volume claims can be expanded")
        name = a.obj.spec.storage_class_name
        found = (
            self._registry().lookup("storageclasses", "", name, "storage.k8s.io") if name else None
        )
        if (
            found is None
            or name != a.old.spec.storage_class_name
            or not found.allow_volume_expansion
        ):
            why = (
                "only dynamically provisioned pvc can be resized and the storageclass that "
                "provisions the pvc must support resize"
            )
            raise self._refused(a, why)

    @staticmethod
    def _refused(a: Attributes, why: str) -> errors.StatusError:
        return errors.forbidden("persistentvolumeclaims", a.name, why)


class StorageObjectInUseProtection(Base):
    """Claims and volumes stay while they are in use."""

    resources = frozenset(("persistentvolumeclaims", "persistentvolumes"))

    async def mutate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource:
            name = (
                "kubernetes.io/pvc-protection"
                if a.resource.namespaced
                else "kubernetes.io/pv-protection"
            )
            if name not in a.obj.metadata.finalizers:
                a.obj.metadata.finalizers.append(name)
