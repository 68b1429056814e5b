"""Objects between the form they are stored in and the form they are served in.

Built-in resources with two versions are converted on plain dicts, both ways. Custom ones bring
their own conversion (`custom.conversion`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from tiphys.api.base import decode, encode, to_builtins
from tiphys.api.catalog import BY_PATH, Resource, storage_of
from tiphys.apiserver.eventloop.aside import aside
from tiphys.machinery import decoding
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
    spec = dict(obj.get("spec") or {})
    status = dict(obj.get("status") or {})
    utilization = spec.pop("targetCPUUtilizationPercentage", None)
    if utilization is not None:
        target = {"type": "Utilization", "averageUtilization": utilization}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    utilization = status.pop("currentCPUUtilizationPercentage", None)
    if utilization is not None:
        current = {"averageUtilization": utilization, "averageValue": "0"}
        status["currentMetrics"] = [
            {"type": "Resource", "resource": {"name": "cpu", "current": current}}
        ]
    return {**obj, "apiVersion": "autoscaling/v2", "spec": spec, "status": status}


def _autoscaler_to_v1(obj: dict[str, Any]) -> dict[str, Any]:
    spec = dict(obj.get("spec") or {})
    status = dict(obj.get("status") or {})
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


def in_version(resource: Resource, plain: Any) -> Any:
    """A plain object of a built-in resource, of any version, in that of `resource`."""
    api_version = plain["apiVersion"]
    if api_version == resource.api_version:
        return plain
    if not resource.is_storage_version:
        return from_storage(resource, plain)
    group, _, version = api_version.rpartition("/")
    return to_storage(BY_PATH[group, version, resource.plural], plain)


def as_stored(resource: Resource, obj: Any) -> Any:
    """A typed object in the version it is stored in."""
    if resource.is_storage_version:
        return obj
    return decoding.convert(to_storage(resource, to_builtins(obj)), storage_of(resource).type)


class Caller(Protocol):
    """Calls the webhook that a client configuration names (`proxying.webhooks`)."""

    async def call(self, client_config: Any, review: Any, seconds: float) -> Any:
        """The webhook's answer, plain. Raises StatusError."""
        ...


class Conversion(Protocol):
    """How the objects of one served version are stored, and how they are shown."""

    def shown(self, entry: Entry) -> bytes | None:
        """An object's bytes as this version shows them; None when a webhook must be asked first."""
        ...

    async def present(self, entries: Sequence[Entry], caller: Caller) -> None:
        """Asks the webhook once for all that `shown` cannot convert itself: then it can."""
        ...

    async def stored(self, obj: Any, caller: Caller) -> bytes:
        """The bytes to store of an object of this version."""
        ...

    async def converted(self, plain: Any, caller: Caller) -> Any:
        """An object of any version of this resource, plain, in this version. Raises StatusError
        if a webhook fails."""
        ...


class _AsStored:
    """Of the version that the store holds."""

    def shown(self, entry: Entry) -> bytes | None:
        return entry.data

    async def present(self, entries: Sequence[Entry], caller: Caller) -> None: ...

    async def stored(self, obj: Any, caller: Caller) -> bytes:
        return await aside(encode, obj)

    async def converted(self, plain: Any, caller: Caller) -> Any:
        return plain


class _Renamed(_AsStored):
    """Of a built-in version that the store does not hold. Its objects are written in the other."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def shown(self, entry: Entry) -> bytes | None:
        return msgspec.json.encode(from_storage(self._resource, msgspec.json.decode(entry.data)))


_AS_STORED = _AsStored()


def conversion_of(resource: Resource) -> Conversion:
    declared: Conversion | None = getattr(resource, "conversion", None)  # of a custom resource
    if declared is not None:
        return declared
    return _AS_STORED if resource.is_storage_version else _Renamed(resource)


def shown(resource: Resource, entry: Entry) -> bytes | None:
    """An object's bytes in the served version; None when a webhook must be asked first."""
    return conversion_of(resource).shown(entry)


class Converter:
    """Objects between the form they are stored in and the form they are served in."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    # --- for the registry: objects ---

    async def read(self, resource: Resource, entry: Entry) -> Any:
        """A stored object, decoded in the version of `resource`, for the caller to change."""
        [data] = await self.present(resource, [entry])
        return await aside(decode, data, resource.type)

    async def write(self, resource: Resource, obj: Any) -> bytes:
        """The bytes to store."""
        return await conversion_of(resource).stored(obj, self._caller)

    # --- for answers: bytes ---

    def shown(self, resource: Resource, entry: Entry) -> bytes | None:
        """The module's function `shown`."""
        return conversion_of(resource).shown(entry)

    async def present(self, resource: Resource, entries: Sequence[Entry]) -> list[bytes]:
        """`shown` of many, a webhook asked once for all that need it."""
        conversion = conversion_of(resource)
        known = [conversion.shown(entry) for entry in entries]
        missing = [entry for entry, data in zip(entries, known, strict=True) if data is None]
        if missing:
            await conversion.present(missing, self._caller)
            known = [conversion.shown(entry) for entry in entries]
        return known  # type: ignore[return-value]
