"""metrics-api: a number in what any HTTP server answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import yarl

from tiphys.addons.keda.asking import HttpScaler
from tiphys.addons.keda.locating import LocationError, value_in
from tiphys.addons.keda.parameters import ParameterError, Seconds, parameter
from tiphys.addons.keda.scaler import ScalerError, scaler
from tiphys.addons.reaching import service_name
from tiphys.api import discovery_v1
from tiphys.machinery.addresses import authority

_AT_ONCE = 5  # endpoints that are queried at a time
_THREADED = 1 << 14  # bytes from which on an answer is read beside the event loop


@scaler("metrics-api", words="metric API")
class MetricsApi(HttpScaler):
    target_value: float = parameter(optional=True)
    activation_target_value: float = parameter(default="0")
    url: str = parameter()
    format: str = parameter(default="json", enum="prometheus json xml yaml")
    value_location: str = parameter()
    of_endpoints: bool = parameter("aggregateFromKubeServiceEndpoints", default="false")
    aggregation_type: str = parameter(default="average", enum="average sum max min")
    timeout: Seconds = parameter(optional=True)

    @property
    def seconds(self) -> float:
        return self.timeout or super().seconds

    def check(self) -> None:
        super().check()
        if not self.target_value and not self.config.is_source:
            raise ParameterError("no targetValue given in metadata")

    def name(self) -> str:
        return f"metric-api-{self.value_location}"

    def target(self) -> float:
        return self.target_value

    def activation(self) -> float:
        return self.activation_target_value

    async def measure(self) -> float:
        try:
            if not self.of_endpoints:
                return await self._value(self.url)
            return await self._aggregated(await self._endpoints())
        except ScalerError as error:
            raise ScalerError(f"error requesting metrics endpoint: {error}") from None

    async def _value(self, url: str) -> float:
        status, body = await self.get(url)
        if status != 200:
            raise ScalerError(f"{yarl.URL(url).path}: api returned {status}")
        try:
            if len(body) < _THREADED:
                return value_in(body, self.value_location, self.format)
            return await asyncio.to_thread(value_in, body, self.value_location, self.format)
        except LocationError as error:
            raise ScalerError(str(error)) from None

    async def _aggregated(self, urls: Sequence[str]) -> float:
        """Of those that answer."""
        turn = asyncio.Semaphore(_AT_ONCE)

        async def value_at(url: str) -> float | None:
            async with turn:
                try:
                    return await self._value(url)
                except ScalerError:
                    return None

        answers = await asyncio.gather(*map(value_at, urls))
        values = [value for value in answers if value is not None]
        if not values:
            raise ScalerError(
                f"could not get any metric successfully from the {len(urls)} provided endpoints"
            )
        match self.aggregation_type:
            case "min":
                return min(values)
            case "max":
                return max(values)
            case "sum":
                return sum(values)
        return sum(values) / len(values)

    async def _endpoints(self) -> list[str]:
        """The URL at each ready endpoint of the Service that the URL names."""
        url = yarl.URL(self.url)
        service = service_name(url.host or "")
        if service is None:
            raise ScalerError(
                f"invalid hostname {url.host} : expected at least 2 elements, "
                "first being service name and second being the namespace"
            )
        namespace, name = service
        slices = await self.config.surroundings.client.list(
            discovery_v1.EndpointSlice, namespace, labels=f"kubernetes.io/service-name={name}"
        )
        addresses = {
            address
            for one in slices.items
            for endpoint in one.endpoints
            if endpoint.conditions.ready is not False
            for address in endpoint.addresses
        }
        if not addresses:
            raise ScalerError("no endpoints URLs were given for the service name")
        port = url.port or 80
        return [f"{url.scheme}://{authority(a, port)}{url.raw_path_qs}" for a in sorted(addresses)]
