"""What every namespace is given: the default service account, and the cluster's CA certificate."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.shell import Controller, split_key
from tiphys.machinery.errors import StatusError, is_already_exists

CA_NAME = "kube-root-ca.crt"
_CA_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)


class _PerNamespace(Controller):
    """Keeps one object of `kind`, named `wanted_name`, in each namespace that is not being deleted.
    Keys are namespaces."""

    kind: Any
    wanted_name = ""

    def wanted(self, namespace: str) -> Any:
        """The object as it should be."""
        raise NotImplementedError

    def is_wrong(self, standing: Any, wanted: Any) -> bool:
        """Whether an object that is there has to be put right."""
        return False

    def watch(self) -> None:
        self._namespaces = self.informer(core_v1.Namespace)
        self._objects = self.informer(self.kind)
        self._namespaces.on_change(self.enqueue)
        self._objects.on_change(self._object_changed)

    def _object_changed(self, old: Any, new: Any) -> None:
        meta = (new or old).metadata
        if meta.name == self.wanted_name and old is not None:
            self.queue.add(meta.namespace)

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(split_key(key)[1])
        if namespace is None or namespace.metadata.deletion_timestamp:
            return None
        standing = self._objects.get(f"{namespace.metadata.name}/{self.wanted_name}")
        wanted = self.wanted(namespace.metadata.name)
        if standing is None:
            await self._create(wanted)
        elif self.is_wrong(standing, wanted):
            wanted.metadata.resource_version = standing.metadata.resource_version
            await self.client.update(wanted)
        return None

    async def _create(self, wanted: Any) -> None:
        try:
            await self.client.create(wanted)
        except StatusError as error:
            if not is_already_exists(error):
                raise


class ServiceAccountController(_PerNamespace):
    name = "serviceaccount"
    kind = core_v1.ServiceAccount
    wanted_name = "default"

    def wanted(self, namespace: str) -> core_v1.ServiceAccount:
        return core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace=namespace))


class RootCAPublisher(_PerNamespace):
    name = "root-ca-certificate-publisher"
    kind = core_v1.ConfigMap
    wanted_name = CA_NAME

    def wanted(self, namespace: str) -> core_v1.ConfigMap:
        annotations = {"kubernetes.io/description": _CA_DESCRIPTION}
        meta = ObjectMeta(name=CA_NAME, namespace=namespace, annotations=annotations)
        return core_v1.ConfigMap(metadata=meta, data={"ca.crt": self.context.settings["ca"]})

    def is_wrong(self, standing: core_v1.ConfigMap, wanted: core_v1.ConfigMap) -> bool:
        return standing.data != wanted.data
