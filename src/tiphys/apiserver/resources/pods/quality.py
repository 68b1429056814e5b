"""The quality-of-service class of a pod."""

from __future__ import annotations

from collections.abc import Mapping

from tiphys.api.core_v1 import PodSpec
from tiphys.machinery import quantity


def qos_class(spec: PodSpec) -> str:
    """Guaranteed, Burstable or BestEffort, from the requests and limits of cpu and memory: those of
    the pod as a whole where it sets some, else those of its containers."""
    guaranteed = True
    asks_for_something = False
    containers = [container.resources for container in (*spec.containers, *spec.init_containers)]
    for resources in containers if spec.resources is None else [spec.resources]:
        for name in ("cpu", "memory"):
            request = _nano(resources.requests, name)
            limit = _nano(resources.limits, name)
            if request or limit:
                asks_for_something = True
            if not limit or (request is not None and request != limit):
                guaranteed = False
    if not asks_for_something:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _nano(amounts: Mapping[str, str], name: str) -> int | None:
    amount = amounts.get(name)
    return quantity.nano(amount) if amount else None
