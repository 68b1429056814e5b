"""The zone's objects out of informers, and what changes with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tiphys.addons.dns.zone import cluster_ips, pod_label
from tiphys.api import core_v1, discovery_v1
from tiphys.client.informer import Informers

_SERVICE_NAME = "kubernetes.io/service-name"


class InformerSource:
    """Services, endpoint slices and namespaces as the API server has them."""

    def __init__(self, informers: Informers) -> None:
        self._services = informers.of(core_v1.Service)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._namespaces = informers.of(core_v1.Namespace)
        self._services.index("address", cluster_ips)
        self._slices.index("service", lambda endpoint_slice: [_service_key(endpoint_slice)])
        self._slices.index("address", _addresses)

    @property
    def has_synced(self) -> bool:
        informers = (self._services, self._slices, self._namespaces)
        return all(informer.synced.is_set() for informer in informers)

    def service(self, namespace: str, name: str) -> core_v1.Service | None:
        return self._services.get(f"{namespace}/{name}")

    def slices(self, namespace: str, name: str) -> Iterable[discovery_v1.EndpointSlice]:
        return self._slices.by("service", f"{namespace}/{name}")

    def namespace_exists(self, name: str) -> bool:
        return self._namespaces.get(name) is not None

    def by_address(self, address: str) -> list[str]:
        services = self._services.by("address", address)
        names = [f"{service.metadata.name}.{service.metadata.namespace}" for service in services]
        for endpoint_slice in self._slices.by("address", address):
            names += self._endpoint_names(endpoint_slice, address)
        return names

    def _endpoint_names(
        self, endpoint_slice: discovery_v1.EndpointSlice, address: str
    ) -> Iterator[str]:
        """Only endpoints of headless services have names."""
        service = self._services.get(_service_key(endpoint_slice))
        if service is None or service.spec.cluster_ip != "None":
            return
        for endpoint in endpoint_slice.endpoints:
            if address in endpoint.addresses:
                host = endpoint.hostname or pod_label(address)
                yield f"{host}.{service.metadata.name}.{service.metadata.namespace}"

    # --- what changes ---

    def on_change(self, forget: Callable[[str], None]) -> None:
        """Calls `forget` with each subject (see `Zone.subject`) whose answers an object's change
        may change."""

        def service_changed(old: core_v1.Service | None, new: core_v1.Service | None) -> None:
            for service in (old, new):
                if service is not None:
                    for subject in self._subjects_of_service(service):
                        forget(subject)

        def slice_changed(
            old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
        ) -> None:
            for endpoint_slice in (old, new):
                if endpoint_slice is not None:
                    forget(_service_key(endpoint_slice))
                    for address in _addresses(endpoint_slice):
                        forget(address)

        def namespace_changed(old: core_v1.Namespace | None, new: core_v1.Namespace | None) -> None:
            namespace = new or old
            if namespace is not None:
                forget(namespace.metadata.name)

        self._services.on_change(service_changed)
        self._slices.on_change(slice_changed)
        self._namespaces.on_change(namespace_changed)

    def _subjects_of_service(self, service: core_v1.Service) -> Iterator[str]:
        """Its name, its address, and those of its endpoints: their names end with the service's."""
        meta = service.metadata
        yield f"{meta.namespace}/{meta.name}"
        yield from cluster_ips(service)
        for endpoint_slice in self.slices(meta.namespace, meta.name):
            yield from _addresses(endpoint_slice)


def _service_key(endpoint_slice: discovery_v1.EndpointSlice) -> str:
    meta = endpoint_slice.metadata
    return f"{meta.namespace}/{meta.labels.get(_SERVICE_NAME, '')}"


def _addresses(endpoint_slice: discovery_v1.EndpointSlice) -> list[str]:
    return [address for endpoint in endpoint_slice.endpoints for address in endpoint.addresses]
