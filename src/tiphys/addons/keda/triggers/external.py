"""external and external-push: metrics of a server that speaks KEDA's protocol for external scalers
(externalscaler.proto)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from tiphys.addons.keda.parameters import parameter
from tiphys.addons.keda.remote_calls import CallError, Channel
from tiphys.addons.keda.scaler import Measured, PushScaler, Scaler, ScalerError, external, scaler
from tiphys.api.autoscaling_v2 import MetricSpec
from tiphys.api.base import F, Struct

_SERVICE = "/externalscaler.ExternalScaler"


class ScaledObjectRef(Struct):
    name: Annotated[str, F(1)] = ""
    namespace: Annotated[str, F(2)] = ""
    scaler_metadata: Annotated[dict[str, str], F(3)] = {}


class IsActiveResponse(Struct):
    result: Annotated[bool, F(1)] = False


class Spec(Struct):
    metric_name: Annotated[str, F(1)] = ""
    target_size: Annotated[int, F(2)] = 0
    target_size_float: Annotated[float, F(3)] = 0.0


class GetMetricSpecResponse(Struct):
    metric_specs: Annotated[list[Spec], F(1)] = []


class GetMetricsRequest(Struct):
    scaled_object_ref: Annotated[ScaledObjectRef | None, F(1)] = None
    metric_name: Annotated[str, F(2)] = ""


class Value(Struct):
    metric_name: Annotated[str, F(1)] = ""
    metric_value: Annotated[int, F(2)] = 0
    metric_value_float: Annotated[float, F(3)] = 0.0


class GetMetricsResponse(Struct):
    metric_values: Annotated[list[Value], F(1)] = []


@scaler("external", words="external scaler")
class External(Scaler):
    scaler_address: str = parameter()
    enable_tls: bool = parameter("enableTLS", optional=True)
    unsafe_ssl: bool = parameter("unsafeSsl", optional=True)
    ca_cert: str = parameter(places="auth", optional=True)
    tls_client_cert: str = parameter(places="auth", optional=True)
    tls_client_key: str = parameter(places="auth", optional=True)

    def reference(self) -> ScaledObjectRef:
        """What the server gets: the metadata, with values in place of the environment's
        names."""
        sources = self.config.given
        metadata = {}
        for name, value in sources.metadata.items():
            text = sources.env.get(value, "") if name.endswith("FromEnv") else value
            if text or not name.endswith("FromEnv"):
                metadata[name] = text
        return ScaledObjectRef(
            name=self.config.owner, namespace=self.config.namespace, scaler_metadata=metadata
        )

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[Channel]:
        """A connection for a few calls: where the server is may change."""
        if self.unsafe_ssl and self.enable_tls:
            raise ScalerError("unsafeSsl is not supported: gRPC's library always verifies")
        pair = (self.tls_client_cert, self.tls_client_key)
        has_tls = self.enable_tls or bool(self.ca_cert) or all(pair)
        tls = (self.ca_cert, *pair) if has_tls else None
        opened = await Channel.open(self.config, self.scaler_address, tls)
        try:
            yield opened
        finally:
            await opened.close()

    async def metrics(self) -> list[MetricSpec]:
        """As the server answers; none while it does not, as with KEDA."""
        try:
            async with self.channel() as channel:
                answer = await channel.call(
                    f"{_SERVICE}/GetMetricSpec", self.reference(), GetMetricSpecResponse
                )
        except ScalerError:
            return []
        return self.wanted(answer)

    def wanted(self, answer: GetMetricSpecResponse) -> list[MetricSpec]:
        return [self._metric(spec) for spec in answer.metric_specs]

    def _metric(self, spec: Spec) -> MetricSpec:
        name = f"s{self.config.index}-{spec.metric_name}"
        target = spec.target_size_float if spec.target_size_float > 0 else spec.target_size
        return external(name, self.target_type, target)

    async def look(self, metric: str) -> Measured:
        reference = self.reference()
        asked = GetMetricsRequest(
            scaled_object_ref=reference,
            metric_name=metric.removeprefix(f"s{self.config.index}-"),
        )
        async with self.channel() as channel:
            answer = await channel.call(f"{_SERVICE}/GetMetrics", asked, GetMetricsResponse)
            active = await channel.call(f"{_SERVICE}/IsActive", reference, IsActiveResponse)
        values = [one.metric_value_float or one.metric_value for one in answer.metric_values]
        if not values:
            raise ScalerError(f"no matching metrics found for {metric}")
        return Measured(float(sum(values)), active.result)


@scaler("external-push", words="external scaler")
class ExternalPush(External, PushScaler):
    async def push(self, active: Callable[[], Awaitable[None]]) -> None:
        async with self.channel() as channel:
            answers = channel.stream(
                f"{_SERVICE}/StreamIsActive", self.reference(), IsActiveResponse
            )
            async for answer in answers:
                if answer.result:
                    await active()

    async def push_metrics(self, changed: Callable[[list[MetricSpec]], Awaitable[None]]) -> bool:
        """Optional for a server: then it is called once, when its triggers are built."""
        async with self.channel() as channel:
            answers = channel.stream(
                f"{_SERVICE}/StreamMetricSpec", self.reference(), GetMetricSpecResponse
            )
            try:
                async for answer in answers:
                    await changed(self.wanted(answer))
            except CallError as error:
                if error.status == "Unimplemented":
                    return False
                raise
        return True
