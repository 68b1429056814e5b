"""Endpoint slices as their two controllers keep them: indexed by service, filtered by manager."""

from __future__ import annotations

from tiphys.api.discovery_v1 import EndpointSlice as Slice
from tiphys.controllers.shell import Controller

SERVICE = "kubernetes.io/service-name"
MANAGED = "endpointslice.kubernetes.io/managed-by"


class SliceController(Controller):
    """A controller that keeps the slices of services; `manager` is how it signs those it keeps."""

    manager = ""

    def watch_slices(self) -> None:
        """To be called in `watch`: the slices, with the services of ours that change as keys."""
        self._slices = self.informer(Slice)
        self._slices.index("service", lambda endpoint_slice: [_service_key(endpoint_slice)])
        self._slices.on_change(self._slice_changed)

    def _is_ours(self, service_slice: Slice) -> bool:
        return service_slice.metadata.labels.get(MANAGED) == self.manager

    def _slice_changed(self, old: Slice | None, new: Slice | None) -> None:
        touched = new or old
        is_new = old is None and new is not None  # then it is most likely our own
        if touched is not None and self._is_ours(touched) and not is_new:
            self.queue.add(_service_key(touched))

    def slices_of(self, key: str) -> list[Slice]:
        """Our slices of a service, the oldest first."""
        ours = [
            service_slice
            for service_slice in self._slices.by("service", key)
            if self._is_ours(service_slice)
        ]
        return sorted(ours, key=_by_age)

    async def create_slice(self, wanted: Slice) -> None:
        """Creates a slice. It is put into the informer at once, so that the next reconcile, which
        may come before its event, does not create it again."""
        self._slices.note_written(await self.client.create(wanted))


def _service_key(endpoint_slice: Slice) -> str:
    return f"{endpoint_slice.metadata.namespace}/{endpoint_slice.metadata.labels.get(SERVICE, '')}"


def _by_age(endpoint_slice: Slice) -> tuple[str, str]:
    return endpoint_slice.metadata.creation_timestamp or "", endpoint_slice.metadata.name
