"""influxdb: the first value of what a query in Flux (release 2) or InfluxQL (release 3) answers."""

from __future__ import annotations

import csv
import io
from typing import Any
from urllib.parse import quote_plus

import msgspec

from tiphys.addons.keda.asking import HttpScaler, decoded
from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import ScalerError, scaler

_REMOVED = "The 'authToken' setting in triggerMetadata is DEPRECATED and removed: use authParams"
_NUMBERS = ("double", "long", "unsignedLong")


@scaler("influxdb")
class InfluxDb(HttpScaler):
    auth_token: str = parameter(places="env auth", optional=True)
    organization_name: str = parameter(places="metadata env auth", optional=True)
    query: str = parameter()
    influx_version: str = parameter(default="2", enum="2 3")
    query_type: str = parameter(default="InfluxQL")
    database: str = parameter(places="metadata auth", optional=True)
    metric_key: str = parameter(optional=True)
    server_url: str = parameter("serverURL", places="metadata auth")
    threshold_value: float = parameter(optional=True)
    activation_threshold_value: float = parameter(optional=True)

    def check(self) -> None:
        super().check()
        if not self.threshold_value and not self.config.is_source:
            raise ParameterError("no threshold value given")
        if self.influx_version == "2":
            if not self.organization_name:
                raise ParameterError("organizationName is required if influxVersion is 2")
            return
        if not self.database:
            raise ParameterError("database is required if influxVersion is 3")
        if not self.metric_key:
            raise ParameterError("metricKey is required if influxVersion is 3")
        if self.query_type.lower() not in ("influxql", "flightsql"):
            raise ParameterError("query type must be 'influxql' or 'flightsql'")

    def name(self) -> str:
        return f"influxdb-{self.organization_name if self.influx_version == '2' else self.database}"

    def target(self) -> float:
        return self.threshold_value

    def activation(self) -> float:
        return self.activation_threshold_value

    async def measure(self) -> float:
        if self.influx_version == "3":
            return await self._of_release_3()
        url = f"{self.server_url.rstrip('/')}/api/v2/query?org={quote_plus(self.organization_name)}"
        dialect = {"annotations": ["datatype"], "header": True}
        asked = msgspec.json.encode({"query": self.query, "type": "flux", "dialect": dialect})
        headers = {
            "Authorization": f"Token {self.auth_token}",
            "Content-Type": "application/json",
            "Accept": "application/csv",
        }
        status, body = await self.request("POST", url, asked, headers)
        if status != 200:
            raise ScalerError(f"influxdb: {status}: {body[:200].decode(errors='replace')}")
        return first_value(body.decode(errors="replace"))

    async def _of_release_3(self) -> float:
        """Over HTTP, where KEDA's client speaks Flight."""
        kind = "influxql" if self.query_type.lower() == "influxql" else "sql"
        asked = {"db": self.database, "q": self.query, "format": "json"}
        url = f"{self.server_url.rstrip('/')}/api/v3/query_{kind}"
        headers = {
            "Authorization": f"Bearer {self.auth_token}",
            "Content-Type": "application/json",
        }
        status, body = await self.request("POST", url, msgspec.json.encode(asked), headers)
        if status != 200:
            raise ScalerError(f"influxdb: {status}: {body[:200].decode(errors='replace')}")
        rows = decoded(body)
        return _number(rows[-1].get(self.metric_key)) if isinstance(rows, list) and rows else 0.0


def first_value(text: str) -> float:
    """Of annotated CSV, as a query in Flux answers. Raises ScalerError."""
    kinds: list[str] = []
    place = -1
    for row in csv.reader(io.StringIO(text)):
        if row and row[0] == "#datatype":
            kinds = row
        elif "_value" in row:
            place = row.index("_value")
        elif row and place >= 0 and len(row) > place:
            kind = kinds[place] if len(kinds) > place else "double"
            if kind not in _NUMBERS:
                raise ScalerError(f"value of type {kind} could not be converted into a float")
            return float(row[place])
    raise ScalerError("no results found from query")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ScalerError(
            f"value of type {type(value).__name__} could not be converted into a float"
        )
    return float(value)
