"""How a node reads the manifest of a static pod: as the API server reads a pod that is created.

Imported only by nodes that have static pods; the API server's rules take some megabytes.
"""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.api.catalog import resource_of
from tiphys.apiserver.registry.metadata import validate_metadata
from tiphys.apiserver.resources.base import Settings
from tiphys.apiserver.resources.pods.strategy import PodStrategy
from tiphys.machinery import yaml_reading
from tiphys.machinery.decoding import convert


class CreatedPods:
    """Implements `node.staticpods.manifests.PodReader`."""

    def __init__(self) -> None:
        self._strategy = PodStrategy(Settings())

    def decode(self, text: bytes) -> core_v1.Pod:
        """Raises ValueError."""
        document, _ = yaml_reading.read(text)
        if document is None:
            raise ValueError("it is empty")
        pod = convert(document, core_v1.Pod)
        if (document.get("apiVersion"), document.get("kind")) != ("v1", "Pod"):
            raise ValueError("it is no Pod of v1")
        self._strategy.default(pod)
        self._strategy.prepare_for_create(pod)
        return pod

    def violations(self, pod: core_v1.Pod) -> list[str]:
        resource = resource_of(core_v1.Pod)
        errors = validate_metadata(pod.metadata, resource, self._strategy.name_errors)
        return [str(error) for error in (*errors, *self._strategy.validate(pod))]
