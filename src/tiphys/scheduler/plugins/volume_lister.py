"""The volume lister: what the scheduler knows of claims, volumes, storage classes and drivers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tiphys.api import core_v1, storage_v1
from tiphys.machinery import volumes

NO_PROVISIONER = "kubernetes.io/no-provisioner"


class CSIVolume(NamedTuple):
    """A volume of a CSI driver. The `handle` identifies it within the driver."""

    driver: str
    handle: str


def _get_nothing(key: str) -> Any:
    return None


def _list_nothing() -> Iterable[Any]:
    return ()


@dataclass(frozen=True)
class VolumeLister:
    """Those that take a key look one object up (claims by ``namespace/name``, others by name),
    None: missing; the others list all objects. Without informers there are none."""

    claim: Callable[[str], core_v1.PersistentVolumeClaim | None] = _get_nothing
    volume: Callable[[str], core_v1.PersistentVolume | None] = _get_nothing
    storage_class: Callable[[str], storage_v1.StorageClass | None] = _get_nothing
    csi_node: Callable[[str], storage_v1.CSINode | None] = _get_nothing
    csi_driver: Callable[[str], storage_v1.CSIDriver | None] = _get_nothing
    volumes: Callable[[], Iterable[core_v1.PersistentVolume]] = _list_nothing
    capacities: Callable[[], Iterable[storage_v1.CSIStorageCapacity]] = _list_nothing

    def class_of(self, claim: core_v1.PersistentVolumeClaim) -> storage_v1.StorageClass | None:
        return self.storage_class(claim.spec.storage_class_name or "")

    def volume_of(self, claim: core_v1.PersistentVolumeClaim) -> core_v1.PersistentVolume | None:
        """The volume that a claim names."""
        return self.volume(claim.spec.volume_name) if claim.spec.volume_name else None

    def waits_for_first_consumer(self, claim: core_v1.PersistentVolumeClaim) -> bool:
        """Whether a claim is bound only when a pod that uses it has a node."""
        storage_class = self.class_of(claim)
        return (
            storage_class is not None
            and storage_class.volume_binding_mode == "WaitForFirstConsumer"
        )

    def claims_of(self, pod: core_v1.Pod) -> list[core_v1.PersistentVolumeClaim]:
        """The claims of a pod that exist."""
        keys = (f"{pod.metadata.namespace}/{name}" for name in volumes.claims_of(pod))
        return [claim for key in keys if (claim := self.claim(key)) is not None]

    def unbound_claims_of(self, pod: core_v1.Pod) -> list[core_v1.PersistentVolumeClaim]:
        """The claims of a pod that must be bound before the pod is."""
        return [claim for claim in self.claims_of(pod) if not volumes.is_bound(claim)]

    def csi_volumes_of(self, pod: core_v1.Pod) -> Iterator[CSIVolume]:
        """The volumes of CSI drivers that a pod needs attached to its node. One that has not been
        provisioned yet counts for the provisioner of its class."""
        for claim in self.claims_of(pod):
            volume = self.volume_of(claim)
            if volume is not None:
                if volume.spec.csi is not None:
                    yield CSIVolume(volume.spec.csi.driver, volume.spec.csi.volume_handle)
                continue
            storage_class = self.class_of(claim)
            if storage_class is not None:
                handle = f"{claim.metadata.namespace}/{claim.metadata.name}"
                yield CSIVolume(storage_class.provisioner, handle)
