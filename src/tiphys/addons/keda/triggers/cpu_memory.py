"""cpu and memory: the autoscaler reads them itself, and there is nothing to measure."""

from __future__ import annotations

from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import AVERAGE, UTILIZATION, Measured, Scaler, scaler
from tiphys.api.autoscaling_v2 import (
    ContainerResourceMetricSource,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from tiphys.api.base import Quantity, canonical_quantity

RESOURCES = ("cpu", "memory")
_REMOVED = "The 'type' setting is DEPRECATED and is removed in v2.18 - Use 'metricType' instead."


class ResourceScaler(Scaler):
    value: str = parameter()
    container_name: str = parameter(optional=True)
    removed_type: str = parameter("type", optional=True, deprecated=_REMOVED)

    def type_of_target(self) -> str:
        return self.config.metric_type

    def check(self) -> None:
        try:
            self.wanted()
        except ValueError as error:
            raise ParameterError(str(error)) from None

    def wanted(self) -> MetricTarget:
        """Raises ValueError for a type or value that resources do not have."""
        kind = self.target_type
        if kind == AVERAGE:
            return MetricTarget(type=kind, average_value=_amount(self.value))
        if kind == UTILIZATION:
            return MetricTarget(type=kind, average_utilization=_percent(self.value))
        raise ValueError(
            f"unknown metric type: {kind}, allowed values are 'Utilization' or 'AverageValue'"
        )

    async def metrics(self) -> list[MetricSpec]:
        target = self.wanted()
        if not self.container_name:
            source = ResourceMetricSource(name=self.config.type, target=target)
            return [MetricSpec(type="Resource", resource=source)]
        of_one = ContainerResourceMetricSource(
            name=self.config.type, target=target, container=self.container_name
        )
        return [MetricSpec(type="ContainerResource", container_resource=of_one)]

    async def look(self, metric: str) -> Measured:
        return Measured(0.0, True)


@scaler("cpu")
class Cpu(ResourceScaler):
    """What a pod uses of its processors."""


@scaler("memory")
class Memory(ResourceScaler):
    """What a pod uses of its memory."""


def _percent(text: str) -> int:
    if not text.removeprefix("-").isdecimal() or not -(2**31) <= int(text[:12]) < 2**31:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def _amount(text: str) -> Quantity:
    try:
        return canonical_quantity(text)
    except ValueError:
        raise ValueError(
            f"cannot parse '{text}': quantities must match the regular expression "
            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ) from None
