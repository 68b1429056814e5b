"""external and external-push, with a server that speaks KEDA's protocol; influxdb, with answers as
the server writes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
from aiohttp import web

from tests.addons.keda.processes import HOST
from tests.addons.keda.world import Scaled, scaled_object, trigger
from tiphys.addons.keda import triggers
from tiphys.addons.keda.parameters import Given
from tiphys.addons.keda.scaler import Config, ScalerError, Surroundings, make
from tiphys.addons.keda.triggers.external import (
    GetMetricSpecResponse,
    GetMetricsRequest,
    GetMetricsResponse,
    IsActiveResponse,
    ScaledObjectRef,
    Spec,
    Value,
)
from tiphys.addons.keda.triggers.influxdb import first_value
from tiphys.addons.reaching import Reach
from tiphys.machinery.protobuf.decoding import decode
from tiphys.machinery.protobuf.encoding import encode
from tiphys.testing import LocalCluster

assert triggers
pytestmark = pytest.mark.asyncio(loop_scope="package")


class Store:
    """A server of external metrics. `told` is what it heard of whom it serves."""

    def __init__(self) -> None:
        self.waiting = 0.0
        self.changed = asyncio.Event()
        self.told: ScaledObjectRef | None = None
        self.target = 2.5
        self.retargeted = asyncio.Event()

    async def spec(self, request: ScaledObjectRef, context: Any) -> GetMetricSpecResponse:
        self.told = request
        return self._specs()

    def _specs(self) -> GetMetricSpecResponse:
        return GetMetricSpecResponse(
            metric_specs=[Spec(metric_name="parcels", target_size_float=self.target)]
        )

    async def specs(
        self, request: ScaledObjectRef, context: Any
    ) -> AsyncIterator[GetMetricSpecResponse]:
        yield self._specs()
        await self.retargeted.wait()
        yield self._specs()
        await asyncio.Event().wait()

    async def metrics(self, request: GetMetricsRequest, context: Any) -> GetMetricsResponse:
        assert request.metric_name == "parcels"
        return GetMetricsResponse(
            metric_values=[Value(metric_name="parcels", metric_value_float=self.waiting)]
        )

    async def active(self, request: ScaledObjectRef, context: Any) -> IsActiveResponse:
        return IsActiveResponse(result=self.waiting > 0)

    async def stream(
        self, request: ScaledObjectRef, context: Any
    ) -> AsyncIterator[IsActiveResponse]:
        await self.changed.wait()
        yield IsActiveResponse(result=True)
        await asyncio.Event().wait()

    def handlers(self) -> Any:
        def unary(method: Any, kind: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                method,
                request_deserializer=lambda data: decode(data, kind),
                response_serializer=encode,
            )

        def streaming(method: Any) -> Any:
            return grpc.unary_stream_rpc_method_handler(
                method,
                request_deserializer=lambda data: decode(data, ScaledObjectRef),
                response_serializer=encode,
            )

        methods = {
            "GetMetricSpec": unary(self.spec, ScaledObjectRef),
            "GetMetrics": unary(self.metrics, GetMetricsRequest),
            "IsActive": unary(self.active, ScaledObjectRef),
            "StreamIsActive": streaming(self.stream),
            "StreamMetricSpec": streaming(self.specs),
        }
        return grpc.method_handlers_generic_handler("externalscaler.ExternalScaler", methods)


@asynccontextmanager
async def serving(store: Store, tls: Any = None) -> AsyncIterator[str]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((store.handlers(),))
    where = f"{HOST}:0"
    port = server.add_secure_port(where, tls) if tls else server.add_insecure_port(where)
    await server.start()
    try:
        yield f"{HOST}:{port}"
    finally:
        await server.stop(0)


async def test_an_external_server_says_what_it_measures_and_when_it_is_active(
    keda: LocalCluster,
) -> None:
    store = Store()
    async with serving(store) as address:
        around = Surroundings(keda.client, Reach(keda.client), time.time)
        metadata = {"scalerAddress": address, "shelf": "7"}
        config = Config("external", Given(metadata), around, namespace="default", owner="w")
        scaler = make(config)
        (spec,) = await scaler.metrics()
        assert spec.external is not None
        assert spec.external.metric.name == "s0-parcels"
        assert spec.external.target.average_value == "2500m"
        assert await scaler.look("s0-parcels") == (0.0, False)
        store.waiting = 7.5
        assert await scaler.look("s0-parcels") == (7.5, True)
        assert store.told is not None and store.told.scaler_metadata["shelf"] == "7"
    with pytest.raises(ScalerError, match="rpc error: code = Unavailable"):
        await scaler.look("s0-parcels")


async def test_a_server_that_pushes_is_not_polled_for(keda: LocalCluster) -> None:
    store = Store()
    async with serving(store) as address:
        push = trigger("external-push", scalerAddress=address)
        scaled = await Scaled.made(keda, scaled_object("pushed", push, pollingInterval=3600))
        await scaled.says("Active", "False")
        store.waiting = 1.0
        store.changed.set()
        await scaled.has(1)
        await scaled.says("Active", "True")
        activity = (await scaled.object()).status.triggers_activity
        assert activity["s0-parcels"].is_active


async def test_a_server_may_change_what_one_replica_is_for(keda: LocalCluster) -> None:
    store = Store()
    async with serving(store) as address:
        push = trigger("external-push", scalerAddress=address)
        scaled = await Scaled.made(keda, scaled_object("retarget", push, pollingInterval=3600))
        await scaled.says("Active", "False")

        async def wants(amount: str) -> bool:
            hpa = await scaled.autoscaler()
            assert hpa is not None and hpa.spec.metrics[0].external is not None
            return hpa.spec.metrics[0].external.target.average_value == amount

        assert await wants("2500m")
        store.target = 4.0
        store.retargeted.set()
        await keda.eventually(lambda: wants("4"))


async def test_a_server_and_its_client_know_each_other_by_certificates(keda: LocalCluster) -> None:
    store = Store()
    authority = keda.authority
    certificate, key = authority.ensure("parcels", "parcels", (), (HOST,), server=True)
    root = authority.path.read_bytes()
    pair = [(key.read_bytes(), certificate.read_bytes())]
    tls = grpc.ssl_server_credentials(pair, root, require_client_auth=True)
    async with serving(store, tls) as address:
        auth = {
            "caCert": root.decode(),
            "tlsClientCert": certificate.read_text(),
            "tlsClientKey": key.read_text(),
        }
        around = Surroundings(keda.client, Reach(keda.client), time.time)
        config = Config("external", Given({"scalerAddress": address}, auth), around)
        store.waiting = 7.5
        assert await make(config).look("s0-parcels") == (7.5, True)
        for name, value, problem in (
            ("caCert", "", "code = Unavailable"),
            ("tlsClientCert", "", "code = Unavailable"),
            ("tlsClientKey", "", "code = Unavailable"),
            ("tlsClientKey", "no key", "error parsing TLS certificates"),
        ):
            given = Given(config.given.metadata, {**auth, name: value})
            with pytest.raises(ScalerError, match=problem):
                await make(replace(config, given=given)).look("s0-parcels")


CSV = """#datatype,string,long,dateTime:RFC3339,double
,result,table,_time,_value
,_result,0,2026-01-01T00:00:00Z,7.5

"""


async def test_influxdb_is_asked_in_flux_and_answers_in_csv(keda: LocalCluster) -> None:
    """The server is a stand-in: no package of InfluxDB 2 is to be had."""

    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Token t" and request.query["org"] == "shop"
        assert (await request.json())["query"] == "from(bucket:1)"
        return web.Response(text=CSV.replace("\n", "\r\n"))

    app = web.Application()
    app.router.add_post("/api/v2/query", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0).start()
    metadata = {
        "serverURL": f"http://{HOST}:{runner.addresses[0][1]}",
        "organizationName": "shop",
        "query": "from(bucket:1)",
        "thresholdValue": "5",
    }
    around = Surroundings(keda.client, Reach(keda.client), time.time)
    scaler = make(Config("influxdb", Given(metadata, {"authToken": "t"}), around))
    assert scaler.metric_name == "s0-influxdb-shop"
    assert await scaler.look("s0-influxdb-shop") == (7.5, True)
    await scaler.close()
    await runner.cleanup()
    with pytest.raises(ScalerError, match="no results found from query"):
        first_value("")
    with pytest.raises(ScalerError, match="value of type string"):
        first_value(CSV.replace("double", "string"))
