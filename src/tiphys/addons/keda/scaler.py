"""Triggers: what one measures, and what it wants to have of it.

A trigger of your own is a class::

    @scaler("canteen")
    class Canteen(Scaler):
        desk: str = parameter()
        guests: float = parameter(default="20")

        def target(self) -> float:
            return self.guests

        async def measure(self) -> float:
            return await number_of_guests(self.desk)

Parameters are declared as in `parameters`. The class is known as soon as its module is imported:
the add-on's setting `modules` names it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, TypeVar

from tiphys.addons.keda.parameters import Given, ParameterError, read
from tiphys.addons.reaching import Reach
from tiphys.api.autoscaling_v2 import (
    ExternalMetricSource,
    MetricIdentifier,
    MetricSpec,
    MetricTarget,
)
from tiphys.api.base import Quantity, canonical_quantity
from tiphys.client.client import Client

AVERAGE = "AverageValue"
VALUE = "Value"
UTILIZATION = "Utilization"
_UNSUPPORTED = (
    "'Utilization' metric type is unsupported for external metrics, "
    "allowed values are 'Value' or 'AverageValue'"
)
_DASHES = str.maketrans(dict.fromkeys("/.:%()", "-"))

S = TypeVar("S", bound="type[Scaler]")


class ScalerError(Exception):
    """A trigger cannot be built from its parameters, or its server did not answer; the text says
    why."""


@dataclass(frozen=True)
class Surroundings:
    """What triggers may use. `now` is seconds since the epoch; `timeout` is how many seconds
    their servers have to answer."""

    client: Client
    reach: Reach
    now: Callable[[], float]
    timeout: float = 3.0


@dataclass(frozen=True)
class Config:
    """One trigger of one object. `index` is its place among the object's triggers.

    is_source: whether a formula reads it, so that it needs no target of its own
    """

    type: str
    given: Given
    surroundings: Surroundings
    name: str = ""
    index: int = 0
    namespace: str = ""
    owner: str = ""
    owner_kind: str = "ScaledObject"
    metric_type: str = ""
    is_source: bool = False
    use_cached: bool = False


class Measured(NamedTuple):
    """`value` is what the autoscaler gets, `is_active` whether there is anything to do at all."""

    value: float
    is_active: bool


@dataclass(eq=False)
class Scaler:
    """One trigger, read and ready to measure. Raises ScalerError when it is made of what it cannot
    be made of."""

    config: Config
    type: ClassVar[str] = ""
    words: ClassVar[str] = ""
    """How sentences call it, where that is not its type."""
    target_type: str = field(init=False, default=AVERAGE)

    def __post_init__(self) -> None:
        words = self.words or self.type
        self.target_type = self.type_of_target()
        try:
            for name, value in read(type(self), self.config.given, self.config.type).items():
                setattr(self, name, value)
            self.check()
        except ParameterError as error:
            raise ScalerError(f"error parsing {words} metadata: {error}") from None

    # --- what a trigger declares ---

    def check(self) -> None:
        """Validates the parameters together. Raises ParameterError."""

    def name(self) -> str:
        """Of its metric, before KEDA's index is put in front."""
        return self.type

    def target(self) -> float:
        """How much of the metric one replica is for."""
        raise NotImplementedError

    def activation(self) -> float:
        """What the metric has to be above for there to be any replica."""
        return 0.0

    async def measure(self) -> float:
        """The metric as it is now. An exception is why it is not available."""
        raise NotImplementedError

    async def close(self) -> None:
        """Gives back what it holds."""

    # --- what is made of it ---

    def type_of_target(self) -> str:
        """Raises ScalerError for a type that metrics of this kind do not have."""
        wanted = self.config.metric_type
        if wanted == UTILIZATION:
            raise ScalerError(f"error getting scaler metric type: {_UNSUPPORTED}")
        return wanted or AVERAGE

    @property
    def metric_name(self) -> str:
        return f"s{self.config.index}-{self.name().translate(_DASHES)}"

    async def metrics(self) -> list[MetricSpec]:
        """What its autoscaler reads."""
        return [external(self.metric_name, self.target_type, self.target())]

    async def look(self, metric: str) -> Measured:
        """One of its metrics now. Raises what `measure` raises."""
        value = await self.measure()
        return Measured(value, value > self.activation())


class PushScaler(Scaler):
    """One that is notified when there is something to do, and how much of it one replica is for."""

    async def push(self, active: Callable[[], Awaitable[None]]) -> None:
        """Awaits `active` at each notification. Returns when its server ends the stream."""
        raise NotImplementedError

    async def push_metrics(self, changed: Callable[[list[MetricSpec]], Awaitable[None]]) -> bool:
        """Awaits `changed` with each new answer to `metrics`. Returns when its server ends that:
        whether to ask again."""
        return False


def external(name: str, kind: str, target: float) -> MetricSpec:
    amount = quantity(target)
    wanted = MetricTarget(type=kind)
    if kind == AVERAGE:
        wanted.average_value = amount
    else:
        wanted.value = amount
    source = ExternalMetricSource(metric=MetricIdentifier(name=name), target=wanted)
    return MetricSpec(type="External", external=source)


def quantity(value: float) -> Quantity:
    """In thousandths; what is no number, or below nothing, is nothing."""
    if math.isnan(value) or math.isinf(value) or value < 0:
        return Quantity("0")
    return canonical_quantity(f"{value:.3f}")


# --- the list of types ---

SCALERS: dict[str, type[Scaler]] = {}
"""By the name that manifests call them. Filled by the decorator alone."""


def scaler(*names: str, words: str = "") -> Callable[[S], S]:
    """Makes a class the trigger of these types."""

    def add(kind: S) -> S:
        kind.type = names[0]
        kind.words = words
        for name in names:
            SCALERS[name] = kind
        return kind

    return add


def make(config: Config) -> Scaler:
    """The trigger of a config. Raises ScalerError."""
    kind = SCALERS.get(config.type)
    if kind is None:
        raise ScalerError(f"no scaler found for type: {config.type}")
    return kind(config)
