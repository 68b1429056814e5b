"""prometheus: what a query answers that has one number."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote_plus

from tiphys.addons.keda.asking import HttpScaler, decoded
from tiphys.addons.keda.parameters import Seconds, parameter
from tiphys.addons.keda.scaler import ScalerError, scaler
from tiphys.machinery import timestamps

_LOST = "prometheus metrics 'prometheus' target may be lost, the"


@scaler("prometheus")
class Prometheus(HttpScaler):
    server_address: str = parameter()
    query: str = parameter()
    query_parameters: dict[str, str] = parameter(optional=True)
    threshold: float = parameter()
    activation_threshold: float = parameter(optional=True)
    namespace: str = parameter(optional=True)
    custom_headers: dict[str, str] = parameter(optional=True)
    ignore_null_values: bool = parameter(default="true")
    timeout: Seconds = parameter(optional=True)

    @property
    def seconds(self) -> float:
        return self.timeout or super().seconds

    def target(self) -> float:
        return self.threshold

    def activation(self) -> float:
        return self.activation_threshold

    def url(self) -> str:
        evaluated_at = timestamps.rfc3339(self.config.surroundings.now())
        asked = {"query": self.query, "time": evaluated_at}
        if self.namespace:
            asked["namespace"] = self.namespace
        pairs = [
            f"{quote_plus(k)}={quote_plus(v)}"
            for k, v in {**asked, **self.query_parameters}.items()
        ]
        return f"{self.server_address}/api/v1/query?{'&'.join(pairs)}"

    async def measure(self) -> float:
        status, body = await self.get(self.url(), self.custom_headers)
        if not 200 <= status < 300:
            raise ScalerError(f"prometheus query api returned error. status: {status}")
        return number_of(decoded(body), self.query, self.ignore_null_values)


def number_of(answer: Any, query: str, ignore_nulls: bool) -> float:
    """The one number of an answer; 0 for none, if that is to be ignored. Raises ScalerError."""
    try:
        rows = answer["data"]["result"]
        if not rows:
            return _nothing(f"{_LOST} result is empty", ignore_nulls)
        if len(rows) > 1:
            raise ScalerError(f"prometheus query {query} returned multiple elements")
        values = rows[0]["value"] if isinstance(rows[0], dict) else rows
        if not values:
            return _nothing(f"{_LOST} value list is empty", ignore_nulls)
        if len(values) < 2:
            raise ScalerError(f"prometheus query {query} didn't return enough values")
        value = float(values[1])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ScalerError(f"prometheus query {query}: unexpected answer: {error}") from None
    if math.isinf(value) or math.isnan(value):
        return _nothing(f"prometheus query returns {value}", ignore_nulls)
    return value


def _nothing(reason: str, ignore_nulls: bool) -> float:
    if ignore_nulls:
        return 0.0
    raise ScalerError(reason)
