"""Resources that are served in a version other than the stored one, converted on plain dicts, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tiphys.api.catalog import Resource, storage_of

_Convert = Callable[[dict[str, Any]], dict[str, Any]]


def _rename(obj: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in obj.items()}


_EVENT = {
    "deprecatedSource": "source", "deprecatedFirstTimestamp": "firstTimestamp", "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count", "regarding": "involvedObject", "note": "message",
    "reportingController": "reportingComponent",
}  # fmt: skip
_EVENT_BACK = {value: key for key, value in _EVENT.items()}


def _event_to_core(obj: dict[str, Any]) -> dict[str, Any]:
    return {**_rename(obj, _EVENT), "apiVersion": "v1"}


def _event_from_core(obj: dict[str, Any]) -> dict[str, Any]:
    return {**_rename(obj, _EVENT_BACK), "apiVersion": "events.k8s.io/v1"}


_METRICS = "autoscaling.alpha.kubernetes.io/metrics"


def _autoscaler_to_v2(obj: dict[str, Any]) -> dict[str, Any]:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    wanted = spec.pop("targetCPUUtilizationPercentage", None)
    if wanted is not None:
        target = {"type": "Utilization", "averageUtilization": wanted}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    seen = status.pop("currentCPUUtilizationPercentage", None)
    if seen is not None:
        current = {"averageUtilization": seen, "averageValue": "0"}
        status["currentMetrics"] = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    return {**obj, "apiVersion": "autoscaling/v2", "spec": spec, "status": status}


def _autoscaler_to_v1(obj: dict[str, Any]) -> dict[str, Any]:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    for metric in spec.pop("metrics", ()):
        resource = metric.get("resource", {})
        if resource.get("name") == "cpu" and "averageUtilization" in resource.get("target", {}):
            spec["targetCPUUtilizationPercentage"] = resource["target"]["averageUtilization"]
    spec.pop("behavior", None)
    for metric in status.pop("currentMetrics", None) or ():
        resource = metric.get("resource", {})
        if resource.get("name") == "cpu" and "averageUtilization" in resource.get("current", {}):
            status["currentCPUUtilizationPercentage"] = resource["current"]["averageUtilization"]
    status.pop("conditions", None)
    return {**obj, "apiVersion": "autoscaling/v1", "spec": spec, "status": status}


_CONVERSIONS: dict[tuple[str, str, str], tuple[_Convert, _Convert]] = {
    ("events.k8s.io", "v1", "events"): (_event_to_core, _event_from_core),
    ("autoscaling", "v1", "horizontalpodautoscalers"): (_autoscaler_to_v2, _autoscaler_to_v1),
}


def to_storage(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    return _CONVERSIONS[resource.group, resource.version, resource.plural][0](obj)


def from_storage(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    return _CONVERSIONS[resource.group, resource.version, resource.plural][1](obj)


def present(resource: Resource, data: bytes) -> bytes:
    """An object's bytes as the served version shows them."""
    if resource.is_storage_version:
        return data
    return msgspec.json.encode(from_storage(resource, msgspec.json.decode(data)))


__all__ = ["from_storage", "present", "storage_of", "to_storage"]
