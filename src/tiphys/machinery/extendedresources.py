"""Extended resources: counted things of a domain of their own (``example.com/gpu``), and the
device classes that stand for some of them (upstream's gate DRAExtendedResource). Shared by the API
server, the scheduler, the controllers and the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.machinery import timestamps
from tiphys.machinery.names import label_key_errors
from tiphys.machinery.quantity import nano

# Every class stands for the resource of this prefix and its own name, whatever else it names.
CLASS_PREFIX = "deviceclass.resource.kubernetes.io/"
# On the claim that the scheduler makes for the extended resources of a pod: "true".
CLAIM_ANNOTATION = "resource.kubernetes.io/extended-resource-claim"


def is_extended(name: str) -> bool:
    """Whether a resource is of a domain other than Kubernetes' and may be in a quota."""
    if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return not label_key_errors(f"requests.{name}")


def requested_by(pod: core_v1.Pod) -> tuple[str, ...]:
    """The resources that some container of a pod requests and a device class may stand for."""
    names = {
        name
        for containers in (pod.spec.init_containers, pod.spec.containers)
        for container in containers
        for name, amount in container.resources.requests.items()
        if "/" in name and nano(amount) and (name.startswith(CLASS_PREFIX) or is_extended(name))
    }
    return tuple(sorted(names))


def is_special(claim: v1.ResourceClaim) -> bool:
    """Whether a claim was made for the extended resources of a pod."""
    return claim.metadata.annotations.get(CLAIM_ANNOTATION) == "true"


def request_names(pod: core_v1.Pod, container: core_v1.Container) -> Iterator[tuple[str, str]]:
    """(resource, request of the pod's special claim) of what a container has through classes."""
    status = pod.status.extended_resource_claim_status
    for mapping in status.request_mappings if status is not None else ():
        if mapping.container_name == container.name:
            yield mapping.resource_name, mapping.request_name


class ExtendedResources:
    """Which device class stands for a resource.

    Several may name the same: while pods move from one class to another, for example. The newest
    wins then, and of those of one second the one whose name comes first.
    """

    def __init__(self, classes: Iterable[v1.DeviceClass] = ()) -> None:
        self._classes = {device_class.metadata.name: device_class for device_class in classes}
        self._by_resource: dict[str, v1.DeviceClass] = {}
        self._resolve()

    def put(self, device_class: v1.DeviceClass) -> None:
        self._classes[device_class.metadata.name] = device_class
        self._resolve()

    def remove(self, name: str) -> None:
        self._classes.pop(name, None)
        self._resolve()

    def _resolve(self) -> None:
        by_name = sorted(
            self._classes.values(),
            key=lambda device_class: device_class.metadata.name,
            reverse=True,
        )
        self._by_resource = {}
        for device_class in sorted(by_name, key=_created_at):
            self._by_resource[CLASS_PREFIX + device_class.metadata.name] = device_class
            if device_class.spec.extended_resource_name:
                self._by_resource[device_class.spec.extended_resource_name] = device_class

    def class_of(self, resource: str) -> v1.DeviceClass | None:
        return self._by_resource.get(resource)

    def resource_of(self, class_name: str) -> str:
        """The resource that a class names; empty: none."""
        device_class = self._classes.get(class_name)
        return device_class.spec.extended_resource_name or "" if device_class is not None else ""


def _created_at(device_class: v1.DeviceClass) -> float:
    return timestamps.parse(device_class.metadata.creation_timestamp)
