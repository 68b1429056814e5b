"""kafka: how its clients are made, and which partitions are looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import errors

from tests.addons.keda.tables import fails, made
from tiphys.addons.keda.scaler import Measured, ScalerError
from tiphys.addons.keda.triggers import kafka
from tiphys.addons.reaching import Place

KAFKA = {"bootstrapServers": "a:1,b", "consumerGroup": "g", "topic": "t"}


class Part(NamedTuple):
    topic: str
    partition: int


class Admin:
    """Knows topics by their partitions, and the group's offsets."""

    def __init__(self, cluster: Cluster, given: dict[str, Any]) -> None:
        self._cluster = cluster
        cluster.given.append(given)
        brokers = [SimpleNamespace(host="broker", port=9)]
        self._client = SimpleNamespace(cluster=SimpleNamespace(brokers=lambda: brokers))

    async def start(self) -> None:
        self._cluster.said.append("admin starts")

    async def close(self) -> None:
        self._cluster.said.append("admin ends")

    async def list_consumer_group_offsets(self, group: str, partitions: Any = None) -> Any:
        assert group == "g"
        rows = {Part(*key): SimpleNamespace(offset=at) for key, at in self._cluster.group.items()}
        return rows if partitions is None else {one: rows[one] for one in partitions if one in rows}

    async def describe_topics(self, topics: list[str]) -> Any:
        return [
            {
                "topic": topic,
                "error_code": topic not in self._cluster.topics,
                "partitions": [{"partition": n} for n in range(self._cluster.topics.get(topic, 0))],
            }
            for topic in topics
        ]


class Consumer:
    def __init__(self, cluster: Cluster, given: dict[str, Any]) -> None:
        self._cluster = cluster
        cluster.given.append(given)

    async def start(self) -> None:
        if self._cluster.fails is not None:
            raise self._cluster.fails
        self._cluster.said.append("consumer starts")

    async def stop(self) -> None:
        self._cluster.said.append("consumer ends")

    async def end_offsets(self, wanted: Any) -> Any:
        return dict.fromkeys(wanted, 10)


class Cluster:
    """Topics by how many partitions they have; every partition ends at offset 10."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.topics = {"t": 2, "u": 1}
        self.group = {("t", 0): 7, ("t", 1): 10, ("u", 0): 4}
        self.given: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.places: list[tuple[str, int]] = []
        self.fails: Exception | None = None
        self.forbidden = ""
        modules = {
            "aiokafka.structs": SimpleNamespace(TopicPartition=Part),
            "aiokafka.admin": SimpleNamespace(
                AIOKafkaAdminClient=lambda **given: Admin(self, given)
            ),
            "aiokafka": SimpleNamespace(
                AIOKafkaConsumer=lambda **given: Consumer(self, given), errors=errors
            ),
        }
        monkeypatch.setattr(kafka, "needed", lambda module, trigger: modules[module])
        monkeypatch.setattr(kafka, "place_of", self._place)

    async def _place(self, config: Any, host: str, port: int) -> Place:
        self.places.append((host, port))
        if host == self.forbidden:
            raise ScalerError(f"{host} may not be asked")
        return Place(f"10.0.0.{port % 250}", port)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ({}, 3),
        ({"partitionLimitation": "1"}, 0),
        ({"partitionLimitation": "0"}, 3),
        ({"partitionLimitation": "0-1"}, 3),
        ({"topic": "u"}, 6),
    ],
)
async def test_a_group_is_behind_in_the_partitions_of_its_topic(
    cluster: Cluster, parts: dict[str, str], value: float
) -> None:
    scaler = made("kafka", {**KAFKA, **parts})
    assert await scaler.look("") == Measured(value, value > 0)


async def test_without_a_topic_those_count_that_the_group_has_read(cluster: Cluster) -> None:
    metadata = {name: text for name, text in KAFKA.items() if name != "topic"}
    scaler = made("kafka", {**metadata, "partitionLimitation": "1", "lagThreshold": "100"})
    assert (await scaler.look("")).value == 9, "partitions are of a topic that is named"
    cluster.group = {}
    assert "no active members in group g" in await fails(scaler.look(""))


async def test_a_topic_that_there_is_not_is_named(cluster: Cluster) -> None:
    scaler = made("kafka", {**KAFKA, "topic": "none"})
    assert "error finding partition offset for topic none" in await fails(scaler.look(""))


async def test_clients_are_kept_and_made_anew_after_a_failure(cluster: Cluster) -> None:
    scaler = made("kafka", KAFKA)
    await scaler.look("")
    await scaler.look("")
    assert cluster.said == ["admin starts", "consumer starts"]
    assert cluster.places == [("a", 1), ("b", 9092), ("broker", 9)]
    await scaler.close()
    await scaler.close()
    assert cluster.said[2:] == ["admin ends", "consumer ends"]


@pytest.mark.parametrize("broken", ["consumer", "broker"])
async def test_half_a_connection_is_none(cluster: Cluster, broken: str) -> None:
    if broken == "broker":
        cluster.forbidden = "broker"
    else:
        cluster.fails = OSError("refused")
    words = {"broker": "broker may not be asked", "consumer": "error getting metadata: refused"}
    assert await fails(made("kafka", KAFKA).look("")) == words[broken]
    assert cluster.said == ["admin starts", "admin ends", "consumer ends"]


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({}, {"security_protocol": "PLAINTEXT", "request_timeout_ms": 3000}),
        (
            {"sasl": "plaintext", "username": "u", "password": "p"},
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": "u",
                "sasl_plain_password": "p",
            },
        ),
        (
            {"sasl": "scram_sha512", "username": "u", "password": "p", "tls": "enable"},
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-512"},
        ),
        ({"tls": "enable"}, {"security_protocol": "SSL"}),
        ({"sasl": "none"}, {"security_protocol": "PLAINTEXT"}),
    ],
)
async def test_clients_are_secured_as_the_trigger_says(
    cluster: Cluster, auth: dict[str, str], expected: dict[str, Any]
) -> None:
    await made("kafka", KAFKA, auth).look("")
    for given in cluster.given:
        assert {name: given[name] for name in expected} == expected
        has_tls = auth.get("tls") == "enable"
        assert (given["ssl_context"] is not None) is has_tls
        servers = ["a:1", "b"] if has_tls else ["10.0.0.1:1", "10.0.0.92:9092"]
        assert given["bootstrap_servers"] == servers
        assert ("sasl_mechanism" in given) is ("username" in auth)
