"""Objects between the form they are stored in and the form they are served in.

Built-in resources with two versions are converted on plain dicts, both ways. Custom ones are converted as their
definition says, and objects that an older definition wrote are pruned and defaulted when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.catalog import Resource
from tiphys.apiserver.custom.conversion import convert
from tiphys.apiserver.custom.resource import CustomResource
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.proxying.webhooks import WebhookCaller
from tiphys.machinery import structural
from tiphys.store.cache import Entry

_Convert = Callable[[dict[str, Any]], dict[str, Any]]


def _rename(obj: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in obj.items()}


_EVENT = {
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
}
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
        status["currentMetrics"] = [
            {"type": "Resource", "resource": {"name": "cpu", "current": current}}
        ]
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
    status = {"currentReplicas": 0, "desiredReplicas": 0, **status}  # always there in this version
    return {**obj, "apiVersion": "autoscaling/v1", "spec": spec, "status": status}


_CONVERSIONS: dict[tuple[str, str, str], tuple[_Convert, _Convert]] = {
    ("events.k8s.io", "v1", "events"): (_event_to_core, _event_from_core),
    ("autoscaling", "v1", "horizontalpodautoscalers"): (_autoscaler_to_v2, _autoscaler_to_v1),
}


def to_storage(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    return _CONVERSIONS[resource.group, resource.version, resource.plural][0](obj)


def from_storage(resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    return _CONVERSIONS[resource.group, resource.version, resource.plural][1](obj)


def _fit(plain: dict[str, Any], resource: CustomResource) -> None:
    """Prunes and defaults, in place, an object of any version of the definition as its own version says."""
    schema = resource.schema_of(plain["apiVersion"])
    if schema is not None:
        structural.prune(plain, schema, root=True)
        structural.apply_defaults(plain, schema)


def _stored(resource: CustomResource, entry: Entry) -> dict[str, Any]:
    """A stored object with what the version it is stored in has come to prune and default since, as upstream reads it:
    the defaults of that version are seen at every version."""
    plain: dict[str, Any] = msgspec.json.decode(entry.data)
    _fit(plain, resource)
    return plain


def shown(resource: Resource, entry: Entry) -> bytes | None:
    """An object's bytes as the served version shows them; None when a webhook must be asked first."""
    if not isinstance(resource, CustomResource):
        if resource.is_storage_version:
            return entry.data
        return msgspec.json.encode(from_storage(resource, msgspec.json.decode(entry.data)))
    fresh = entry.revision >= resource.since or not entry.revision
    if fresh and entry.data.startswith(resource.head):
        return entry.data
    made = entry.shown.get(resource) if entry.shown else None
    if made is None and (resource.webhook is None or entry.data.startswith(resource.head)):
        made = _finished(
            resource, entry, {**_stored(resource, entry), "apiVersion": resource.api_version}
        )
    return made


def _finished(resource: CustomResource, entry: Entry, plain: dict[str, Any]) -> bytes:
    """Pruned as the version's schema says, and kept beside the stored bytes."""
    structural.prune(plain, resource.schema, root=True)
    made = msgspec.json.encode(plain)
    if entry.shown is None or len(entry.shown) > 8:
        entry.shown = {}
    entry.shown[resource] = made
    return made


class Converter:
    """Objects between the form they are stored in and the form they are served in."""

    def __init__(self, caller: WebhookCaller) -> None:
        self._caller = caller

    # --- for the registry: objects ---

    async def read(self, resource: Resource, entry: Entry) -> Any:
        """A stored object, decoded in the version of `resource`, for the caller to change."""
        if isinstance(resource, CustomResource):
            return await aside(decode, (await self.present(resource, [entry]))[0], resource.type)
        return await aside(decode, entry.data, resource.type)

    async def write(self, resource: Resource, obj: Any) -> bytes:
        """The bytes to store."""
        if (
            not isinstance(resource, CustomResource)
            or resource.stored_api_version == resource.api_version
        ):
            return encode(obj)
        plain = to_builtins(obj)
        [converted] = await convert(resource, [plain], resource.stored_api_version, self._caller)
        _fit(converted, resource)
        return msgspec.json.encode(converted)

    # --- for answers: bytes ---

    def shown(self, resource: Resource, entry: Entry) -> bytes | None:
        return shown(resource, entry)

    async def present(self, resource: Resource, entries: Sequence[Entry]) -> list[bytes]:
        """`shown` of many, webhooks asked once for all that need it."""
        found = [shown(resource, entry) for entry in entries]
        missing = [entry for entry, data in zip(entries, found, strict=True) if data is None]
        if missing:
            assert isinstance(resource, CustomResource)
            plain = [_stored(resource, entry) for entry in missing]
            converted = await convert(resource, plain, resource.api_version, self._caller)
            for entry, obj in zip(missing, converted, strict=True):
                _finished(resource, entry, obj)
            found = [shown(resource, entry) for entry in entries]
        return found  # type: ignore[return-value]
