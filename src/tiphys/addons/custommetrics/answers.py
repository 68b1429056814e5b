"""The answers of custom.metrics.k8s.io, in both of its versions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tiphys.addons.custommetrics import GROUP
from tiphys.addons.custommetrics.catalog import Metric
from tiphys.addons.custommetrics.resources import Resource
from tiphys.machinery.quantity import canonical_quantity


class Value(NamedTuple):
    resource: Resource
    namespace: str
    name: str
    value: float


def value_list(
    version: str,
    metric: str,
    values: Iterable[Value],
    time: str,
    selector: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A MetricValueList. `time` is in RFC 3339, `selector` the requested LabelSelector."""
    return {
        "kind": "MetricValueList",
        "apiVersion": f"{GROUP}/{version}",
        "metadata": {},
        "items": [_item(version, metric, one, time, selector) for one in values],
    }


def _item(
    version: str, metric: str, value: Value, time: str, selector: Mapping[str, Any] | None
) -> dict[str, Any]:
    described = {
        "kind": value.resource.kind,
        "namespace": value.namespace,
        "name": value.name,
        "apiVersion": value.resource.api_version,
    }
    item: dict[str, Any] = {
        "describedObject": {key: text for key, text in described.items() if text},
        "timestamp": time,
        "value": str(canonical_quantity(f"{value.value:.3f}")),
    }
    if version == "v1beta1":
        return {**item, "metricName": metric, "selector": selector}
    return {**item, "metric": {"name": metric, "selector": selector}}


def resource_rows(metrics: Iterable[Metric]) -> list[dict[str, Any]]:
    """The rows of an APIResourceList."""
    return [
        {
            "name": f"{one.resource}/{one.name}",
            "singularName": "",
            "namespaced": one.is_namespaced,
            "kind": "MetricValueList",
            "verbs": ["get"],
        }
        for one in sorted(metrics)
    ]
