"""What triggers are made of, what they ask, and what they make of answers, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from tests.addons.keda.tables import Web, fails, made, problem
from tiphys.addons.keda.scaler import Measured, ScalerError
from tiphys.addons.keda.triggers.influxdb import first_value
from tiphys.addons.keda.triggers.kafka import next_factor
from tiphys.addons.keda.triggers.prometheus import number_of
from tiphys.addons.keda.triggers.rabbitmq import Queue, combined, judged

RABBIT = {"queueName": "q", "host": "amqp://h", "mode": "QueueLength", "value": "5"}
BY_HTTP = {**RABBIT, "host": "http://h/vh"}
KAFKA = {"bootstrapServers": "a:1", "consumerGroup": "g", "topic": "t"}
SASL = {"username": "u", "password": "p"}
PAIR = {"cert": "c"}
TEMPORAL = {"endpoint": "t:7233", "taskQueue": "q"}
INFLUX = {"serverURL": "http://i/", "query": "q", "thresholdValue": "3", "organizationName": "o"}
INFLUX3 = {**INFLUX, "influxVersion": "3", "database": "d", "metricKey": "k"}
ETCD = {"endpoints": "a:1,b:2", "watchKey": "k", "value": "5"}
METRICS = {"url": "http://h/m", "valueLocation": "a.b", "targetValue": "3"}
PROMETHEUS = {"serverAddress": "http://p", "query": "up", "threshold": "3"}
POSTGRES = {
    "host": "h", "port": "1", "userName": "u", "dbName": "d", "sslmode": "disable",
    "query": "q", "targetQueryValue": "2",
}  # fmt: skip
NATS = {"account": "A", "stream": "s", "consumer": "c", "natsServerMonitoringEndpoint": "n:8222"}


def but(given: dict[str, str], *without: str, **more: str) -> dict[str, str]:
    return {key: value for key, value in {**given, **more}.items() if key not in without}


@pytest.mark.parametrize(
    ("kind", "metadata", "auth", "text"),
    [
        ("rabbitmq", RABBIT, {}, ""),
        ("rabbitmq", BY_HTTP, {}, ""),
        ("rabbitmq", but(RABBIT, protocol="stomp"), {}, "either `amqp`, `http`, or `auto`"),
        ("rabbitmq", but(RABBIT, host="ftp://h"), {}, "unknown host URL scheme: `ftp`"),
        ("rabbitmq", RABBIT, {"tls": "maybe"}, "incorrect value for TLS given: maybe"),
        ("rabbitmq", RABBIT, {"tls": "enable"}, ""),
        ("rabbitmq", RABBIT, PAIR, "both key and certificate must be provided"),
        ("rabbitmq", RABBIT, {**PAIR, "key": "k"}, ""),
        ("rabbitmq", but(RABBIT, pageSize="0"), {}, "pageSize should be 1 or greater"),
        ("rabbitmq", but(RABBIT, pageSize="1"), {}, ""),
        ("rabbitmq", RABBIT, {"username": "u"}, "username and password must be given together"),
        ("rabbitmq", RABBIT, SASL, ""),
        ("rabbitmq", but(RABBIT, useRegex="true"), {}, "configure useRegex=true only with HTTP"),
        ("rabbitmq", but(BY_HTTP, useRegex="true"), {}, ""),
        ("rabbitmq", but(RABBIT, excludeUnacknowledged="true"), {}, "excludeUnacknowledged=true"),
        ("rabbitmq", but(RABBIT, queueLength="3"), {}, "queueLength is deprecated"),
        ("rabbitmq", but(RABBIT, "mode", "value", queueLength="3"), {}, ""),
        ("rabbitmq", but(RABBIT, "mode", queueLength="3"), {}, "queueLength is deprecated"),
        ("rabbitmq", but(RABBIT, "mode", "value"), {}, ""),
        ("rabbitmq", but(RABBIT, "mode"), {}, "mode must be specified"),
        ("rabbitmq", but(RABBIT, "value"), {}, "value must be specified"),
        (
            "rabbitmq",
            but(RABBIT, mode="Speed"),
            {},
            "trigger mode Speed must be one of QueueLength, ",
        ),
        ("rabbitmq", but(RABBIT, mode="MessageRate"), {}, "protocol amqp not supported"),
        ("rabbitmq", but(BY_HTTP, mode="MessageRate"), {}, ""),
        ("kafka", KAFKA, {}, ""),
        ("kafka", but(KAFKA, lagThreshold="0"), {}, "lagThreshold must be a positive number"),
        ("kafka", but(KAFKA, lagThreshold="1"), {}, ""),
        ("kafka", but(KAFKA, activationLagThreshold="-1"), {}, "activationLagThreshold must be"),
        ("kafka", but(KAFKA, activationLagThreshold="0"), {}, ""),
        (
            "kafka",
            but(KAFKA, allowIdleConsumers="true", limitToPartitionsWithLag="true"),
            {},
            "cannot be set simultaneously",
        ),
        ("kafka", but(KAFKA, limitToPartitionsWithLag="true"), {}, ""),
        (
            "kafka",
            but(KAFKA, "topic", limitToPartitionsWithLag="true"),
            {},
            "topic must be specified",
        ),
        ("kafka", but(KAFKA, tls="enable"), PAIR, "can't set only one of cert or key"),
        ("kafka", KAFKA, PAIR, ""),
        ("kafka", but(KAFKA, sasl="plaintext"), {}, "username and password must be set"),
        (
            "kafka",
            but(KAFKA, sasl="plaintext"),
            {"username": "u"},
            "username and password must be set",
        ),
        ("kafka", but(KAFKA, sasl="scram_sha256"), SASL, ""),
        ("kafka", but(KAFKA, sasl="gssapi"), SASL, "sasl gssapi is not supported"),
        ("temporal", TEMPORAL, {}, ""),
        ("temporal", but(TEMPORAL, targetQueueSize="-1"), {}, "targetQueueSize must be a positive"),
        ("temporal", but(TEMPORAL, targetQueueSize="0"), {}, ""),
        (
            "temporal",
            but(TEMPORAL, activationTargetQueueSize="-1"),
            {},
            "activationTargetQueueSize",
        ),
        ("temporal", TEMPORAL, PAIR, "both cert and key must be provided"),
        ("temporal", but(TEMPORAL, workflowTaskQueueForCount="q"), {}, "has no effect unless"),
        (
            "temporal",
            but(TEMPORAL, workflowTaskQueueForCount="q", includeRunningWorkflowCount="true"),
            {},
            "",
        ),
        (
            "temporal",
            but(TEMPORAL, workflowTaskQueueForCount="q'", includeRunningWorkflowCount="true"),
            {},
            "characters not allowed",
        ),
        ("temporal", but(TEMPORAL, taskQueue="q'"), {}, ""),
        ("temporal", but(TEMPORAL, buildId="1"), {}, "versions of workers"),
        ("temporal", but(TEMPORAL, workerDeploymentName="1"), {}, "versions of workers"),
        (
            "temporal",
            but(TEMPORAL, queueTypes="Workflow,nothing"),
            {},
            "queueTypes: nothing is none of",
        ),
        ("temporal", but(TEMPORAL, queueTypes="Workflow,ACTIVITY"), {}, ""),
        ("influxdb", INFLUX, {}, ""),
        ("influxdb", but(INFLUX, "thresholdValue"), {}, "no threshold value given"),
        ("influxdb", but(INFLUX, "organizationName"), {}, "organizationName is required"),
        ("influxdb", INFLUX3, {}, ""),
        ("influxdb", but(INFLUX3, "organizationName"), {}, ""),
        ("influxdb", but(INFLUX3, "database"), {}, "database is required"),
        ("influxdb", but(INFLUX3, "metricKey"), {}, "metricKey is required"),
        ("influxdb", but(INFLUX3, queryType="flux"), {}, "must be 'influxql' or 'flightsql'"),
        ("influxdb", but(INFLUX3, queryType="FlightSQL"), {}, ""),
        ("etcd", ETCD, {}, ""),
        ("etcd", but(ETCD, watchProgressNotifyInterval="0"), {}, "must be greater than 0"),
        ("etcd", but(ETCD, watchProgressNotifyInterval="1"), {}, ""),
        ("etcd", ETCD, {"tls": "maybe"}, "incorrect value for TLS given: maybe"),
        ("etcd", ETCD, {"tls": "enable", "key": "k"}, "cert must be provided with key"),
        ("etcd", ETCD, {"tls": "enable", "cert": "k"}, "key must be provided with cert"),
        ("etcd", ETCD, {"cert": "k"}, ""),
        ("etcd", ETCD, {"password": "k"}, "username must be provided with password"),
        ("etcd", ETCD, {"username": "k"}, "password must be provided with username"),
        ("metrics-api", METRICS, {}, ""),
        ("metrics-api", but(METRICS, "targetValue"), {}, "no targetValue given in metadata"),
        ("postgresql", POSTGRES, {}, ""),
        ("postgresql", but(POSTGRES, "host"), {}, "no host given"),
        ("postgresql", but(POSTGRES, "port"), {}, "no port given"),
        ("postgresql", but(POSTGRES, "userName"), {}, "no userName given"),
        ("postgresql", but(POSTGRES, "dbName"), {}, "no dbName given"),
        ("postgresql", but(POSTGRES, "sslmode"), {}, "no sslmode given"),
        ("postgresql", but(POSTGRES, "targetQueryValue"), {}, "no targetQueryValue given"),
        ("postgresql", {"query": "q", "targetQueryValue": "2"}, {"connection": "host=h"}, ""),
        (
            "mysql",
            {"query": "q", "queryValue": "1"},
            {"connectionString": "u@tcp(h:x)/d"},
            "invalid DSN",
        ),
        ("nats-jetstream", NATS, {}, ""),
        ("nats-jetstream", but(NATS, "account"), {}, "no account name or id given"),
        ("nats-jetstream", but(NATS, "account", accountID="i"), {}, ""),
        ("cpu", {"value": "50"}, {}, "unknown metric type: "),
        (
            "prometheus",
            but(PROMETHEUS, authModes="bearer"),
            {},
            "bearer token=<empty> is required when bearer auth",
        ),
        ("prometheus", but(PROMETHEUS, authModes="bearer"), {"bearerToken": "t"}, ""),
        ("prometheus", but(PROMETHEUS, authModes="basic"), {}, "username=<empty> is required"),
        (
            "prometheus",
            but(PROMETHEUS, authModes="tls"),
            {"cert": "c"},
            "cert=c and key=<empty> are required when tls auth",
        ),
        (
            "prometheus",
            but(PROMETHEUS, authModes="custom"),
            {"customAuthHeader": "h"},
            "are required when custom auth",
        ),
        (
            "prometheus",
            but(PROMETHEUS, authModes="oauth"),
            {},
            "are required when oauth is enabled",
        ),
        ("metrics-api", but(METRICS, authModes="apiKey"), {}, "apiKey is required"),
    ],
)
def test_what_a_trigger_has_to_be_told(
    kind: str, metadata: dict[str, str], auth: dict[str, str], text: str
) -> None:
    found = problem(kind, metadata, auth)
    assert text in found if text else found == ""


@pytest.mark.parametrize(
    ("kind", "metadata"),
    [
        ("metrics-api", but(METRICS, "targetValue")),
        ("influxdb", but(INFLUX, "thresholdValue")),
        ("postgresql", but(POSTGRES, "targetQueryValue")),
    ],
)
def test_what_a_formula_reads_needs_no_target(kind: str, metadata: dict[str, str]) -> None:
    assert problem(kind, metadata, is_source=True) == ""


@pytest.mark.parametrize(
    ("kind", "metadata", "name", "target"),
    [
        ("rabbitmq", but(RABBIT, queueName="a b"), "rabbitmq-a+b", 5),
        ("rabbitmq", but(RABBIT, "mode", "value"), "rabbitmq-q", 20),
        ("rabbitmq", but(RABBIT, "mode", "value", queueLength="7"), "rabbitmq-q", 7),
        ("kafka", KAFKA, "kafka-t", 10),
        ("kafka", but(KAFKA, topic="t,u", lagThreshold="3"), "kafka-t,u", 3),
        ("kafka", but(KAFKA, "topic"), "kafka-g-topics", 10),
        ("temporal", TEMPORAL, "temporal-default-q", 5),
        ("influxdb", INFLUX, "influxdb-o", 3),
        ("influxdb", INFLUX3, "influxdb-d", 3),
        ("etcd", ETCD, "etcd-k", 5),
        ("metrics-api", METRICS, "metric-api-a.b", 3),
        ("prometheus", PROMETHEUS, "prometheus", 3),
        ("nats-jetstream", NATS, "nats-jetstream-s", 10),
    ],
)
def test_what_a_metric_is_called_and_how_much_one_replica_is_for(
    kind: str, metadata: dict[str, str], name: str, target: float
) -> None:
    scaler = made(kind, metadata)
    assert (scaler.name(), scaler.target()) == (name, target)


# --- rabbitmq ---


@pytest.mark.parametrize(
    ("mode", "queue", "activation", "value", "active"),
    [
        ("QueueLength", Queue(5), 5, 5, False),
        ("QueueLength", Queue(6), 5, 6, True),
        ("MessageRate", Queue(5, 3), 5, 3, False),
        ("MessageRate", Queue(6, 3), 5, 3, True),
        ("MessageRate", Queue(0, 6), 5, 6, True),
        ("DeliverGetRate", Queue(9, 9, 5), 5, 5, False),
        ("DeliverGetRate", Queue(0, 0, 6), 5, 6, True),
        ("PublishedToDeliveredRatio", Queue(0, 6, 3), 2, 2, False),
        ("PublishedToDeliveredRatio", Queue(0, 9, 3), 2, 3, True),
        ("PublishedToDeliveredRatio", Queue(0, 9, 0), 2, 2, True),
        ("PublishedToDeliveredRatio", Queue(0, 0, 3), 2, 0, False),
        ("ExpectedQueueConsumptionTime", Queue(0, 9, 3), 0, 0, False),
        ("ExpectedQueueConsumptionTime", Queue(0, 9, 3), -1, 0, True),
        ("ExpectedQueueConsumptionTime", Queue(6, 3, 0), 2, 2, True),
        ("ExpectedQueueConsumptionTime", Queue(6, 3, 3), 2, 2, False),
        ("ExpectedQueueConsumptionTime", Queue(6, 6, 3), 2, 3, True),
    ],
)
def test_modes_of_a_queue(
    mode: str, queue: Queue, activation: float, value: float, active: bool
) -> None:
    assert judged(queue, mode, activation) == Measured(value, active)


@pytest.mark.parametrize(
    ("operation", "result"),
    [("sum", Queue(7, 3, 5)), ("max", Queue(4, 2, 3)), ("avg", Queue(3, 1.5, 2.5))],
)
def test_queues_together(operation: str, result: Queue) -> None:
    assert combined([Queue(4, 1, 2), Queue(3, 2, 3)], operation) == result
    assert combined([], operation) == Queue(0)


def test_there_are_no_other_operations() -> None:
    with pytest.raises(ScalerError, match="operation mode min must be one of sum, avg, max"):
        combined([Queue(1)], "min")


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({"host": "http://h"}, "http://h:80/api/queues/%2F/q"),
        ({"host": "http://h:1"}, "http://h:1/api/queues/%2F/q"),
        ({"host": "https://h/vh"}, "https://h:443/api/queues/vh/q"),
        ({"host": "http://h/base/vh"}, "http://h:80/base/api/queues/vh/q"),
        ({"host": "http://h/vh", "vhostName": "a/b"}, "http://h:80/api/queues/a%2Fb/q"),
        ({"host": "http://[::1]:1/vh", "queueName": "a b"}, "http://[::1]:1/api/queues/vh/a+b"),
        (
            {"host": "http://h/vh", "useRegex": "true", "pageSize": "7"},
            "http://h:80/api/queues/vh?page=1&use_regex=true&pagination=false&name=q&page_size=7",
        ),
    ],
)
def test_where_a_queue_is_asked_for(parts: dict[str, str], url: str) -> None:
    assert made("rabbitmq", {**RABBIT, **parts}).url() == url


ROW = {
    "messages": 7,
    "messages_ready": 5,
    "message_stats": {"publish_details": {"rate": 2}, "deliver_get_details": {"rate": 3}},
}


@pytest.mark.parametrize(
    ("parts", "answer", "value"),
    [
        ({}, ROW, 7),
        ({"excludeUnacknowledged": "true"}, ROW, 5),
        ({"mode": "MessageRate"}, ROW, 2),
        ({"mode": "DeliverGetRate"}, ROW, 3),
        ({"mode": "DeliverGetRate"}, {"messages": 7}, 0),
        ({"useRegex": "true"}, {"page_count": 1, "items": [ROW, ROW]}, 14),
        ({"useRegex": "true", "operation": "max"}, {"items": [ROW, {"messages": 9}]}, 9),
        ({"useRegex": "true"}, {}, 0),
    ],
)
async def test_what_the_management_says_of_a_queue(
    parts: dict[str, str], answer: Any, value: float
) -> None:
    scaler = made("rabbitmq", {**BY_HTTP, **parts})
    Web(scaler, api=answer)
    assert (await scaler.look("")).value == value


@pytest.mark.parametrize(
    ("answer", "parts", "text"),
    [
        ((404, "no queue"), {}, "error requesting RabbitMQ API status: 404, response: no queue"),
        ([], {}, "unexpected answer"),
        ({"page_count": 2}, {"useRegex": "true"}, "more queues than can be recovered"),
        ((500, "u:p@h is down"), {}, "response: user:password@h is down"),
    ],
)
async def test_what_the_management_may_answer_else(
    answer: Any, parts: dict[str, str], text: str
) -> None:
    scaler = made("rabbitmq", {**BY_HTTP, **parts})
    Web(scaler, api=answer)
    found = await fails(scaler.look(""))
    assert found.startswith("error inspecting RabbitMQ: ") and text in found


@pytest.mark.parametrize(
    ("host", "auth", "header"),
    [
        ("http://h/vh", {}, None),
        ("http://u:p@h/vh", {}, "Basic dTpw"),
        ("http://u:p@h/vh", {"username": "x", "password": "y"}, "Basic eDp5"),
    ],
)
async def test_who_asks_the_management(host: str, auth: dict[str, str], header: str | None) -> None:
    scaler = made("rabbitmq", {**BY_HTTP, "host": host}, auth)
    web = Web(scaler, api=ROW)
    await scaler.look("")
    assert web.asked[0][3].get("Authorization") == header


# --- kafka ---


@pytest.mark.parametrize(
    ("parts", "consumed", "lag"),
    [
        ({}, 7, (3, 3)),
        ({}, -1, (1, 1)),
        ({"offsetResetPolicy": "earliest"}, -1, (10, 10)),
        ({"scaleToZeroOnInvalidOffset": "true"}, -1, (0, 0)),
    ],
)
def test_how_far_a_group_is_behind(
    parts: dict[str, str], consumed: int, lag: tuple[int, int]
) -> None:
    scaler = made("kafka", {**KAFKA, **parts})
    assert scaler._lag(("t", 0), 10, consumed) == lag
    assert scaler._lag(("t", 0), 10, consumed) == lag, "a second time, too"


def test_a_lag_that_does_not_move_may_not_count() -> None:
    scaler = made("kafka", {**KAFKA, "excludePersistentLag": "true"})
    assert scaler._lag(("t", 0), 10, 7) == (3, 3)
    assert scaler._lag(("t", 0), 12, 7) == (0, 5)
    assert scaler._lag(("t", 1), 12, 7) == (5, 5), "another partition"
    assert scaler._lag(("t", 0), 12, 8) == (4, 4), "it moves"


@pytest.mark.parametrize(
    ("parts", "lags", "counts"),
    [
        ({}, [10, 10], 20),
        ({}, [19, 19], 38 - 18),
        ({}, [29, 0], 29),
        ({}, [30, 0], 20),
        ({"allowIdleConsumers": "true"}, [300, 0], 300),
        ({"limitToPartitionsWithLag": "true"}, [300, 0], 10),
        ({"limitToPartitionsWithLag": "true"}, [300, 1], 20),
        ({"ensureEvenDistributionOfPartitions": "true"}, [25, 0, 0, 0], 40),
        ({"ensureEvenDistributionOfPartitions": "true", "allowIdleConsumers": "true"}, [11, 0], 20),
    ],
)
def test_no_consumer_is_to_idle(parts: dict[str, str], lags: list[int], counts: int) -> None:
    assert made("kafka", {**KAFKA, **parts})._bounded(lags) == counts


@pytest.mark.parametrize(
    ("lag", "partitions", "factor"),
    [(0, 6, 1), (10, 6, 1), (11, 6, 2), (31, 6, 6), (21, 6, 3), (900, 6, 6), (21, 5, 5)],
)
def test_partitions_are_parted_evenly(lag: int, partitions: int, factor: int) -> None:
    assert next_factor(lag, partitions, 10) == factor


class Broker:
    rows: Any = [
        {"topic": "t", "error_code": 0, "partitions": [{"partition": 0}, {"partition": 1}]}
    ]

    async def describe_topics(self, topics: list[str]) -> Any:
        return self.rows


async def test_partitions_are_those_of_the_topics_that_are_asked_for() -> None:
    scaler = made("kafka", KAFKA)
    assert await scaler._partitions(Broker(), ["t"]) == [("t", 0), ("t", 1)]
    limited = made("kafka", {**KAFKA, "partitionLimitation": "1-3"})
    assert await limited._partitions(Broker(), ["t"]) == [("t", 1)]
    without = made("kafka", but(KAFKA, "topic", partitionLimitation="1-3"))
    assert await without._partitions(Broker(), ["t"]) == [("t", 0), ("t", 1)]
    assert await fails(scaler._partitions(Broker(), [])) == "no active members in group g"
    broken = Broker()
    broken.rows = [{"topic": "t", "error_code": 3, "partitions": []}]
    assert "offset for topic t" in await fails(scaler._partitions(broken, ["t"]))


@pytest.mark.parametrize(
    ("parts", "auth", "given"),
    [
        ({}, {}, {"security_protocol": "PLAINTEXT"}),
        ({"tls": "enable"}, {}, {"security_protocol": "SSL"}),
        (
            {"sasl": "scram_sha512"},
            SASL,
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512"},
        ),
        ({"sasl": "plaintext", "tls": "enable"}, SASL, {"security_protocol": "SASL_SSL"}),
    ],
)
async def test_how_brokers_are_spoken_to(
    parts: dict[str, str], auth: dict[str, str], given: dict[str, str]
) -> None:
    scaler = made("kafka", {**KAFKA, **parts}, auth)

    async def place(server: str) -> str:
        return f"at {server}"

    scaler._place = place
    found = await scaler._arguments()
    assert given.items() <= found.items() and found["bootstrap_servers"] == ["at a:1"]
    assert found["request_timeout_ms"] == 3000
    assert (found["ssl_context"] is not None) is ("tls" in parts)
    assert ("sasl_plain_password" in found) is bool(auth)


@pytest.mark.parametrize(("lag", "active"), [(4, False), (5, False), (6, True)])
async def test_a_group_has_something_to_do_above_its_threshold(lag: int, active: bool) -> None:
    scaler = made("kafka", {**KAFKA, "activationLagThreshold": "5"})

    async def offsets() -> Any:
        return {("t", 0): lag, ("t", 1): 7}, {("t", 0): 0, ("t", 1): 7}

    scaler._offsets = offsets
    assert await scaler.look("") == Measured(float(lag), active)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "kafka: i/o timeout"),
        (OSError("gone"), "error getting metadata: gone"),
        (KafkaConnectionError("gone"), "error getting metadata: KafkaConnectionError: gone"),
        (ConnectionResetError(), "error getting metadata: ConnectionResetError"),
    ],
)
async def test_kafka_that_does_not_answer_is_told(error: Exception, words: str) -> None:
    scaler = made("kafka", KAFKA)

    async def offsets() -> Any:
        raise error

    scaler._offsets = offsets
    assert await fails(scaler.look("")) == words


# --- prometheus ---


@pytest.mark.parametrize(
    ("result", "value"),
    [
        ([], 0),
        ([{"value": []}], 0),
        ([{"value": [0, "3.5"]}], 3.5),
        ([{"value": [0, "NaN"]}], 0),
        ([{"value": [0, "+Inf"]}], 0),
    ],
)
def test_the_one_number_of_an_answer(result: Any, value: float) -> None:
    answer = {"data": {"result": result}}
    assert number_of(answer, "q", True) == value
    if value == 0:
        with pytest.raises(ScalerError):
            number_of(answer, "q", False)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"data": {"result": [{"value": [0, "1"]}, {}]}}, "returned multiple elements"),
        ({"data": {"result": [{"value": [0]}]}}, "didn't return enough values"),
        ({"data": {"result": [{"value": [0, "x"]}]}}, "unexpected answer"),
        ({}, "unexpected answer"),
    ],
)
def test_what_is_no_number_is_told(answer: Any, text: str) -> None:
    with pytest.raises(ScalerError, match=text):
        number_of(answer, "q", True)


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        ({}, "http://p/api/v1/query?query=up&time=1970-01-01T00%3A00%3A00Z"),
        (
            {"namespace": "n"},
            "http://p/api/v1/query?query=up&time=1970-01-01T00%3A00%3A00Z&namespace=n",
        ),
        (
            {"queryParameters": "a=b c"},
            "http://p/api/v1/query?query=up&time=1970-01-01T00%3A00%3A00Z&a=b+c",
        ),
    ],
)
def test_what_prometheus_is_asked(parts: dict[str, str], url: str) -> None:
    assert made("prometheus", {**PROMETHEUS, **parts}).url() == url


@pytest.mark.parametrize(("status", "fine"), [(199, False), (200, True), (299, True), (300, False)])
async def test_any_success_of_prometheus_is_one(status: int, fine: bool) -> None:
    scaler = made("prometheus", {**PROMETHEUS, "customHeaders": "X-Org=me", "timeout": "1000"})
    web = Web(scaler, query=(status, {"data": {"result": [{"value": [0, "4"]}]}}))
    if fine:
        assert await scaler.measure() == 4 and web.asked[0][3] == {"X-Org": "me"}
        assert (await scaler.look("")).is_active
    else:
        assert f"status: {status}" in await fails(scaler.measure())


@pytest.mark.parametrize(
    ("mode", "auth", "headers"),
    [
        ("", {}, {}),
        ("basic", {"username": "u", "password": "p"}, {"Authorization": "Basic dTpw"}),
        ("bearer", {"bearerToken": "t"}, {"Authorization": "Bearer t"}),
        ("custom", {"customAuthHeader": "X-A", "customAuthValue": "v"}, {"X-A": "v"}),
    ],
)
async def test_credentials_of_a_request(
    mode: str, auth: dict[str, str], headers: dict[str, str]
) -> None:
    parts = {"authModes": mode} if mode else {}
    scaler = made("prometheus", {**PROMETHEUS, **parts}, auth)
    web = Web(scaler, query={"data": {"result": []}})
    await scaler.measure()
    assert web.asked[0][3] == headers


# --- metrics-api ---


@pytest.mark.parametrize(("how", "value"), [("average", 4), ("sum", 8), ("min", 3), ("max", 5)])
async def test_endpoints_that_answer_are_put_together(how: str, value: float) -> None:
    scaler = made("metrics-api", {**METRICS, "aggregationType": how, "activationTargetValue": "4"})
    Web(scaler, one={"a": {"b": 3}}, two={"a": {"b": 5}}, bad=(500, ""))
    assert await scaler._aggregated(["http://one", "http://bad", "http://two"]) == value
    assert "from the 1 provided endpoints" in await fails(scaler._aggregated(["http://bad"]))


@pytest.mark.parametrize(("number", "active"), [(4, False), (5, True)])
async def test_a_number_in_an_answer(number: int, active: bool) -> None:
    scaler = made("metrics-api", {**METRICS, "activationTargetValue": "4"})
    web = Web(scaler, m={"a": {"b": number}})
    assert await scaler.look("") == Measured(number, active)
    web.answers = {"m": (503, "")}
    assert (
        await fails(scaler.measure()) == "error requesting metrics endpoint: /m: api returned 503"
    )
    web.answers = {"m": {"a": {}}}
    assert "error requesting metrics endpoint" in await fails(scaler.measure())
    long = {"a": {"b": number}, "filling": "x" * (1 << 14)}
    web.answers = {"m": long}
    assert await scaler.measure() == number


@pytest.mark.parametrize(
    ("parts", "auth", "url", "headers"),
    [
        ({"method": "header"}, {"apiKey": "k"}, "http://h/m", {"X-API-KEY": "k"}),
        ({"method": "header", "keyParamName": "X"}, {"apiKey": "k"}, "http://h/m", {"X": "k"}),
        ({"method": "query"}, {"apiKey": "k"}, "http://h/m?api_key=k", {}),
        ({"method": "query", "keyParamName": "x"}, {"apiKey": "k"}, "http://h/m?x=k", {}),
    ],
)
async def test_a_key_goes_into_a_header_or_the_query(
    parts: dict[str, str], auth: dict[str, str], url: str, headers: dict[str, str]
) -> None:
    scaler = made("metrics-api", {**METRICS, "authModes": "apiKey", **parts}, auth)
    web = Web(scaler, m={"a": {"b": 1}})
    await scaler.measure()
    assert (web.asked[0][1], web.asked[0][3]) == (url, headers)


# --- influxdb ---

CSV = "#datatype,string,long,double\n,result,table,_value\n,,0,{}\n,,0,9\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (CSV.format("4.5"), 4.5),
        ("_value\n7\n", 7),
        ("\n\n,result,_value\n,,3\n", 3),
    ],
)
def test_the_first_value_of_a_query(text: str, value: float) -> None:
    assert first_value(text) == value


@pytest.mark.parametrize(
    ("text", "problem_"),
    [
        (CSV.format("x").replace("double", "string"), "value of type string"),
        ("", "no results"),
        (",result,table,_value\n", "no results"),
        (",result,table\n,a,b\n", "no results"),
    ],
)
def test_no_value_is_told(text: str, problem_: str) -> None:
    with pytest.raises(ScalerError, match=problem_):
        first_value(text)


async def test_influxdb_of_release_2_is_asked_in_flux() -> None:
    scaler = made("influxdb", INFLUX, {"authToken": "t"})
    web = Web(scaler, v2=CSV.format("4"))
    assert await scaler.measure() == 4
    method, url, body, headers = web.asked[0]
    assert (method, url) == ("POST", "http://i/api/v2/query?org=o")
    assert body["type"] == "flux" and headers["Authorization"] == "Token t"
    web.answers = {"v2": (401, "who")}
    assert await fails(scaler.measure()) == "influxdb: 401: who"


@pytest.mark.parametrize(("kind", "path"), [("InfluxQL", "influxql"), ("FlightSQL", "sql")])
async def test_influxdb_of_release_3_is_asked_over_http(kind: str, path: str) -> None:
    scaler = made("influxdb", {**INFLUX3, "queryType": kind}, {"authToken": "t"})
    web = Web(scaler, v3=[{"k": 1}, {"k": 5}])
    assert await scaler.measure() == 5, "the last row"
    assert web.asked[0][1] == f"http://i/api/v3/query_{path}"
    assert web.asked[0][3]["Authorization"] == "Bearer t"
    for answer, value in (([], 0.0), ({}, 0.0)):
        web.answers = {"v3": answer}
        assert await scaler.measure() == value
    for wrong in ([{"k": "x"}], [{"k": True}], [{}]):
        web.answers = {"v3": wrong}
        assert "could not be converted into a float" in await fails(scaler.measure())
    web.answers = {"v3": (500, "no")}
    assert await fails(scaler.measure()) == "influxdb: 500: no"


# --- etcd ---

KV = {"kvs": [{"value": "Nw=="}]}  # 7


async def test_the_first_endpoint_that_answers_is_believed() -> None:
    scaler = made("etcd", {**ETCD, "activationValue": "6"})
    web = Web(scaler, **{"a:1": (503, {}), "b:2": KV})
    assert await scaler.look("") == Measured(7, True)
    assert [url for _, url, _, _ in web.asked] == [
        "http://a:1/v3/kv/range",
        "http://b:2/v3/kv/range",
    ]
    assert web.asked[0][2] == {"key": "aw=="} and web.asked[0][3] == {}
    web.answers = {"a:1": {"kvs": []}}
    assert await fails(scaler.measure()) == "error getting metric value: watchKey k doesn't exist"
    web.answers = {"a:1": (500, {}), "b:2": (500, {})}
    assert "etcd: 500" in await fails(scaler.measure())
    web.answers = {"a:1": {"kvs": [{"value": "eA=="}]}}
    assert "error getting metric value" in await fails(scaler.measure())


async def test_who_has_a_password_logs_in_first() -> None:
    scaler = made("etcd", ETCD, {"username": "u", "password": "p", "tls": "enable"})
    web = Web(scaler, authenticate={"token": "tok"}, range=KV)
    assert await scaler.measure() == 7
    assert web.asked[0][1] == "https://a:1/v3/auth/authenticate"
    assert web.asked[0][2] == {"name": "u", "password": "p"}
    assert web.asked[1][3] == {"Authorization": "tok"}
    web.answers = {"authenticate": (401, "no"), "range": KV}
    assert "etcd: 401" in await fails(scaler.measure())


@pytest.mark.parametrize(
    ("endpoint", "url"), [("http://a:1/", "http://a:1/v3/x"), ("a:1", "http://a:1/v3/x")]
)
def test_endpoints_may_name_their_scheme(endpoint: str, url: str) -> None:
    assert made("etcd", ETCD)._url(endpoint, "x") == url


@pytest.mark.parametrize(
    ("line", "active"),
    [
        (b"", False),
        (b'{"result":{}}', False),
        (b'{"result":{"events":[{"kv":{"value":"Ng=="}}]}}', False),
        (b'{"result":{"events":[{"kv":{"value":"eA=="}},{"kv":{"value":"Nw=="}}]}}', True),
        (b'{"result":{"events":[{}]}}', False),
    ],
)
def test_a_change_above_the_threshold_is_something_to_do(line: bytes, active: bool) -> None:
    assert made("etcd", {**ETCD, "activationValue": "6"})._is_active(line) is active


# --- nats ---


def stream(leader: str = "", pending: int = 3, size: int = 1, **names: str) -> dict[str, Any]:
    consumer = {"name": names.get("consumer", "c"), "num_pending": pending, "num_ack_pending": 1}
    if leader:
        consumer["cluster"] = {"leader": leader}  # type: ignore[assignment]
    one = {"name": names.get("stream", "s"), "consumer_detail": [consumer]}
    account = {"name": names.get("account", "A"), "id": "I", "stream_detail": [one]}
    return {"account_details": [account], "meta_cluster": {"cluster_size": size}}


async def test_a_consumer_is_found_by_account_stream_and_name() -> None:
    scaler = made("nats-jetstream", NATS)
    web = Web(scaler, jsz=stream())
    assert await scaler.measure() == 4
    assert web.asked[0][1] == "http://n:8222/jsz?acc=A&consumers=true&config=true"
    for names in ({"account": "B"}, {"stream": "x"}, {"consumer": "x"}):
        web.answers = {"jsz": stream(**names)}
        assert await fails(scaler.measure()) == 'consumer "c" not found in stream "s"'
    web.answers = {"jsz": (500, {})}
    assert await fails(scaler.measure()) == "/jsz: api returned 500"
    by_id = made("nats-jetstream", but(NATS, "account", accountID="I", useHttps="true"))
    web = Web(by_id, jsz=stream(account="B"))
    assert await by_id.measure() == 4 and web.asked[0][1].startswith("https://n:8222/jsz?acc=I")


async def test_in_a_cluster_the_leader_is_asked() -> None:
    scaler = made("nats-jetstream", NATS)
    web = Web(
        scaler,
        **{
            "n:8222/jsz": stream(size=3),
            "n:8222/varz": {"connect_urls": ["x:4222", "y:4222"]},
            "x:8222/varz": {"server_name": "x"},
            "y:8222/varz": {"server_name": "y"},
            "x:8222/jsz": stream(leader="y", pending=9),
            "y:8222/jsz": stream(leader="y", pending=5),
        },
    )
    assert await scaler.measure() == 6
    web.answers["y:8222/jsz"] = stream(leader="z")
    assert await fails(scaler.measure()) == "leader node not found for consumer c"


# --- temporal ---


class Calls:
    """A channel that answers each kind of queue with a number."""

    def __init__(self, running: int = 0) -> None:
        self.asked: list[Any] = []
        self.running = running

    async def call(self, method: str, asked: Any, answer: Any, headers: dict[str, str]) -> Any:
        self.asked.append((method.rpartition("/")[2], asked, headers))
        if method.endswith("CountWorkflowExecutions"):
            if self.running < 0:
                raise ScalerError("no visibility")
            return answer(count=self.running)
        if asked.task_queue_type == 3:
            return answer()
        field = answer.__annotations__
        assert field
        from tiphys.addons.keda.triggers.temporal import TaskQueueStats

        return answer(stats=TaskQueueStats(approximate_backlog_count=asked.task_queue_type * 10))


async def temporal(parts: dict[str, str], running: int = 0, **auth: str) -> tuple[Any, Calls]:
    scaler, calls = made("temporal", {**TEMPORAL, **parts}, auth), Calls(running)

    async def opened() -> Calls:
        return calls

    scaler._opened = opened
    return scaler, calls


@pytest.mark.parametrize(
    ("parts", "backlog"),
    [
        ({}, 30),
        ({"queueTypes": "workflow"}, 10),
        ({"queueTypes": "Activity"}, 20),
        ({"queueTypes": "nexus"}, 0),
    ],
)
async def test_the_backlog_of_a_task_queue(parts: dict[str, str], backlog: int) -> None:
    scaler, calls = await temporal(parts, apiKey="k")
    assert await scaler.measure() == backlog
    _, asked, headers = calls.asked[0]
    assert asked.report_stats and asked.task_queue.name == "q"
    assert headers == {"temporal-namespace": "default", "authorization": "Bearer k"}


@pytest.mark.parametrize(
    ("parts", "running", "active", "counted"),
    [
        ({"activationTargetQueueSize": "29"}, 0, True, False),
        ({"activationTargetQueueSize": "30"}, 9, False, False),
        ({"activationTargetQueueSize": "30", "includeRunningWorkflowCount": "true"}, 1, True, True),
        (
            {"activationTargetQueueSize": "30", "includeRunningWorkflowCount": "true"},
            0,
            False,
            True,
        ),
        (
            {"activationTargetQueueSize": "30", "includeRunningWorkflowCount": "true"},
            -1,
            False,
            True,
        ),
        (
            {"activationTargetQueueSize": "29", "includeRunningWorkflowCount": "true"},
            1,
            True,
            False,
        ),
    ],
)
async def test_workflows_that_run_are_something_to_do(
    parts: dict[str, str], running: int, active: bool, counted: bool
) -> None:
    scaler, calls = await temporal(parts, running)
    assert await scaler.look("") == Measured(30, active)
    assert ("CountWorkflowExecutions" in [method for method, _, _ in calls.asked]) is counted


# --- cpu and memory ---


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("Utilization", "50", ""),
        ("Utilization", "-5", ""),
        ("Utilization", "5x", "invalid syntax"),
        ("Utilization", "2147483648", "invalid syntax"),
        ("Utilization", "2147483647", ""),
        ("AverageValue", "500m", ""),
        ("AverageValue", "lots", "cannot parse 'lots'"),
        ("Value", "5", "unknown metric type: Value"),
    ],
)
async def test_how_much_of_a_resource_a_pod_may_use(kind: str, value: str, text: str) -> None:
    assert text in problem("cpu", {"value": value}, metric_type=kind)
    if text:
        return
    [spec] = await made("cpu", {"value": value}, metric_type=kind).metrics()
    assert spec.resource is not None and spec.resource.name == "cpu"
    target = spec.resource.target
    assert (target.average_utilization is None) is (kind == "AverageValue")
    [spec] = await made(
        "memory", {"value": value, "containerName": "c"}, metric_type=kind
    ).metrics()
    assert spec.type == "ContainerResource" and spec.container_resource is not None
    assert (spec.container_resource.name, spec.container_resource.container) == ("memory", "c")
    assert await made("cpu", {"value": value}, metric_type=kind).look("") == Measured(0.0, True)


# --- sql ---


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("u:p%40@tcp(h:1)/d", ("h", "1", "u", "p@", "d")),
        ("u@tcp(h)/d", ("h", "3306", "u", "", "d")),
    ],
)
def test_a_connection_is_written_as_gos_driver_has_it(text: str, parts: tuple[str, ...]) -> None:
    scaler = made("mysql", {"query": "q", "queryValue": "1"}, {"connectionString": text})
    assert (scaler.host, scaler.port, scaler.username, scaler.password, scaler.db_name) == parts
    assert scaler.name() == "mysql-d" and scaler.target() == 1
