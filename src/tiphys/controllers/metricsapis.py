"""The three metrics APIs that autoscalers read: resource, custom and external. What goes wrong
becomes a ValueError with the sentence of upstream's clients, which people search for."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tiphys.client.client import Client
from tiphys.machinery import durations, timestamps
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.quantity import milli

_CUSTOM = "custom.metrics.k8s.io"
_CUSTOM_VERSIONS = ("v1beta2", "v1beta1")  # the newest first
_WINDOW = 60.0  # seconds that a metric stands for when it does not say so


class Sample(NamedTuple):
    """A pod's metric in thousandths. It was measured over `window` seconds, up to `time` (seconds
    since the epoch)."""

    value: int
    time: float = 0.0
    window: float = _WINDOW


class MetricsAPIs:
    """Reads metrics. Every method raises ValueError when there are none, or no such API."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def resource(
        self, namespace: str, name: str, container: str | None, selector: str
    ) -> dict[str, Sample]:
        """What the pods that a selector chooses use of a resource, by their names: each pod as a
        whole, or one container of it. Pods with a container without a value are left out."""
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        try:
            items = await self._items(path, {"labelSelector": selector}, "resource")
        except ValueError as error:
            raise ValueError(f"unable to get metrics for resource {name}: {error}") from None
        samples = {}
        for item in items:
            containers = [row for row in item["containers"] if container in (None, row["name"])]
            used = [row["usage"].get(name) for row in containers]
            if not used or None in used:
                continue
            time = timestamps.parse(item["timestamp"])
            sample = Sample(sum(map(milli, used)), time, _seconds(item["window"]))
            samples[item["metadata"]["name"]] = sample
        return samples

    async def custom(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        """The rows of the custom metrics API, in the newest version that is served."""
        served = await self._custom_versions()
        for version in _CUSTOM_VERSIONS:
            if version in served:
                return await self._items(f"/apis/{_CUSTOM}/{version}/{path}", query, "custom")
        raise ValueError(
            "unable to fetch metrics from custom metrics API: "
            f"no custom metrics API ({_CUSTOM}) registered"
        )

    async def _custom_versions(self) -> list[str]:
        try:
            body = await self._client.request("GET", f"/apis/{_CUSTOM}")
        except StatusError as error:
            if is_not_found(error):
                return []
            raise ValueError(f"unable to fetch metrics from custom metrics API: {error}") from None
        return [version["version"] for version in msgspec.json.decode(body)["versions"]]

    async def external(self, namespace: str, name: str, query: dict[str, str]) -> int:
        """The sum of an external metric's values, in thousandths."""
        path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{name}"
        items = await self._items(path, query, "external", f"{name}.external.metrics.k8s.io")
        return min(sum(milli(item["value"]) for item in items), 2**63 - 1)

    async def _items(
        self, path: str, query: dict[str, str], api: str, resource: str = ""
    ) -> list[dict[str, Any]]:
        """The rows of a list of metrics. `resource` is how a missing one is called."""
        try:
            body = await self._client.request("GET", path, query=query)
        except StatusError as error:
            reason = str(error)
            if is_not_found(error) and resource:
                reason = f"the server could not find the requested resource (get {resource})"
            raise ValueError(f"unable to fetch metrics from {api} metrics API: {reason}") from None
        items: list[dict[str, Any]] = msgspec.json.decode(body).get("items") or []
        if not items:
            raise ValueError(f"no metrics returned from {api} metrics API")
        return items


def _seconds(window: str) -> float:
    try:
        return durations.seconds(window)
    except durations.DurationError:
        return _WINDOW
