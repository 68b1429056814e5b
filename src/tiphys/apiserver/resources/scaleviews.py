"""The scale of workloads and custom objects: a number of replicas that is read and written by
itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tiphys.api.autoscaling_v1 import Scale
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.selectors import from_label_selector, from_labels

T = TypeVar("T")


class ScaleView(ABC, Generic[T]):
    """What a Scale shows of an object, and how a Scale changes it."""

    @property
    @abstractmethod
    def path(self) -> tuple[str, ...]:
        """The path of the number of replicas wanted, by JSON names from the root."""

    @abstractmethod
    def fill(self, scale: Scale, obj: T) -> None:
        """Fills in the spec and the status of a Scale. Raises StatusError when the object does
        not say."""

    @abstractmethod
    def put(self, obj: T, scale: Scale) -> None:
        """Changes the object to want what the Scale wants."""

    def errors(self, scale: Scale) -> list[FieldError]:
        """What is wrong with a Scale that is written, as far as the object's own rules do not
        say it."""
        return []

    def of(self, obj: T) -> Scale:
        """The Scale of an object."""
        meta: ObjectMeta = obj.metadata  # type: ignore[attr-defined]
        scale = Scale()
        scale.metadata = ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            resource_version=meta.resource_version,
            creation_timestamp=meta.creation_timestamp,
        )
        self.fill(scale, obj)
        return scale


def replica_errors(replicas: int) -> list[FieldError]:
    if replicas >= 0:
        return []
    detail = "must be greater than or equal to 0"
    return [errors.invalid_value("spec.replicas", replicas, detail)]


class WorkloadScale(ScaleView[Any]):
    """The Scale of what has `spec.replicas` and `status.replicas`. `selector` writes its
    selector as text."""

    path = ("spec", "replicas")

    def __init__(self, selector: Callable[[Any], str]) -> None:
        self._selector = selector

    def fill(self, scale: Scale, obj: Any) -> None:
        scale.spec.replicas = obj.spec.replicas or 0
        scale.status.replicas = obj.status.replicas
        scale.status.selector = self._selector(obj.spec.selector)

    def put(self, obj: Any, scale: Scale) -> None:
        obj.spec.replicas = scale.spec.replicas

    def errors(self, scale: Scale) -> list[FieldError]:
        return replica_errors(scale.spec.replicas)


def _label_selector_text(selector: LabelSelector | None) -> str:
    return str(from_label_selector(selector) or "")


WORKLOAD_SCALE = WorkloadScale(_label_selector_text)
"""Of deployments, replica sets and stateful sets."""
CONTROLLER_SCALE = WorkloadScale(lambda labels: str(from_labels(labels)))
"""Of replication controllers, whose selector is a map of labels."""
