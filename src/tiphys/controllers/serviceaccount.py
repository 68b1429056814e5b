"""What every namespace is given: the default service account, and the cluster's CA certificate."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.shell import Controller, split_key
from tiphys.machinery.errors import StatusError

CA_NAME = "kube-root-ca.crt"
_NOTE = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."


class _PerNamespace(Controller):
    """One object in each namespace that is not going away. Keys are namespaces."""

    kind: Any

    def watch(self) -> None:
        self._namespaces, self._objects = self.informer(core_v1.Namespace), self.informer(self.kind)
        self._namespaces.on_change(self.enqueue)
        self._objects.on_change(self._object_changed)

    wanted_name = ""

    def _object_changed(self, old: Any, new: Any) -> None:
        touched = new or old
        if touched.metadata.name == self.wanted_name and old is not None:
            self.queue.add(touched.metadata.namespace)

    def make(self, namespace: str) -> Any:
        raise NotImplementedError

    def differs(self, standing: Any, wanted: Any) -> bool:
        return False

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(split_key(key)[1])
        if namespace is None or namespace.metadata.deletion_timestamp:
            return None
        standing = self._objects.get(f"{namespace.metadata.name}/{self.wanted_name}")
        wanted = self.make(namespace.metadata.name)
        if standing is None:
            try:
                await self.client.create(wanted)
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        elif self.differs(standing, wanted):
            wanted.metadata.resource_version = standing.metadata.resource_version
            await self.client.update(wanted)
        return None


class ServiceAccountController(_PerNamespace):
    name = "serviceaccount"
    kind = core_v1.ServiceAccount
    wanted_name = "default"

    def make(self, namespace: str) -> core_v1.ServiceAccount:
        return core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace=namespace))


class RootCAPublisher(_PerNamespace):
    name = "root-ca-certificate-publisher"
    kind = core_v1.ConfigMap
    wanted_name = CA_NAME

    def make(self, namespace: str) -> core_v1.ConfigMap:
        meta = ObjectMeta(
            name=CA_NAME, namespace=namespace, annotations={"kubernetes.io/description": _NOTE}
        )
        return core_v1.ConfigMap(metadata=meta, data={"ca.crt": self.context.settings["ca"]})

    def differs(self, standing: Any, wanted: Any) -> bool:
        return bool(standing.data != wanted.data)
