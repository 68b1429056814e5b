"""One set of tests for every trigger, each with its real server."""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.addons.keda import servers
from tests.addons.keda.processes import program
from tests.addons.keda.servers import Asked, Started
from tiphys.addons.keda import triggers
from tiphys.addons.keda.parameters import Given
from tiphys.addons.keda.scaler import SCALERS, Config, Scaler, ScalerError, Surroundings, make
from tiphys.addons.reaching import Reach
from tiphys.testing import LocalCluster

assert triggers  # whose modules put the types on the list
pytestmark = pytest.mark.asyncio(loop_scope="package")


def row(kind: str, start: Started, needs: str | None, *, slow: bool = False, name: str = "") -> Any:
    missing = needs is None or shutil.which(needs) is None
    marks: list[Any] = [pytest.mark.skipif(missing, reason=f"no server for {kind}")]
    if slow:
        marks.append(pytest.mark.slow)
    return pytest.param(kind, start, id=name or kind, marks=marks)


ROWS = [
    row("redis", servers.redis_list, "redis-server"),
    row("redis-streams", servers.redis_stream, "redis-server"),
    row("redis-sentinel", servers.redis_sentinel, "redis-server", slow=True),
    row("redis-cluster", servers.redis_cluster, "redis-server", slow=True),
    row("beanstalkd", servers.beanstalkd, "beanstalkd"),
    row("etcd", servers.etcd, "etcd"),
    row("prometheus", servers.prometheus, "prometheus", slow=True),
    row("nats-jetstream", servers.nats, "nats-server"),
    row(
        "rabbitmq",
        functools.partial(servers.rabbitmq, by="amqp"),
        "rabbitmqctl",
        slow=True,
        name="rabbitmq-amqp",
    ),
    row(
        "rabbitmq",
        functools.partial(servers.rabbitmq, by="http"),
        "rabbitmqctl",
        slow=True,
        name="rabbitmq-http",
    ),
    row("postgresql", servers.postgresql, "psql", slow=True),
    row("mysql", servers.mariadb, "mariadb-install-db", slow=True),
    row("kafka", servers.kafka, program("tansu", "TANSU"), slow=True),
    row("temporal", servers.temporal, program("temporal", "TEMPORAL"), slow=True),
]


@contextlib.asynccontextmanager
async def asking(
    cluster: LocalCluster, kind: str, asked: Asked, **auth: str
) -> AsyncIterator[Scaler]:
    given = Given(asked.metadata, auth or asked.auth)
    around = Surroundings(cluster.client, Reach(cluster.client), time.time)
    scaler = make(Config(kind, given, around, namespace="default", owner="w"))
    try:
        yield scaler
    finally:
        await scaler.close()


async def looked(cluster: LocalCluster, kind: str, asked: Asked) -> tuple[float, bool]:
    async with asking(cluster, kind, asked) as scaler:
        (spec,) = await scaler.metrics()
        assert spec.external is not None and spec.external.metric.name.startswith("s0-")
        return await scaler.look(spec.external.metric.name)


@pytest.mark.parametrize(("kind", "start"), ROWS)
async def test_a_trigger_keeps_the_contract(
    keda: LocalCluster, tmp_path: Path, kind: str, start: Started
) -> None:
    """It measures what is there, is active above its threshold, does not come in with a wrong
    password, and says so when its server is away."""
    async with start(tmp_path) as asked:
        for count, is_active in ((3, False), (7, True)):
            await asked.fill(count)

            async def is_seen(count: int = count, is_active: bool = is_active) -> bool:
                return await looked(keda, kind, asked) == (count, is_active)

            await keda.eventually(is_seen)
        if "password" in asked.auth:
            wrong = replace(asked, auth={**asked.auth, "password": "wrong"})
            with pytest.raises(ScalerError):
                await looked(keda, kind, wrong)
        await asked.server.stop()
        started = time.monotonic()
        with pytest.raises(ScalerError):
            await looked(keda, kind, asked)
        assert time.monotonic() - started < 15


async def test_every_trigger_of_the_list_is_there() -> None:
    expected = {
        "apache-kafka", "beanstalkd", "cpu", "cron", "etcd", "external", "external-push",
        "influxdb", "kafka", "kubernetes-workload", "memory", "metrics-api", "mysql",
        "nats-jetstream", "postgresql", "prometheus", "rabbitmq", "redis", "redis-cluster",
        "redis-cluster-streams", "redis-sentinel", "redis-sentinel-streams", "redis-streams",
        "temporal",
    }  # fmt: skip
    assert expected <= set(SCALERS)
