"""Triggers that ask what they must not, and formulas that want everything."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.addons.keda.world import keda_cluster
from tests.builders import machine_address
from tiphys.addons.keda import triggers
from tiphys.addons.keda.formula import FormulaError, compiled
from tiphys.addons.keda.locating import LocationError, value_in
from tiphys.addons.keda.parameters import Given
from tiphys.addons.keda.scaler import Config, ScalerError, Surroundings, make
from tiphys.addons.reaching import Reach, ReachError
from tiphys.testing import LocalCluster

assert triggers
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keda() -> AsyncIterator[LocalCluster]:
    async with keda_cluster() as cluster:
        yield cluster


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "0.0.0.0", "127.1", "0x7f000001"]
)
async def test_a_trigger_does_not_reach_this_machine_alone(keda: LocalCluster, host: str) -> None:
    connected = asyncio.Event()
    server = await asyncio.start_server(lambda *_: connected.set(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    around = Surroundings(keda.client, Reach(keda.client), time.time)
    for kind, metadata in (
        ("metrics-api", {"url": f"http://{host}:{port}/", "valueLocation": "a"}),
        ("redis", {"address": f"{host}:{port}", "listName": "a"}),
        ("external", {"scalerAddress": f"{host}:{port}"}),
    ):
        scaler = make(Config(kind, Given({**metadata, "targetValue": "1"}), around))
        with pytest.raises(ScalerError, match=r"of the machine that the add-on runs on|canonical"):
            await scaler.look("s0-a")
        await scaler.close()
    assert not connected.is_set()
    server.close()


async def test_a_service_does_not_lead_there_either(keda: LocalCluster) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "inside", "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": 80}]},
    }
    await keda.client.create(service)
    with pytest.raises(ReachError, match="of the machine that the add-on runs on"):
        await Reach(keda.client).find("inside.default", 80)


FORMULAS = [
    "1..100000000",
    "sum(map(1..9999, sum(map(1..9999, #))))",
    "(" * 3000 + "1" + ")" * 3000,
    "-" * 4000 + "1",
    "9**9**9**9",
    "let a = [1]; " * 300 + "1",
    "__import__('os').system('id')",
    "[].__class__",
    "'a' * 9999999999",
    "9" * 4000,
]


@pytest.mark.parametrize("text", FORMULAS)
async def test_a_formula_has_bounds(text: str) -> None:
    started = time.process_time()
    with pytest.raises(FormulaError):
        compiled(text, ["a"])
    assert time.process_time() - started < 0.2


BOMB = b'<!DOCTYPE a [<!ENTITY a "xxxxxxxx"><!ENTITY b "&a;&a;&a;&a;">]><a>&b;</a>'


@pytest.mark.parametrize(
    ("body", "form"),
    [(BOMB, "xml"), (b"[" * 100_000, "json"), (b"- " * 300_000, "yaml"), (b"\xff\xfe", "json")],
)
async def test_answers_that_are_none(body: bytes, form: str) -> None:
    with pytest.raises(LocationError):
        value_in(body, "a", form)


HOST = machine_address()
RUBBISH = [
    b"",
    b"\x00" * 100_000,
    b"*99999999\r\n" * 9,
    b"$99999999999\r\n",
    b"[" * 90_000 + b"\r\n",
]
HTTP = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 100_000
NESTED = b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"[" * 90_000
ASKED = {
    "redis": {"address": "{}", "listName": "q"},
    "redis-sentinel": {"address": "{}", "listName": "q", "sentinelMaster": "m"},
    "redis-streams": {"address": "{}", "stream": "q", "consumerGroup": "g", "lagCount": "1"},
    "beanstalkd": {"server": "{}", "tube": "q", "value": "1"},
    "etcd": {"endpoints": "{}", "watchKey": "q", "value": "1"},
    "rabbitmq": {"host": "amqp://a:b@{}/", "queueName": "q"},
    "nats-jetstream": {
        "natsServerMonitoringEndpoint": "{}", "account": "a", "stream": "s", "consumer": "c",
    },
    "metrics-api": {"url": "http://{}/", "valueLocation": "a", "targetValue": "1"},
    "prometheus": {"serverAddress": "http://{}", "query": "q", "threshold": "1"},
    "external": {"scalerAddress": "{}"},
    "temporal": {"endpoint": "{}", "taskQueue": "q", "enableTLS": "false"},
}  # fmt: skip


@pytest.mark.slow  # seven kinds of rubbish for eleven triggers
@pytest.mark.parametrize("kind", ASKED)
async def test_a_server_that_answers_rubbish_is_a_failure_of_its_trigger_alone(
    keda: LocalCluster, kind: str
) -> None:
    """Silence, endless answers, lengths of gigabytes, depths of thousands: each ends soon."""
    sent = [b""]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent[0])
        with contextlib.suppress(OSError):
            await reader.read(1 << 16)
            await asyncio.sleep(2)
        writer.close()

    server = await asyncio.start_server(answer, HOST, 0)
    address = f"{HOST}:{server.sockets[0].getsockname()[1]}"
    metadata = {name: value.format(address) for name, value in ASKED[kind].items()}
    around = Surroundings(keda.client, Reach(keda.client), time.time, timeout=0.3)
    for sent[0] in (*RUBBISH, HTTP, NESTED):
        scaler = make(Config(kind, Given(metadata), around, namespace="default", owner="w"))
        started = time.process_time()
        with pytest.raises(ScalerError):
            await asyncio.wait_for(scaler.look("s0-q"), 5)
        await scaler.close()
        assert time.process_time() - started < 1
    server.close()


@pytest.mark.parametrize(
    "words", ["sslkeylogfile=/tmp/k", "passfile=/root/.pgpass", "service=x", "sslrootcert=/etc/x"]
)
async def test_a_connection_string_names_no_file_of_this_machine(
    keda: LocalCluster, words: str
) -> None:
    pytest.importorskip("psycopg")
    auth = {"connection": f"host=192.0.2.1 dbname=a user=b {words}"}
    around = Surroundings(keda.client, Reach(keda.client), time.time)
    given = Given({"query": "SELECT 1", "targetQueryValue": "1"}, auth)
    scaler = make(Config("postgresql", given, around))
    with pytest.raises(ScalerError, match=r"may be set|invalid connection option"):
        await scaler.look("s0-postgresql")
